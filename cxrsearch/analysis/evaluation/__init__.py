"""Many models' scores side by side.

evaluate_scores  every metric, interval and paired difference, by one bootstrap
strata           groups of images: by view, sex, age
stratified       the evaluation within each
fractions        the vote by the share of the bank that may answer
published        figures of others, for orientation
"""
