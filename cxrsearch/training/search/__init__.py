"""The parts of a hyper-parameter search.

trial       one training of a search
"""
