"""k-nearest-neighbour search over vectors: numpy and FAISS, one protocol."""
