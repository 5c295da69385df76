"""The documentation as a site: links lead somewhere, exported names are explained, nothing comes from elsewhere."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

import cxrsearch

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build_site", ROOT / "docs" / "build_site.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site(build: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    assert build.build_site(folder) == []
    return folder


def test_every_exported_name_is_on_the_api_page(build: ModuleType, site: Path) -> None:
    assert sorted(name for names in build.JOBS.values() for name in names) == sorted(cxrsearch.__all__)
    page = (site / "docs" / "api.html").read_text(encoding="utf-8")
    for name in cxrsearch.__all__:
        assert f'id="{build.home(name)}"' in page, name
    assert 'id="cxrsearch.query.index.Index.query"' in page


def test_the_site_loads_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|iframe)[^>]*\ssrc="([^"]*)"|<link[^>]*\shref="([^"]*)"', text)
        assert not [one or other for one, other in loaded if "//" in (one or other)], page


def test_a_link_that_leads_nowhere_is_found(build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gather = build.gather

    def with_broken_links(folder: Path) -> None:
        gather(folder)
        (folder / "CHANGELOG.md").write_text("[no page](docs/NONE.md) [no heading](README.md#none)\n")

    monkeypatch.setattr(build, "gather", with_broken_links)
    monkeypatch.setattr(build, "api_page", lambda: "# none\n")
    problems = build.build_site(tmp_path)
    assert any("docs/NONE.md" in problem for problem in problems)
    assert any("none" in problem and "README.md" in problem for problem in problems)
