"""What the text of a query says of the columns that it names, whatever tables they are of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

_ORDERING = ("min", "max", "arg_min", "arg_max", "min_by", "max_by", "argmin", "argmax", "greatest", "least")
"""Functions whose answer depends on the order of what they are given."""


@dataclass(frozen=True)
class Syntax:
    """Names of columns as the query writes them, folded to lower case; a new name counts with the old one."""

    ordered: frozenset[str]
    """Rows are sorted, or a least or most is chosen, by them."""
    cast: frozenset[str]
    """They are cast where they are used."""
    renamed: dict[str, frozenset[str]]
    """New name -> the names that it stands for."""

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection, query: str) -> Syntax:
        """Without any name where DuckDB cannot tell the query's parts."""
        row = connection.execute("select json_serialize_sql(?::varchar)", [query]).fetchone()
        tree = json.loads(row[0]) if row else {}
        renamed: dict[str, set[str]] = {}
        ordered: set[str] = set()
        cast: set[str] = set()
        for node in nodes(tree):
            if node.get("class") == "COLUMN_REF" and node.get("alias"):
                renamed.setdefault(node["alias"].casefold(), set()).update(_names(node, deep=False))
            if node.get("class") == "CAST":
                cast |= set(_names(node.get("child"), deep=False))
            if str(node.get("function_name", "")).casefold() in _ORDERING:
                ordered |= set(_names(node.get("arguments")))
            for key in ("orders", "arg_orders"):
                ordered |= set(_names(node.get(key)))
        origins = {name: frozenset(_origins(name, renamed)) for name in renamed}
        return cls(_with_origins(ordered, origins), _with_origins(cast, origins), origins)

    def origins(self, name: str) -> frozenset[str]:
        """The name, and those that it stands for."""
        return frozenset({name.casefold()}) | self.renamed.get(name.casefold(), frozenset())


def _with_origins(names: set[str], origins: dict[str, frozenset[str]]) -> frozenset[str]:
    return frozenset(names).union(*(origins.get(name, frozenset()) for name in names))


def _origins(name: str, renamed: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = [name]
    while left:
        new = renamed.get(left.pop(), set()) - found
        found |= new
        left += new
    return found


def _names(tree: Any, *, deep: bool = True) -> Iterator[str]:
    """Last part of the name of each column in a part of the tree, or of the part itself."""
    looked_at = nodes(tree) if deep else iter([tree] if isinstance(tree, dict) else [])
    for node in looked_at:
        if node.get("class") == "COLUMN_REF" and node.get("column_names"):
            yield str(node["column_names"][-1]).casefold()


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """All maps in a tree of DuckDB's."""
    left = [tree]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            yield part
            left += part.values()
        elif isinstance(part, list):
            left += part
