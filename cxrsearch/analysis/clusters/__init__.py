"""Whether images with a finding lie close together: Table 1 of Wu and Yang, computed exactly.

spaces          the spaces in which distances are measured
pair_distances  mean distances over all pairs of images of different patients
cluster_test    the permutation test of each finding, and Holm's correction
geometry        participation ratio, separation, hubness
reproduce       the paper's own test, for comparison
"""
