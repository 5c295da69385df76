"""Embeddings in two dimensions.

projection  PCA, t-SNE and UMAP
plane       a projection that later embeddings can be placed into
"""
