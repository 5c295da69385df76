"""Localise findings: the heat maps and boxes of one image, and an evaluation against readers' boxes.

localise               `localise_image`
overlays               heat maps and boxes as sheets
evaluate_localisation  `evaluate_localisation`
localisation_result    the result
"""
