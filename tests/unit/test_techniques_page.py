"""The page of techniques names tests and fields; a name that is none would claim what nobody shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

TESTS = Path(__file__).parents[1]
DOCS = TESTS.parent / "platform/docs"
ROWS = [
    [cell.strip() for cell in line.strip("| \n").split(" | ")]
    for line in (DOCS / "techniques.md").read_text().splitlines()
    if re.match(r"\| [BCDE]\d+[^|]*\|.*::", line)
]
FIELDS = set(re.findall(r"^\| `([\w.]+)` \|", (DOCS / "spec.md").read_text(), re.MULTILINE))


def paths(part: Any, above: str = "") -> Iterator[str]:
    """Fields of a part of the file, dotted, as the reference writes them."""
    if isinstance(part, list):
        for one in part:
            yield from paths(one, above)
    elif isinstance(part, dict):
        for key, value in part.items():
            path = f"{above}.{key}" if above else key
            yield path
            yield from paths(value, path)


def test_the_page_has_a_row_for_most_of_the_mission() -> None:
    assert len(ROWS) > 80
    assert {len(row) for row in ROWS} == {5}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]} {row[1]}")
def test_what_a_row_names_is_there(row: list[str]) -> None:
    _, _, line, noop, wrong = row
    for named in (noop, wrong):
        file, _, name = named.strip("`").partition("::")
        assert re.search(rf"^(async )?def {name}\(", (TESTS / file).read_text(), re.MULTILINE), named
    if line:
        part = YAML(typ="safe").load(line.strip("`"))
        whole = [path for path in paths(part) if "." in path]
        assert whole
        assert [path for path in whole if path not in FIELDS] == []
