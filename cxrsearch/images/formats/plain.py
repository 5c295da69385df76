"""The plain format: columns image, patient and findings, and optionally view, sex, age and split."""

from cxrsearch.images.formats.table_format import RenamedColumns

PLAIN = RenamedColumns(
    {"image": "id"} | {name: name for name in ("patient", "findings", "view", "sex", "age", "split")}, sign="image"
)
"""Findings are joined with `|`, as in NIH's table."""
