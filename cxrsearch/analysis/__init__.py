"""The mathematics: arrays in, a frozen dataclass out. Nothing here knows an encoder or an index directory.

measures/       AUROC and its relatives, patient bootstrap, curves
neighbours/     what neighbours say about a query: votes, ML-kNN, typicality
models/         second-stage models on embeddings, their calibration and baselines
retrieval/      P@k, mAP, nDCG, and whether the index re-identifies patients
evaluation/     many models' scores side by side, by stratum, by size of the bank
clusters/       distances within and between findings, and the permutation test
plane/          embeddings in two dimensions: embedding maps
maps/           heat maps (class activation), boxes, windows
novelty/        scores of how novel an embedding is
"""
