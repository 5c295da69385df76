"""The pages of the commands are those that the code would write."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def test_the_pages_are_generated_from_the_code() -> None:
    expected = runpy.run_path(str(DOCS / "pages.py"))["pages"]()
    found = {path.name: path.read_text(encoding="utf-8") for path in (DOCS / "commands").iterdir()}
    assert found == expected, "run python docs/pages.py"


def test_a_page_says_how_to_call_and_what_every_option_means() -> None:
    page = (DOCS / "commands" / "query.md").read_text(encoding="utf-8")
    assert "    cxrsearch query IMAGE... [OPTIONS]" in page
    assert "| `-k` | Number of neighbours. | `20` |" in page
    assert "`--sheet`" in page


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("build-index", "Without it, findings are unknown and nothing can vote."),
        ("train", "Needed with IMAGES, unless the recipe learns without labels (unlabelled)."),
        ("tune", "Needed with IMAGES."),
        *[
            (name, "Needed with IMAGES; an index contains its labels.")
            for name in ("evaluate", "novelty", "evaluate-localisation")
        ],
    ],
)
def test_each_command_says_what_it_is_without_a_table(name: str, said: str) -> None:
    page = (DOCS / "commands" / f"{name}.md").read_text(encoding="utf-8")
    assert f"(and optionally view, sex, age, split). {said} |" in page


def test_a_search_offers_no_recipe_that_it_refuses() -> None:
    page = (DOCS / "commands" / "tune.md").read_text(encoding="utf-8")
    assert "paper, modern, or a TOML file that changes one of them. Not unlabelled, which has no AUROC." in page
