"""Many models' scores side by side.

evaluate_scores  every metric, interval and paired difference, from one bootstrap
strata           groups of images: by view, sex, age
stratified       the evaluation within each group
fractions        the kNN vote with only a fraction of the bank
published        the paper's figures, for orientation
"""
