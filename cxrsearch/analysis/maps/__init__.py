"""Heat maps over the cells of a feature map, and boxes drawn from them.

activation   class activation, Grad-CAM, and where two images are alike
box_overlap  the boxes of a heat map, and their overlap with other boxes
box_scores   heat maps scored against readers' boxes
windows      the best matching window of a feature map
"""
