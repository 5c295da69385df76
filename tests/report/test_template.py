"""Templates: every mark is replaced once."""

import pytest

from cxrsearch.report.template import fill_template


def test_marks_are_replaced_and_what_replaces_them_is_left_alone() -> None:
    assert fill_template("a {{x}} b {{y}}{{x}}", {"x": "{{y}}", "y": "2"}) == "a {{y}} b 2{{y}}"
    assert fill_template("nothing", {"x": "1"}) == "nothing"
    with pytest.raises(KeyError, match="z"):
        fill_template("{{z}}", {"x": "1"})
