"""The fields of a query, like the options of `cxrsearch query`: their documentation, and their parsing."""

from collections.abc import Mapping
from typing import Any, Final, cast

from cxrsearch.analysis.neighbours.typicality import ALARM
from cxrsearch.errors import RequestError
from cxrsearch.query.options import QueryOptions, Vote
from cxrsearch.store.filtered_search import Filters, parse_years

MOST_NEIGHBOURS: Final = 200
VOTES: Final = ("uniform", "distance", "softmax")
"""Votes of the page. ML-kNN is left to the command line, because it is fitted anew for each query, which is slow."""

FILTERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "view": {"type": "string", "enum": ["PA", "AP"], "description": "Only images of this view."},
    "sex": {"type": "string", "enum": ["F", "M"], "description": "Only images of this sex."},
    "age": {"type": "string", "pattern": "^[0-9]{1,3}-[0-9]{1,3}$", "description": "Only these years, as 40-60."},
    "with": {"type": "string", "description": "Only images with all these findings, as a,b."},
    "without": {"type": "string", "description": "Only images with none of these findings."},
}
OPTIONS: Final[Mapping[str, Mapping[str, Any]]] = {
    "k": {"type": "integer", "minimum": 1, "maximum": MOST_NEIGHBOURS, "default": 20, "description": "Neighbours."},
    "vote": {"type": "string", "enum": list(VOTES), "default": "uniform", "description": "How neighbours vote."},
    "patient": {"type": "string", "description": "The query's patient, whose images are left out."},
    "same_patient": {"type": "boolean", "default": False, "description": "Also allow images of the query's patient."},
    "alarm": {"type": "number", "default": ALARM, "description": "Share of ordinary images that may be flagged."},
    **FILTERS,
}


def filters_of(fields: Mapping[str, str]) -> Filters:
    """The filters of a request. Empty fields are ignored.

    Raises:
        UsageError: an invalid age.
    """
    filled = {name: text for name, text in fields.items() if text}
    view, sex = filled.get("view"), filled.get("sex")
    return Filters(
        view and view.upper(),
        sex and sex.upper(),
        parse_years(filled.get("age")),
        _names(filled.get("with", "")),
        _names(filled.get("without", "")),
    )


def options_of(fields: Mapping[str, str]) -> QueryOptions:
    """The options of a query. Empty fields are ignored.

    Raises:
        RequestError: an unknown field, or a value of the wrong kind.
        UsageError: invalid values.
    """
    filled = {name: text for name, text in fields.items() if text}
    require_known(filled, OPTIONS)
    k = _whole(filled.get("k", "20"))
    if k > MOST_NEIGHBOURS:
        raise RequestError(400, f"{k} neighbours", f"ask for at most {MOST_NEIGHBOURS}, or use `cxrsearch query`")
    vote = filled.get("vote", "uniform")
    if vote not in VOTES:
        raise RequestError(400, f"the vote {_shown(vote)}", f"use one of {', '.join(VOTES)}, or `cxrsearch query`")
    same = filled.get("same_patient", "false").lower()
    if same not in ("true", "false"):
        raise RequestError(400, f"same_patient is {_shown(same)}", "use true or false")
    alarm = _number(filled.get("alarm", str(ALARM)))
    return QueryOptions(k, cast(Vote, vote), filled.get("patient"), same == "true", filters_of(filled), alarm)


def require_known(fields: Mapping[str, str], known: Mapping[str, Any]) -> None:
    """Refuse unknown fields, so that a misspelt one is not ignored silently. Raises RequestError."""
    unknown = sorted(set(fields) - set(known))
    if unknown:
        raise RequestError(400, f"an unknown field {_shown(unknown[0])}", f"use {', '.join(known)}")


def whole(text: str, name: str, most: int) -> int:
    """The field's value as a whole number from 0 to `most`. Raises RequestError for any other value."""
    number = _whole(text)
    if not 0 <= number <= most:
        raise RequestError(400, f"{name} is {number}", f"use a number from 0 to {most}")
    return number


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise RequestError(400, f"{_shown(text)} is not a whole number", "use digits")
    return int(text)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise RequestError(400, f"{_shown(text)} is not a number", "use a number such as 0.01") from None


def _shown(text: str) -> str:
    return repr(text[:40])


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())
