"""What neighbours say about a query.

vote        the share of the neighbours that show each finding
mlknn       ML-kNN: neighbour counts corrected by what they meant for labelled images
typicality  how far a query lies from an index, compared with the index's own images
"""
