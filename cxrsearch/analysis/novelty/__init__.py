"""Scores of novelty: how unlike the known classes an image is. Higher is more novel, always.

    score = Mahalanobis().fit(embeddings, labels)
    score.score(others)  # float64 (m,)

The known classes are the findings of the label matrix and No Finding. An image with several findings belongs to every
class it carries; what that means for a score is said at each.
"""
