"""What an encoder is: a DenseNet up to its last layer, its head, and where its weights come from.

spec        everything about an encoder but its tensors; loads no torch
densenet    the network
checkpoint  our own files
weights     `load_encoder`: what `--weights` names, others' files among it
embed       `Embedder`: batches of images to embeddings
heap        memory that is kept for the next batch
"""
