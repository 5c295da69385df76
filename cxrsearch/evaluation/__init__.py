"""How well an index's models predict findings: Table 2 of Wu and Yang.

evaluate           `evaluate_index`, `evaluate_images`, `cross_validate`
predictions        every model's probabilities
pixel_baselines    baselines that take pixels
evaluation_result  the result: a table, JSON, CSV, LaTeX
evaluation_rows    its parts as rows
evaluation_report  its page
"""
