"""Scores of how new an embedding is; higher is newer. Each is `fit(embeddings, labels)`, then `score(embeddings)`.

score_registry  every score by name; a new one is a file here and a line there
neighbours      distances to known images
head_scores     what the head's outputs say
references      random, view-only, and the ceiling that knows the finding
comparisons     positives against three kinds of negatives
selection       k and score chosen by holding out other findings
shots           a few known patients of the new finding
"""
