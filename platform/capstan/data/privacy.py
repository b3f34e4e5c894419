"""Puts what stands for them in the place of the raw values of marked columns, before a case is made of a row."""

# DuckDB takes no parameters for names; they all go through `quote`.
# ruff: noqa: S608

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from capstan.data.hidden_values import NOT_SHOWN, values_hidden, without_values
from capstan.data.text_types import quote
from capstan.errors import CapstanError, InvalidDataError
from capstan.features.columns import type_of
from capstan.features.pseudonyms import PseudonymKeys
from capstan.features.treatments import Reads, Treat, Treated, UntreatableError
from capstan.spec.privacy import PrivateColumn
from capstan.spec.system import MLSystem

_TREATED = b"treated columns"
_BATCH = 100_000


@contextmanager
def raw_values(system: MLSystem) -> Iterator[set[str]]:
    """While raw values of marked columns are read, no error and no warning quotes a value of a table.

    Gives the words that are no values; more may be added, such as names of columns.
    """
    known = _known_words(system)
    if not system.spec.data.privacy.columns:
        yield known
        return
    with values_hidden(known):
        try:
            yield known
        except CapstanError as error:
            error.args = tuple(without_values(str(one)) for one in error.args)
            # What it was raised from quotes the value.
            error.__cause__ = error.__context__ = None
            error.__suppress_context__ = True
            raise


def treat_rows(
    connection: duckdb.DuckDBPyConnection,
    system: MLSystem,
    rows: str,
    secrets: Path,
    plain: Callable[[str], str],
    key_numbers: Mapping[str, int],
    *,
    unquoted: Callable[[str], bool],
    keeps_odd: bool,
) -> tuple[Treated, ...]:
    """Treat the marked columns of the table `rows`; returns all marked columns, as a request is to be treated.

    `plain` makes SQL of a column's values as cases hold them. `key_numbers`: of a column the key of its pseudonyms; of
    all others it is the current one. With `keeps_odd` a cell that is no number in a column of
    bands stays a text that is none; else it is an error. Raises InvalidDataError, which tells no value.
    """
    marked = system.spec.data.privacy.columns
    if not marked:
        return ()
    there = connection.sql(f"from {rows}").columns
    treated: list[Treated] = []
    replaced: list[str] = []
    joins: list[str] = []
    for index, column in enumerate(marked):
        one, keys = _outlined(system, column, secrets, key_numbers.get(column.name))
        if column.drop is None and column.name in there:
            raw = _raw(system, column.name, plain)
            one = _with_type(connection, rows, raw, one, is_unquoted=unquoted(column.name))
            treat = one.treat(keys)
            assert treat is not None
            made = f"_treated_{index}"
            _map(connection, rows, raw, made, one, treat, keeps_odd=keeps_odd)
            replaced.append(f"{made}.made as {quote(column.name)}")
            joins.append(f"left join {made} on {raw} = {made}.raw")
        treated.append(one)
    if replaced:
        connection.execute(
            f"create temp table _treated as select {rows}.* replace ({', '.join(replaced)}) from {rows} "
            f"{' '.join(joins)}"
        )
        connection.execute(f"drop table {rows}")
        connection.execute(f"alter table _treated rename to {rows}")
        for join in joins:
            connection.execute(f"drop table {join.split()[2]}")
    return tuple(treated)


def with_treated(metadata: Mapping[bytes, bytes], treated: Sequence[Treated]) -> dict[bytes, bytes]:
    """The metadata of a table of cases with what was done to its columns."""
    if not treated:
        return dict(metadata)
    return {**metadata, _TREATED: json.dumps([one.as_json() for one in treated]).encode()}


def treated_columns(table: pa.Table) -> tuple[Treated, ...]:
    """The marked columns of an extracted table, as requests are to be treated."""
    found = json.loads((table.schema.metadata or {}).get(_TREATED, b"[]"))
    return tuple(map(Treated.of_json, found))


def _outlined(
    system: MLSystem, column: PrivateColumn, secrets: Path, number: int | None
) -> tuple[Treated, PseudonymKeys | None]:
    data = system.spec.data
    document: dict[str, Any] = column.model_dump(mode="json", by_alias=True, exclude_none=True)
    document.pop("name")
    keys = data.keys
    reads = Reads(
        type_of(pa.array([], pa.string())),
        is_id=column.name in (keys.id, keys.sticky_by, keys.group),
        zone=data.time_zone,
        written=data.written.get(column.name),
    )
    one = Treated(column.name, document, reads)
    found = one.keys(secrets)
    if found is None:
        return one, None
    return Treated(column.name, document, reads, found.current if number is None else number), found


def _with_type(
    connection: duckdb.DuckDBPyConnection, rows: str, raw: str, one: Treated, *, is_unquoted: bool
) -> Treated:
    found = type_of(connection.sql(f"select {raw} as raw from {rows} limit 0").to_arrow_table()["raw"])
    reads = Reads(found, one.reads.is_id, is_unquoted, one.reads.zone, one.reads.written)
    return Treated(one.name, one.document, reads, one.number)


def _raw(system: MLSystem, name: str, plain: Callable[[str], str]) -> str:
    keys = system.spec.data.keys
    if name in (keys.id, keys.sticky_by, keys.group):
        return f"nullif(cast({quote(name)} as varchar), '')"
    return plain(name)


def _map(
    connection: duckdb.DuckDBPyConnection,
    rows: str,
    raw: str,
    made: str,
    one: Treated,
    treat: Treat,
    *,
    keeps_odd: bool,
) -> None:
    """Make the table `made` of each raw value and what stands for it."""
    kind: pa.DataType | None = pa.string()
    if "generalise" in one.document:
        kind = {"width": pa.float64(), "date": None}.get(next(iter(one.document["generalise"])), pa.string())
    width, odd = kind == pa.float64(), False
    values = connection.sql(
        f"select distinct {raw} as raw from {rows} where {raw} is not null"
    ).to_arrow_table()
    chunks: list[pa.Table] = []
    for batch in values.to_batches(max_chunksize=_BATCH):
        found: list[object] = []
        for value in batch.column(0).to_pylist():
            try:
                found.append(treat(value))
            except UntreatableError as broken:
                if width and keeps_odd:
                    number = _number(value)
                    found.append(NOT_SHOWN if number is None else str(treat(number)))
                    odd = True
                    continue
                raise InvalidDataError(
                    f"data.privacy: column {one.name!r} holds a value that cannot be treated: it {broken}; correct it "
                    "in data.query"
                ) from None
        type_made = pa.string() if odd else kind or pa.timestamp("us", "UTC")
        chunks.append(pa.table({"raw": batch.column(0), "made": pa.array(found, type_made)}))
    if not chunks:
        chunks = [pa.table({"raw": values["raw"], "made": pa.array([], kind or pa.timestamp("us", "UTC"))})]
    table = pa.concat_tables(chunks)
    connection.register("_treated_values", table)
    connection.execute(f"create temp table {made} as from _treated_values")
    connection.unregister("_treated_values")


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _known_words(system: MLSystem) -> set[str]:
    """What errors may quote: names of the file, which are no values."""
    spec = system.spec
    words = {source.name for source in spec.data.sources} | {
        column.name for column in spec.data.privacy.columns
    }
    words |= {name for feature in spec.features for name in (feature.name, feature.column)}
    words |= {check.column for check in spec.data.checks} | {*spec.targets, spec.data.label.column}
    keys = spec.data.keys
    named = (keys.id, keys.time, keys.sticky_by, keys.group, spec.data.label.available_at)
    return words | {one for one in named if one is not None}
