"""Who may be learned from, who may choose, who is scored. Takes a catalogue and a manifest; loads no torch.

rows        the rows of each part
samples     rows as a model sees them, and the network's own head
seen        what an encoder has learned from, and what its provenance proves
"""
