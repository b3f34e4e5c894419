"""What the site is made of: the pages of platform/docs, each file that they link to, and the navigation.

`make site` runs `python platform/site/staging.py build` and lets Zensical build what it wrote. Pages link to
files of the repository, such as `../../README.md`. On the site these are pages too, below `repository/`.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "platform/docs"
STYLE = ROOT / "platform/site/tables.css"
LINK = re.compile(r"(?P<picture>!?)\[(?P<words>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<target>[^()\s]+)\)")
_CODE = re.compile(r"(^ *```.*?^ *```|`[^`\n]+`)", re.M | re.S)
_HEADING = re.compile(r"^\*\*(.+)\*\*$")
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".toml": "toml"}

_SETTINGS = """[project]
site_name = "Capstan"
docs_dir = "site-pages"
site_dir = "site"
use_directory_urls = false
extra_css = ["tables.css"]
nav = [
{nav}]

[project.theme]
font = false
features = ["navigation.sections", "navigation.top", "toc.follow", "content.code.copy"]

[[project.theme.palette]]
media = "(prefers-color-scheme: light)"
scheme = "default"

[[project.theme.palette]]
media = "(prefers-color-scheme: dark)"
scheme = "slate"

[project.markdown_extensions.tables]
[project.markdown_extensions.md_in_html]
[project.markdown_extensions.toc]
permalink = true
slugify = {{object = "pymdownx.slugs.slugify", kwds = {{case = "lower"}}}}
[project.markdown_extensions.pymdownx.highlight]
[project.markdown_extensions.pymdownx.superfences]
"""


@dataclass(frozen=True)
class Section:
    """A heading of the navigation, and the pages below it."""

    title: str
    pages: dict[Path, str]
    """Each page, relative to the docs, and the words of its link. A folder's README.md stands for all its pages."""


def without_code(text: str) -> str:
    """The text, as long as before, with code blanked: a link's words may hold code, but code holds no links."""
    return _CODE.sub(lambda match: re.sub(r"[^\n]", "_", match[0]), text)


def links(text: str) -> list[str]:
    """Targets of all links and pictures outside code."""
    return [match["target"] for match in LINK.finditer(without_code(text))]


def navigation(docs: Path = DOCS) -> list[Section]:
    """The index page's bold headings and, below each, the pages that its list links to."""
    sections: list[Section] = []
    for line in (docs / "index.md").read_text().splitlines():
        heading = _HEADING.match(line)
        if heading:
            sections.append(Section(heading[1], {}))
        elif sections and line.startswith("- "):
            for match in LINK.finditer(line):
                page = Path(match["target"].partition("#")[0])
                outside = page.suffix != ".md" or page.parts[0] in ("..", "https:")
                if not outside and not any(page in section.pages for section in sections):
                    sections[-1].pages[page] = match["words"]
    return [section for section in sections if section.pages]


def title(page: Path) -> str:
    """The first heading of a page."""
    first = next(line for line in page.read_text().splitlines() if line.startswith("# "))
    return first[2:].replace("`", "")


def stage(target: Path, root: Path = ROOT) -> None:
    """Write settings and, anew, `site-pages` below `target`."""
    pages = target / "site-pages"
    shutil.rmtree(pages, ignore_errors=True)
    docs = root / "platform/docs"
    pages.mkdir(parents=True)
    shutil.copy(STYLE, pages)
    waiting = sorted(docs.rglob("*"))
    done: set[Path] = set()
    while waiting:
        file = waiting.pop()
        if file in done or file.is_dir():
            continue
        done.add(file)
        place = pages / _place(file, root)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.suffix != ".md":
            shutil.copy(file, place)
        elif file.suffix != ".md":
            language = _LANGUAGES.get(file.suffix, "")
            place.write_text(f"# {file.relative_to(root)}\n\n````{language}\n{file.read_text()}\n````\n")
        else:
            text, linked = _for_the_site(file, root)
            place.write_text(text)
            waiting += linked
    (target / "zensical.toml").write_text(_SETTINGS.format(nav=_nav(docs)))


def _place(file: Path, root: Path) -> Path:
    """Where a file of the repository stands on the site."""
    docs = root / "platform/docs"
    if file.is_relative_to(docs):
        return file.relative_to(docs)
    inside = Path("repository") / file.relative_to(root)
    return inside if file.suffix in (".md", ".png", ".svg") else inside.with_name(f"{inside.name}.md")


def _for_the_site(file: Path, root: Path) -> tuple[str, list[Path]]:
    """A page's text with links to where files stand on the site, and these files."""
    linked: list[Path] = []

    text = file.read_text()
    here = _place(file, root).parent
    pieces, end = [], 0
    for match in LINK.finditer(without_code(text)):
        path, hash_, anchor = match["target"].partition("#")
        if not path or ":" in path:
            continue
        aim = (file.parent / path).resolve()
        aim = aim / "README.md" if aim.is_dir() else aim
        words = text[slice(*match.span("words"))]
        pieces.append(text[end : match.start()])
        end = match.end()
        if not aim.exists():  # A folder without a page of its own.
            pieces.append(words)
            continue
        linked.append(aim)
        place = os.path.relpath(_place(aim, root), here)
        pieces.append(f"{match['picture']}[{words}]({place}{hash_}{anchor})")
    return "".join([*pieces, text[end:]]), linked


def _nav(docs: Path) -> str:
    lines = ['  {"Home" = "index.md"},\n']
    for section in navigation(docs):
        below = "".join(f"    {_entry(docs, page, words)},\n" for page, words in section.pages.items())
        lines.append(f'  {{"{section.title}" = [\n{below}  ]}},\n')
    return "".join(lines)


def _entry(docs: Path, page: Path, words: str) -> str:
    words = words[0].upper() + words[1:]
    listed = {docs / page for section in navigation(docs) for page in section.pages}
    others = [other for other in sorted((docs / page).parent.glob("*.md")) if other not in listed]
    if page.name != "README.md" or not others:
        return f'{{"{words}" = "{page}"}}'
    inner = ", ".join(f'{{"{title(other)}" = "{other.relative_to(docs)}"}}' for other in others)
    return f'{{"{words}" = ["{page}", {inner}]}}'


if __name__ == "__main__":
    stage(Path(sys.argv[1]).resolve())
