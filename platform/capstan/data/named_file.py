"""A table that a person names on the command line, by the suffix of its file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from capstan.errors import InvalidDataError
from capstan.spec.data import CsvSource, JsonLinesSource, ParquetSource, Source, StatedType

TableKind = Literal["csv", "parquet", "jsonLines"]
KINDS: dict[str, TableKind] = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".data": "csv",
    ".parquet": "parquet", ".jsonl": "jsonLines", ".ndjson": "jsonLines",
}  # fmt: skip
"""Suffix of a table's file -> kind of its source."""


def kind_of(file: Path) -> TableKind:
    """The kind of source that the file's name says; raises InvalidDataError."""
    suffix = next((suffix for suffix in reversed(file.suffixes) if suffix != ".gz"), "").lower()
    if suffix not in KINDS:
        raise InvalidDataError(
            f"{file.name}: is not a kind of table that Capstan reads; give one of {', '.join(sorted(KINDS))}"
        )
    return KINDS[suffix]


def source_of(
    file: Path,
    name: str,
    *,
    texts: Sequence[str] = (),
    missing: Sequence[str] = (),
    written: CsvSource | None = None,
) -> Source:
    """The file as a source in its own folder; `missing`: what means missing in a CSV file besides the usual words.

    A CSV file is written as `written` says. `texts`: columns whose values stay text. Raises InvalidDataError.
    """
    kind, path = kind_of(file), file.name
    return Source(
        name=name,
        types=tuple(StatedType(column=column, type="Text") for column in texts),
        csv=(written or CsvSource(path=path)).model_copy(update={"path": path, "missing": tuple(missing)})
        if kind == "csv"
        else None,
        parquet=ParquetSource(path=path) if kind == "parquet" else None,
        json_lines=JsonLinesSource(path=path) if kind == "jsonLines" else None,
    )
