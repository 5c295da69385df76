"""How well neighbours share findings, and whether an encoder re-identifies patients.

retrieval       P@k, hit@k, mAP@k, nDCG@k per query and per finding
search_quality  both questions, with intervals
"""
