"""Overviews of a whole index: its statistics and its embedding map.

index_statistics   `index_statistics`: Table 1 of Wu and Yang
statistics_result  the result
embedding_map      `draw_map`: Figure 1, as an image or a page
"""
