"""Maps of where: over the cells of a feature map.

activation   class activation, Grad-CAM, and what makes two images alike
box_overlap  a map's box, and its overlap with another
box_scores   maps scored against readers' boxes, beside random maps
windows      the best matching window of a feature map
"""
