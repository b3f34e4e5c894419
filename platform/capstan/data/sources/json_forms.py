"""The one text of values that JSON writes in several forms: 1, 1.0 and "1" are one category, true and "true" too."""

# DuckDB takes no parameters for names; they all go through `quote`, texts through `literal`.
# ruff: noqa: S608

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from capstan.data.moments import TEXT
from capstan.data.sources.known_rows import known
from capstan.data.sources.reading import Reader, Reading
from capstan.data.text_types import literal, quote

_LOG = logging.getLogger(__name__)
_FORMS = {
    "numbers": ("BIGINT", "UBIGINT", "DOUBLE"),
    "texts": ("VARCHAR",),
    "booleans": ("BOOLEAN",),
}
"""Words of people -> JSON types as DuckDB names them."""
_WHOLE = 2**64


def json_of(column: str) -> str:
    """Name of the column with its values as JSON."""
    return f"json of {column}"


def unquoted(kinds: set[str]) -> bool:
    """Whether some of a column's JSON types are numbers or booleans."""
    return bool(kinds - {"VARCHAR"})


def write_alike(reading: Reading, table: str, column: str, kind_column: str) -> None:
    """Give the numbers among a column's texts the form that `capstan.features.values.category` gives a number."""
    value = f"try_cast({quote(column)} as double)"
    whole = f"{value} = floor({value}) and abs({value}) < {_WHOLE}"
    reading.connection.execute(
        f"update {table} set {quote(column)} = case when {whole} then cast(cast({value} as hugeint) as varchar) "
        f"else cast({value} as varchar) end where {quote(kind_column)} = 'DOUBLE' and isfinite({value})"
    )


def warn_of_mixed(
    reading: Reading, reader: Reader, column: str, kinds: set[str], objects: Mapping[str, str]
) -> None:
    """Tell of a column of several forms; `objects`: file -> SQL of its values as JSON, with the time column as text."""
    forms = {word: names for word, names in _FORMS.items() if kinds & set(names)}
    if len(forms) < 2:
        return
    shown = [
        cell for names in forms.values() for cell in [_first(reading, reader, column, names, objects)] if cell
    ]
    *most, last = forms
    _LOG.warning(
        '%s: column %r mixes %s and %s (%s), so that it is text, in which 1, 1.0 and "1" are one category; write its '
        "values alike, or say what they are: types: [{column: %s, type: Text}]",
        reading.field,
        column,
        ", ".join(most),
        last,
        "; ".join(shown),
        column,
    )


def _first(
    reading: Reading, reader: Reader, column: str, names: Sequence[str], objects: Mapping[str, str]
) -> str | None:
    """The first value of these JSON types, as it is written: `rows.jsonl, line 3: true`."""
    rows = " union all ".join(
        f"select {literal(file)} as in_file, row_number() over () as row_number, * from ({sql})"
        for file, sql in objects.items()
    )
    listed = ", ".join(map(literal, names))
    value = quote(json_of(column))
    found = reading.connection.execute(
        f"select in_file, row_number, cast({value} as varchar) from ({known(reading, rows, TEXT)}) "
        f"where json_type({value}) in ({listed}) limit 1"
    ).fetchone()
    return None if found is None else f"{reader.place(found[0], found[1])}: {found[2][:60]}"
