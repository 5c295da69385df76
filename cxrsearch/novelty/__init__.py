"""Evaluate novelty: do images of a held-out finding stand out from the known images?

evaluate_novelty  `evaluate_novelty`: with the encoder of an index
retrain           `retrain`: with an encoder that is trained without the finding
novelty_result    the result
novelty_figures   its figures
"""
