"""What neighbours say of a query.

vote        shares of the neighbours that show each finding
mlknn       ML-kNN: votes corrected by what they meant for labelled images
typicality  how far a query is from an index, among the index's own images
"""
