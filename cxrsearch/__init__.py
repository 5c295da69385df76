"""Search and understand chest X-ray collections by their DenseNet embeddings."""
