"""Embedding maps: embeddings in two dimensions.

projection  PCA, t-SNE and UMAP
plane       a projection into which later embeddings can be placed
"""
