"""Claims about the check that only wiring constructs adapters."""

from __future__ import annotations

from pathlib import Path

import pytest
from checks.adapters_in_wiring import uses_outside_wiring

ADAPTER = """
from dataclasses import dataclass
from typing import Protocol

class Store(Protocol): ...

@dataclass(frozen=True)
class Row: ...

class SqliteStore:
    @classmethod
    def opened(cls): ...
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    put(tmp_path, "adapters/sqlite/store.py", ADAPTER)
    return tmp_path


def put(root: Path, file: str, content: str) -> None:
    path = root / "platform/capstan" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_only_wiring_constructs_adapters() -> None:
    assert [str(use) for use in uses_outside_wiring()] == []


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(
            "def f():\n    from capstan.adapters.sqlite.store import SqliteStore\n    return SqliteStore()",
            id="inside_a_function",
        ),
        pytest.param(
            "from capstan.adapters.sqlite import store as s\nx = s.SqliteStore.opened()",
            id="by_a_class_method",
        ),
        pytest.param(
            "import capstan.adapters.sqlite.store\nx = capstan.adapters.sqlite.store.SqliteStore()",
            id="by_its_whole_name",
        ),
        pytest.param(
            "from capstan.adapters.sqlite.store import SqliteStore as S\nmake = [S]", id="as_a_factory"
        ),
    ],
)
def test_an_adapter_that_another_module_constructs_is_told_with_its_line(tree: Path, content: str) -> None:
    put(tree, "cli/verbs/up.py", content)
    (use,) = uses_outside_wiring(tree)
    assert use.module == "capstan.cli.verbs.up"
    assert use.adapter == "capstan.adapters.sqlite.store.SqliteStore"
    assert use.line == len(content.splitlines())


@pytest.mark.parametrize(
    ("file", "content"),
    [
        pytest.param("embedded/wiring.py", "SqliteStore()", id="wiring"),
        pytest.param("cluster/wiring/systems.py", "SqliteStore()", id="a_package_of_wiring"),
        pytest.param("adapters/sqlite/migration.py", "SqliteStore()", id="the_vendors_own_folder"),
        pytest.param("cli/place.py", "def f(store: SqliteStore) -> SqliteStore: ...", id="an_annotation"),
        pytest.param("cli/place.py", "x = isinstance(1, SqliteStore)", id="a_question"),
        pytest.param("cli/place.py", "x = Row()", id="a_value"),
    ],
)
def test_wiring_annotations_and_values_are_left_alone(tree: Path, file: str, content: str) -> None:
    put(tree, file, "from capstan.adapters.sqlite.store import Row, SqliteStore\n" + content)
    assert uses_outside_wiring(tree) == []
