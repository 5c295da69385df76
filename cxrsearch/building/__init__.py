"""Making an index.

build          `build_index`: from images
imported       `import_embeddings`: from embeddings made elsewhere
trained_index  a training, then an index by its encoder
"""
