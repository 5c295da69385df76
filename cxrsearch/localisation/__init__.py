"""Where findings are: one image's maps and boxes, and maps against readers' boxes.

localise               `localise_image`
overlays               its maps and boxes as sheets
evaluate_localisation  `evaluate_localisation`
localisation_result    the result
"""
