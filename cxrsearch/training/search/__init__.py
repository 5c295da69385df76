"""The parts of a hyper-parameter search; `cxrsearch.training.tune` runs one.

trial       one training of a search
"""
