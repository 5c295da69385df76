"""Scores of how novel an embedding is; higher is more novel. Call `fit(embeddings, labels)`, then `score(embeddings)`.

score_registry  every score by name; a new score is a file here and a line there
neighbours      distances to known images
head_scores     scores from the head's outputs
references      random, view-only, and the ceiling that has seen the finding
comparisons     positives against three kinds of negatives
selection       score and k, chosen by holding out other findings
shots           a few known patients of the new finding
"""
