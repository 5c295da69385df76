"""The parts of `/api/openapi.json` that FastAPI cannot derive: fields of requests, schemas of answers, refusals."""

from collections.abc import Mapping
from typing import Any, Final

from cxrsearch.web._query_parameters import FILTERS, OPTIONS

Schema = Mapping[str, Any]
_NUMBER: Final[Schema] = {"type": ["number", "null"]}
_TEXT: Final[Schema] = {"type": ["string", "null"]}


def _object(**properties: Schema) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _list(item: Schema, *, maybe: bool = False) -> dict[str, Any]:
    return {"type": ["array", "null"] if maybe else "array", "items": item}


_STRING: Final[Schema] = {"type": "string"}
ANSWER: Final[Schema] = _object(
    query={**_STRING, "description": "The file's name."},
    index=_object(path=_STRING, generation=_STRING, encoder=_STRING),
    neighbours=_list(
        _object(
            rank={"type": "integer"},
            image=_STRING,
            patient=_STRING,
            distance={"type": "number", "description": "In the index's metric; lower is nearer."},
            findings=_list(_STRING, maybe=True),
            view=_TEXT,
        )
    ),
    query_patient=_TEXT,
    query_image=_TEXT,
    query_findings=_list(_STRING, maybe=True),
    votes=_list(_object(finding=_STRING, probability=_NUMBER, prevalence=_NUMBER, lift=_NUMBER), maybe=True),
    predictions=_list(_object(finding=_STRING, probability={"type": "number"}), maybe=True),
    typicality=_object(
        kth_distance=_NUMBER,
        percentile=_NUMBER,
        alarm={"type": "number"},
        flagged={"type": ["boolean", "null"], "description": "Whether the image is unlike the index."},
        warning=_TEXT,
    ),
    warnings=_list(_STRING),
)
"""The schema of what `cxrsearch query --json` prints."""
ERROR: Final[Schema] = _object(error={**_STRING, "description": "One line: what is wrong, and what to do."})

_REFUSALS: Final = {
    400: "A field is invalid.",
    401: "The token is missing or wrong.",
    408: "The body did not arrive in time.",
    413: "The body is too long.",
    415: "The body is not multipart/form-data.",
    422: "The image cannot be used.",
    503: "Too many requests at once.",
}


def upload(**more: Schema) -> dict[str, Any]:
    """The documentation of a request with an image."""
    file = {"type": "string", "format": "binary", "description": "A PNG, JPEG or DICOM file."}
    form = {"type": "object", "required": ["file", *more], "properties": {"file": file, **OPTIONS, **more}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": form}}}}


def parameters(*, filters_only: bool = False, **more: Schema) -> dict[str, Any]:
    """The documentation of a request without an image: the fields of its query string."""
    fields = {**(FILTERS if filters_only else OPTIONS), **more}
    return {
        "parameters": [
            {"name": name, "in": "query", "schema": schema, "description": schema.get("description", "")}
            for name, schema in fields.items()
        ]
    }


def answers(schema: Schema) -> dict[int | str, dict[str, Any]]:
    """The documentation of an answer and of every refusal."""
    responses: dict[int | str, dict[str, Any]] = {200: {"content": {"application/json": {"schema": schema}}}}
    for status, description in _REFUSALS.items():
        responses[status] = {"description": description, "content": {"application/json": {"schema": ERROR}}}
    return responses
