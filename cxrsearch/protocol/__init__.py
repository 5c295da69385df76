"""Which images may be used to fit, to choose settings, and to score. Takes a catalogue and a manifest; loads no torch.

rows        the rows to fit on, to choose by and to score
samples     rows as a model sees them, and the network's trained head
seen        which images an encoder was trained on, and what its provenance proves
"""
