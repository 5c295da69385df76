"""The encoder: a DenseNet up to its last layer, its head, and where its weights come from.

spec        everything about an encoder except its tensors; loads no torch
densenet    the network
checkpoint  read and write cxrsearch's checkpoint files
weights     `load_encoder`: load what `--weights` names, including files of other projects
embed       `Embedder`: batches of images to embeddings
heap        keep freed memory for the next batch
"""
