"""The pages of the commands are those that the code would write."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_pages_are_generated_from_the_code() -> None:
    expected = runpy.run_path(str(DOCS / "pages.py"))["pages"]()
    found = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "commands").iterdir()}
    assert found == expected, "run python docs/pages.py"


def test_a_page_says_how_to_call_and_what_every_option_means() -> None:
    page = (DOCS / "commands" / "query.md").read_text(encoding="utf-8")
    assert "    cxrsearch query IMAGE... [OPTIONS]" in page
    assert "| `-k` | Neighbours wanted. | `20` |" in page
    assert "`--sheet`" in page
