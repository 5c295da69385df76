"""Whether a finding that nobody labelled stands out.

evaluate_novelty  `evaluate_novelty`: of an index
retrain           with an encoder that is trained without the finding
novelty_result    the result
novelty_figures   its figures
"""
