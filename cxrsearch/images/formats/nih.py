"""The format of NIH's Data_Entry table, in its versions of 2017 and 2020."""

from cxrsearch.images.formats.table_format import RenamedColumns

NIH = RenamedColumns(
    {
        "image index": "id",
        "patient id": "patient",
        "finding labels": "findings",
        "view position": "view",
        "patient gender": "sex",
        "patient sex": "sex",
        "patient age": "age",
        "split": "split",
    },
    sign="image index",
)
"""Findings are joined with `|`. You may add a column `split`."""
