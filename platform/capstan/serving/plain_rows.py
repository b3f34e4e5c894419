"""Rows of which every value is like those of training, read by one function that is made for the model.

Nearly all rows are plain: nothing of them is to be refused or marked, so that neither the schema nor the marks need to
look. The function takes a quarter of the time of the two.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Mapping
from datetime import datetime
from typing import Any

from capstan.domain.payload_limits import LONGEST_ID, LONGEST_TEXT
from capstan.features.values import ColumnType, category
from capstan.serving.columns import FIRST_YEAR, LAST_YEAR, BrokenRuleError, check_of, image_check
from capstan.serving.manifest import Column, Manifest
from capstan.serving.schema import MAX_ROWS, Row

_LARGEST = sys.float_info.max
"""Only NaN and the infinities are not between it and its opposite."""
_AS_SENT, _CHANGED = 1, 2
"""What is told of a plain row: whether a value of it was replaced by what the model reads. 0: it is not plain."""


class PlainRows:
    """Tells the rows that `RequestSchema` accepts and in which `Familiarity` marks nothing, and reads them alike."""

    def __init__(self, manifest: Manifest, known_categories: Mapping[str, Collection[str | None]]) -> None:
        """`known_categories`: column -> what the transform tells apart."""
        self._read_as = _compiled(manifest, known_categories)
        names = {*(column.name for column in manifest.columns), *manifest.keys.values()}
        self._takes_rows = "rows" not in names

    def of(self, body: object) -> list[Row] | None:
        """The rows of a body, `{...}` or `{"rows": [...]}`, as the model reads them, if all of them are plain.

        None: to be looked at closely; some of its values may have been read already.
        """
        found = self.read(body)
        return None if found is None else found[0]

    def read(self, body: object) -> tuple[list[Row], bool] | None:
        """The same, and whether the body is one row that the model reads letter by letter."""
        read_as = self._read_as(body)
        if read_as:
            return [body], read_as == _AS_SENT  # type: ignore[list-item]
        if type(body) is dict and len(body) == 1 and self._takes_rows:
            rows = body.get("rows")
            if type(rows) is list and 0 < len(rows) <= MAX_ROWS and all(map(self._read_as, rows)):
                return rows, False
        return None


def _compiled(
    manifest: Manifest, known_categories: Mapping[str, Collection[str | None]]
) -> Callable[[object], int]:
    names: dict[str, Any] = {
        "moment": datetime.fromisoformat,
        "category": category,
        "Broken": BrokenRuleError,
    }
    columns = {column.name: column for column in manifest.columns}
    expected = {**columns, **dict.fromkeys(manifest.keys.values())}
    lines: list[str] = []
    for index, name in enumerate(expected):
        column = columns.get(name)
        keys = [kind for kind, key in manifest.keys.items() if key == name]
        if column is not None and (column.required or not column.nullable):
            lines += [f"  v = row[{name!r}]", "  if v is None: return 0"]
        else:
            lines += [f"  v = get({name!r})", f"  if v is None: absent += {name!r} not in row"]
        rules = [_key(kind) for kind in keys]
        if column is not None:
            rules.append(_column(column, known_categories.get(name), index, names, manifest))
        lines.append(f"  elif not ({' and '.join(rules)}): return 0")
        if column is None and "time" not in keys:
            lines.append(f"  elif type(v) is int: row[{name!r}] = str(v); told = {_CHANGED}")
        elif column is not None and column.filled and _is_read(column):
            lines += [
                "  elif read is not v:",
                f"   row[{name!r}] = read",
                f"   if read != v or type(read) is not type(v): told = {_CHANGED}",
            ]
    source = "\n".join(
        [
            "def read_as(row):",
            " if type(row) is not dict: return 0",
            " get = row.get",
            " absent = 0",
            f" told = {_AS_SENT}",
            " try:",
            *lines,
            # All others are there, so that a row of as many has none that is unknown.
            f"  return told if len(row) == {len(expected)} - absent else 0",
            " except (KeyError, TypeError, ValueError, Broken):",
            "  return 0",
        ]
    )
    # Names of columns are quoted; all else that a manifest holds is a value in `names`.
    exec(compile(source, "<plain rows>", "exec"), names)  # noqa: S102
    read_as: Callable[[object], int] = names["read_as"]
    return read_as


def _key(kind: str) -> str:
    """What holds for a good key; raises ValueError or TypeError for a time that is none."""
    if kind == "time":
        return f"{FIRST_YEAR} < moment(v).year < {LAST_YEAR}"
    return f"(type(v) is int or type(v) is str and 0 < len(v) <= {LONGEST_ID})"


def _is_read(column: Column) -> bool:
    """Whether the model reads something else than what a client may write."""
    return column.type is ColumnType.BOOLEAN or (not column.numeric and column.type is not ColumnType.TEXT)


def _column(
    column: Column,
    known: Collection[str | None] | None,
    index: int,
    names: dict[str, Any],
    manifest: Manifest,
) -> str:
    """What holds for a value `v` that is neither refused nor marked; what that needs is put into `names`.

    It sets `read` where the model reads something else.
    """
    low, high, check = f"low{index}", f"high{index}", f"check{index}"
    names[low] = max(_given(-_LARGEST, column.minimum, column.trained_minimum))
    names[high] = min(_given(_LARGEST, column.maximum, column.trained_maximum))
    names[check] = check_of(column, manifest)
    if not column.filled:
        return "False"
    if column.image is not None:
        names[f"image{index}"] = image_check(column)
        return f"type(v) is str and v and image{index}(v) is None"
    if _is_read(column):
        rules = [f"(read := {check}(v)) is not None"]
        if column.numeric:
            rules.append(f"{low} <= read <= {high}")
    elif column.numeric:
        rules = ["(type(v) is float or type(v) is int)", f"{low} <= v <= {high}"]
        if column.allowed is not None:
            names[f"allowed{index}"] = column.allowed
            rules.append(f"v in allowed{index}")
    else:
        return _text(column, known, index, names)
    if known is not None:
        names[f"known{index}"] = frozenset(known)
        rules.append(f"category({'read' if _is_read(column) else 'v'}) in known{index}")
    return " and ".join(rules)


def _text(column: Column, known: Collection[str | None] | None, index: int, names: dict[str, Any]) -> str:
    texts = column.allowed if known is None else known
    if texts is None:
        return f"type(v) is str and 0 < len(v) <= {LONGEST_TEXT}"
    names[f"texts{index}"] = frozenset(
        text
        for text in texts
        if type(text) is str
        and 0 < len(text) <= LONGEST_TEXT
        and (column.allowed is None or text in column.allowed)
    )
    return f"v in texts{index}"


def _given(*bounds: float | None) -> list[float]:
    return [bound for bound in bounds if bound is not None]
