"""From pixels to embeddings: DenseNet, its checkpoints, and batched embedding."""
