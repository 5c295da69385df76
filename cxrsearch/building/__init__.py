"""Build an index.

build          `build_index`: build an index from images
imported       `import_embeddings`: build an index from embeddings made elsewhere
trained_index  train an encoder, then build an index with it
"""
