"""Questions asked of embeddings and labels: arrays in, a frozen dataclass out."""
