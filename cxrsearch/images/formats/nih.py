"""NIH's Data_Entry table, of 2017 or of 2020."""

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
"""Its findings are joined with `|`; a column `split` may be added to it."""
