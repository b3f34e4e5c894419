"""The site has every page, and each link leads to a heading that is there."""

from __future__ import annotations

import itertools
import re
import runpy
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCS = ROOT / "platform/docs"
SITE = runpy.run_path(str(ROOT / "platform/site/staging.py"))
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(DOCS.rglob("*.md")),
    *sorted((ROOT / "examples").rglob("README.md")),
]


def name(file: Path) -> str:
    return str(file.relative_to(ROOT))


@cache
def anchors(page: Path) -> frozenset[str]:
    """Of all headings, as GitHub and the site make them."""
    found: list[str] = []
    text = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S)
    for words in re.findall(r"^#+ (.+)$", text, re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", words).strip().lower()
        found.append(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    broken = []
    for target in SITE["links"](page.read_text()):
        path, _, anchor = target.partition("#")
        if ":" in path:
            continue
        aim = (page.parent / path).resolve() if path else page
        if not aim.exists() or (anchor and anchor not in anchors(aim)):
            broken.append(target)
    assert broken == []


def test_every_page_stands_in_the_navigation() -> None:
    listed = {page for section in SITE["navigation"]() for page in section.pages}
    folders = {page.parent for page in listed if page.name == "README.md"}
    pages = {page.relative_to(DOCS) for page in DOCS.rglob("*.md")} - {Path("index.md")}
    assert {page for page in pages if page not in listed and page.parent not in folders} == set()


@pytest.mark.parametrize("folder", ["decisions", "how-to", "kubernetes", "runbooks"])
def test_the_page_of_a_folder_links_to_all_others(folder: str) -> None:
    linked = set(SITE["links"]((DOCS / folder / "README.md").read_text()))
    assert {page.name for page in (DOCS / folder).glob("*.md")} - {"README.md"} <= linked


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_lists_and_tables_begin_after_an_empty_line(page: Path) -> None:
    """GitHub would show them all the same, but the site would not."""
    lines = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.M | re.S).splitlines()
    starts = re.compile(r"(- |\d+\. |\|)")
    close = [
        line
        for before, line in itertools.pairwise(lines)
        if starts.match(line) and before.strip() and not before.startswith(" ") and not starts.match(before)
    ]
    assert close == []


def test_what_a_page_links_to_is_on_the_site(tmp_path: Path) -> None:
    SITE["stage"](tmp_path)
    pages = tmp_path / "site-pages"
    assert "(repository/README.md)" in (pages / "index.md").read_text()
    assert "```python" in (pages / "repository/examples/flight-delays/mymodels.py.md").read_text()
    lost = [
        f"{page.relative_to(pages)}: {target}"
        for page in pages.rglob("*.md")
        for target in SITE["links"](page.read_text())
        if ":" not in target and not (page.parent / target.partition("#")[0]).exists()
    ]
    assert lost == []
