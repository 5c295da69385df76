"""Evaluate how well models predict findings from embeddings: Table 2 of Wu and Yang.

evaluate           `evaluate_index`, `evaluate_images`, `cross_validate`
predictions        the probabilities of every model
pixel_baselines    baselines that use pixels
evaluation_result  the result: a table, JSON, CSV, LaTeX
evaluation_rows    parts of the result as rows
evaluation_report  the result as an HTML page
"""
