"""The mathematics: arrays in, a frozen dataclass out. Knows no encoder and no index.

measures/       AUROC and its relatives, patient bootstrap, curves
neighbours/     what neighbours say of a query: votes, ML-kNN, typicality
models/         second-stage models on embeddings, their calibration and baselines
retrieval/      P@k, mAP, nDCG, and whether patients recognise themselves
evaluation/     many models' scores side by side, by stratum, by size of the bank
clusters/       distances within and between findings, and the permutation test
plane/          embeddings in two dimensions
maps/           class-activation maps, boxes, windows
novelty/        scores of how new an embedding is
"""
