"""One table of cases, as it could have been read at a given moment.

Sources are cut at `as_of` before they are joined, labels at `labels_as_of` after, so that no later row and no later
label can change a byte of the result.
"""

# DuckDB takes no parameters for names; they all go through `quote`.
# ruff: noqa: S608

from __future__ import annotations

import difflib
import json
import logging
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar
from unicodedata import normalize

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from capstan.data.conditions import columns_of_condition, ordered_by_condition
from capstan.data.decimal_marks import plain_name
from capstan.data.event_features import add_event_features
from capstan.data.fingerprint import source_read
from capstan.data.hidden_values import quoted
from capstan.data.images import ImageFiles
from capstan.data.keys import require_keys
from capstan.data.lineage import Uses
from capstan.data.mapped_tables import BATCH_ROWS, IN_MEMORY, filtered, mapped
from capstan.data.memory import table_memory
from capstan.data.moments import (
    AWARE,
    LOCAL,
    TEXT,
    clock_changes,
    column_types,
    instant,
    is_outside,
    moment,
    ways_to_moments,
)
from capstan.data.number_cells import MOSTLY
from capstan.data.privacy import raw_values, treat_rows, with_treated
from capstan.data.query import SourceTables
from capstan.data.sources import Reading
from capstan.data.sql_errors import in_words, is_no_space
from capstan.data.text_types import quote, typed
from capstan.data.workspace import workspace
from capstan.domain.payload_limits import EARLIEST, LATEST
from capstan.errors import DiskFullError, InvalidDataError
from capstan.features.treatments import Treated
from capstan.spec.data import CONTENT_ID, READ_AT
from capstan.spec.location import path_text
from capstan.spec.system import MLSystem
from capstan.tasks import task_of
from capstan.tasks.labels import NumberLabel

LABEL_AVAILABLE_AT = "label_available_at"
UNQUOTED = b"capstan.unquoted"
"""Metadata of a field of text whose values stood without quotes somewhere."""
SECRETS = "CAPSTAN_SECRETS"
"""Environment variable with the folder of secrets, where no other is given."""
CONTENT_DIGITS = 16
"""Of the hash in an id that is made from a row; what follows a dash counts rows that are alike."""
UNDATED = datetime(1970, 1, 1, tzinfo=UTC)
"""The moment of rows without a time, where nobody asks as of a moment."""
_SHOWN = 5
_CELL_BYTES = 8
"""Of a number; texts mostly take more."""
_GIVEN = b"given columns"
_AGREEMENTS = b"agreements"
_LOG = logging.getLogger(__name__)
_EXACT = ("decimal", "hugeint", "uhugeint", "bignum")
_NUMBERS = (
    *("tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint"),
    *("float", "double", *_EXACT),
)
_AS_TEXT = ("enum", "uuid", "time", "time with time zone")
_AS_IT_IS = (
    *("tinyint", "smallint", "integer", "bigint", "utinyint", "usmallint", "uinteger", "ubigint", "double"),
    *("boolean", "null"),
)
"""Ids of DuckDB's types."""


def extract(
    system: MLSystem,
    *,
    as_of: datetime | None,
    labels_as_of: datetime | None,
    start: datetime | None = None,
    end: datetime | None = None,
    threads: int = 1,
    memory: int | None = None,
    secrets: Path | None = None,
    on_read: Callable[[Mapping[str, Mapping[str, str]]], None] | None = None,
    on_sources: Callable[[Sequence[Mapping[str, object]]], None] | None = None,
    features: bool = True,
) -> pa.Table:
    """The cases known at `as_of`, by time and then id; raises InvalidDataError.

    Columns: the keys (id and group text, time UTC), what features, slices and checks name, the label and the targets of
    single models (of the task's type, null where not known at `labels_as_of`) and `label_available_at` (UTC, null where
    the label is). `as_of=None` reads all rows, `labels_as_of=None` all labels; `start <= time < end` narrows further.
    Times without offset are of the file's zone.
    All columns of the query are named in the schema (`given_columns`).
    Beyond `memory` bytes DuckDB spills to disk; without it, of what `table_memory` says. `on_read` is told the SQL type
    of each column of each source that was read, `on_sources` what `source_read` says of each. Neither is in the table:
    files change while the rows that are known at a moment stay. Without `features` only keys and label are read, of
    wide tables a small part.
    """
    with selected_cases(
        system,
        as_of=as_of,
        labels_as_of=labels_as_of,
        start=start,
        end=end,
        threads=threads,
        memory=memory,
        secrets=secrets,
        on_read=on_read,
        # Without a column of ids they are made from all that a row holds.
        columns=needed_columns(system)
        if features or system.spec.data.keys.id is None
        else _key_columns(system),
        targets=_targets(system, features),
    ) as selected:
        table = selected.as_table(system)
        if not system.spec.data.has_label:
            table = _without_labels(table, system)
        room = memory if memory is not None else table_memory(system.spec.training.resources)
        table = ImageFiles.of(system).in_table(table, room)
        table = _with_unquoted(table, selected.tables)
        if on_sources is not None:
            on_sources([source_read(one) for one in selected.readings])
        hidden = {*system.spec.targets, system.spec.data.label.column, system.spec.data.label.available_at}
        known = [name for name in selected.given if name not in hidden]
        told = [one.in_words() for one in selected.tables.agreements]
        table = table.replace_schema_metadata(
            with_treated(
                {
                    _GIVEN: json.dumps(known).encode(),
                    _AGREEMENTS: json.dumps(told).encode(),
                },
                selected.treated,
            )
        )
    if not table.num_rows:
        until = f" up to {as_of.isoformat()}" if as_of else ""
        raise InvalidDataError(
            f"data.query: gives no row{until}; correct the join, the sources' timeColumn or the time asked for"
        )
    return table


@dataclass(frozen=True)
class SelectedCases:
    """The cases of an extraction while DuckDB holds them; moments are UTC."""

    connection: duckdb.DuckDBPyConnection
    tables: SourceTables
    given: Sequence[str]
    """All columns of the query."""

    written: Mapping[str, str]
    """Columns of numbers in which something else stands, and the column that holds what was written there."""

    readings: Sequence[Reading] = ()
    """One for each source."""
    treated: tuple[Treated, ...] = ()
    """Marked columns, whose raw values are not in the cases."""

    table: ClassVar[str] = "_cases"

    def as_table(self, system: MLSystem) -> pa.Table:
        """By time and then id; a large one lies in a mapped file. Raises DiskFullError."""
        # What the cases were made of would take the room in which they are sorted.
        self.connection.execute("drop table _joined")
        [(rows,)] = self.connection.execute(f"select count(*) from {self.table}").fetchall()
        ordered = self.in_order(system)
        if rows * len(ordered.columns) * _CELL_BYTES <= IN_MEMORY:
            return ordered.to_arrow_table()
        batches = ordered.to_arrow_reader(BATCH_ROWS)
        return mapped(batches.schema, batches)

    def in_order(self, system: MLSystem) -> duckdb.DuckDBPyRelation:
        """By time and then id."""
        keys = system.spec.data.keys
        return self.connection.sql(
            f"select * from {self.table} order by {quote(keys.time_column)}, {quote(keys.id_column)}"
        )


@contextmanager
def selected_cases(
    system: MLSystem,
    *,
    as_of: datetime | None,
    labels_as_of: datetime | None,
    start: datetime | None,
    end: datetime | None,
    threads: int,
    memory: int | None,
    secrets: Path | None,
    columns: Sequence[str],
    targets: Sequence[str],
    on_read: Callable[[Mapping[str, Mapping[str, str]]], None] | None = None,
    keeps_odd: bool = False,
    on_connect: Callable[[duckdb.DuckDBPyConnection], None] = lambda _: None,
    key_numbers: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[SelectedCases]:
    """What `extract` gives as a table, with these `columns` and labels alone; there may be no row.

    Without `targets` nothing of the label is read: the sources need not have it. With `keeps_odd` a cell that is no
    number in a column of numbers is given as it was written, in a column of its own; else it is an error. `on_connect`
    gets the connection before anything is read, whose `interrupt` ends what it does. `key_numbers`: of marked columns
    the key by which a version knows their pseudonyms; of all others it is the current one. Raises InvalidDataError,
    also for memory that runs out while the cases are used, and DiskFullError.
    """
    secrets = secrets or secrets_folder()
    if memory is None:
        memory = table_memory(system.spec.training.resources)
    data = system.spec.data
    with workspace(threads=threads, memory=memory, zone=data.time_zone) as connection:
        on_connect(connection)
        readings = [
            Reading(connection, source, as_of, system.base_dir, secrets, data.time_zone)
            for source in data.sources
        ]
        try:
            own = _of_the_query(system, columns)
            with raw_values(system) as known:
                tables = SourceTables(connection, readings)
                known |= tables.columns
                given = _run_query(connection, system, tables, own, targets, keeps_odd=keeps_odd)
                treated = _treat(connection, system, tables, secrets, key_numbers, keeps_odd=keeps_odd)
            written = _odd_columns(connection, system) if keeps_odd else {}
            if on_read is not None:
                on_read(tables.read_types)
            _select_cases(connection, system, tables, own, targets, as_of, labels_as_of, start, end, written)
            require_keys(connection, system, SelectedCases.table)
            connection.execute("set TimeZone = 'UTC'")
            with raw_values(system):
                add_event_features(
                    connection,
                    system,
                    SelectedCases.table,
                    columns,
                    as_of=as_of,
                    threads=threads,
                    memory=memory,
                    secrets=secrets,
                )
            yield SelectedCases(connection, tables, given, written, readings, treated)
        except duckdb.OutOfMemoryException as error:
            raise InvalidDataError(
                f"data: the tables do not fit into {memory // 2**20} MiB, which is a part of what "
                "training.resources states, or else of the machine's memory; raise "
                "training.resources.requests.memory, or read less in data.query"
            ) from error
        except duckdb.Error as error:
            if is_no_space(error):
                raise DiskFullError(f"data: no room left for temporary files: {in_words(error)}") from error
            raise


def given_columns(table: pa.Table) -> tuple[str, ...]:
    """All columns that the query gave, whether something reads them or not, but for labels and their moment."""
    return tuple(json.loads((table.schema.metadata or {}).get(_GIVEN, b"[]")))


def agreements_told(table: pa.Table) -> tuple[str, ...]:
    """How far annotators agree, a sentence for each source of annotations that was read."""
    return tuple(json.loads((table.schema.metadata or {}).get(_AGREEMENTS, b"[]")))


def _with_unquoted(table: pa.Table, tables: SourceTables) -> pa.Table:
    """With a mark on the columns of text in which values stood without quotes: requests may write them so too."""
    fields = [
        field.with_metadata({UNQUOTED: b"1"})
        if field.type == pa.string() and tables.was_unquoted(field.name)
        else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields, table.schema.metadata))


def secrets_folder() -> Path:
    """Where secrets lie if nobody says otherwise."""
    return Path(os.environ.get(SECRETS, ".capstan/secrets"))


def trainable(table: pa.Table, as_of: datetime | None, system: MLSystem) -> pa.Table:
    """The cases old enough for every label to be in; else quick labels would be over-represented.

    Of a task that learns from labels only the labelled ones. Raises InvalidDataError if there are none.
    """
    data = system.spec.data
    needs_label = task_of(system.spec).facts.needs_labels
    keep = pc.is_valid(table[data.label.column if needs_label else data.keys.id_column])
    if as_of is not None and data.keys.time is not None:
        oldest = pa.scalar(as_of - data.settled_after, pa.timestamp("us", "UTC"))
        keep = pc.and_(keep, pc.less_equal(table[data.keys.time_column], oldest))
    chosen = filtered(table, keep)
    if not chosen.num_rows and data.keys.time is None:
        raise InvalidDataError(
            f"data.label.column: no row has a value of {data.label.column!r}; name another column"
        )
    if not chosen.num_rows:
        raise InvalidDataError(
            f"data.keys.time: no case is older than data.label.maximumDelay ({data.settled_after}) at "
            f"{as_of.isoformat() if as_of else 'any time'}; train later"
            if not needs_label
            else f"data.label: no case is labelled and older than maximumDelay ({data.label.maximum_delay}) "
            f"at {as_of.isoformat() if as_of else 'any time'}; train later or correct availableAt"
        )
    return chosen


def _of_the_query(system: MLSystem, columns: Sequence[str]) -> tuple[str, ...]:
    """Those that the query gives: in place of columns that are counted from events, whose events count."""
    aggregates = system.spec.data.aggregates
    entities = [
        events.entity
        for events in system.spec.data.events
        if any(one.name in columns for one in events.aggregates)
    ]
    return tuple(dict.fromkeys([*(name for name in columns if name not in aggregates), *entities]))


def _targets(system: MLSystem, features: bool) -> tuple[str, ...]:
    if not system.spec.data.has_label:
        return ()
    return system.spec.targets if features else (system.spec.data.label.column,)


def _without_labels(table: pa.Table, system: MLSystem) -> pa.Table:
    """With the columns of labels, of which none is known."""
    for name, kind in (
        (system.spec.data.label.column, pa.bool_()),
        (LABEL_AVAILABLE_AT, pa.timestamp("us", "UTC")),
    ):
        table = table.append_column(name, pa.nulls(table.num_rows, kind))
    return table


def _key_columns(system: MLSystem) -> tuple[str, ...]:
    keys = system.spec.data.keys
    named = (keys.id, keys.time, keys.sticky_by, keys.group)
    return tuple(dict.fromkeys(name for name in named if name is not None))


def needed_columns(system: MLSystem) -> tuple[str, ...]:
    """Keys, feature columns, slices and checked columns, each once; neither the label nor when it became known."""
    spec = system.spec
    wanted = [*_key_columns(system), *(feature.column for feature in spec.features)]
    wanted += [*(column for _, column in spec.groupings()), *(check.column for check in spec.data.checks)]
    wanted += spec.data.privacy.judged
    for index, check in enumerate(spec.data.checks):
        if check.condition is not None:
            wanted += columns_of_condition(check.condition, f"data.checks[{index}].condition")
    hidden = {*spec.targets, spec.data.label.available_at}
    return tuple(dict.fromkeys(name for name in wanted if name not in hidden))


def _run_query(
    connection: duckdb.DuckDBPyConnection,
    system: MLSystem,
    tables: SourceTables,
    needed: Sequence[str],
    targets: Sequence[str],
    *,
    keeps_odd: bool,
) -> Sequence[str]:
    """Gives all columns of the query; those that are wanted are in `_joined`."""
    data = system.spec.data
    query = data.query if data.query is not None else f"select * from {quote(data.sources[0].name)}"
    dated = [data.label.available_at] if targets and data.label.available_at is not None else []
    wanted = list(dict.fromkeys([*needed, *targets, *dated]))
    for reserved in (CONTENT_ID, READ_AT):
        if reserved in wanted:
            raise InvalidDataError(
                f"data.query: {reserved!r} is a name that Capstan gives itself; rename the column in data.query"
            )
    columns, uses = tables.columns_of(query), Uses.of(system)
    if columns is not None:
        tables.require_distinct([name for name in wanted if name not in columns])
        _check_columns(system, columns, [*_of_the_query(system, needed_columns(system)), *wanted])
        items = ", ".join(quote(name) for name in wanted)
        tables.read(f"select {items} from ({query.strip().rstrip(';')}\n)", data.query, uses)
    else:
        tables.read(query, data.query, uses)
        # The types of all rows may do where those of the first did not.
        columns = tables.columns_of(query)
        if columns is not None:
            _check_columns(system, columns, wanted)
    tables.run(query, wanted, "_joined", data.engine, data.time_zone)
    if not keeps_odd:
        _require_numbers(connection, system, tables)
    return columns or ()


def _treat(
    connection: duckdb.DuckDBPyConnection,
    system: MLSystem,
    tables: SourceTables,
    secrets: Path,
    key_numbers: Mapping[str, int],
    *,
    keeps_odd: bool,
) -> tuple[Treated, ...]:
    zone, types = system.spec.data.time_zone, column_types(connection, "from _joined")

    def plain(name: str) -> str:
        return _plain(connection, name, types[name], (), zone).removesuffix(f" as {quote(name)}")

    return treat_rows(
        connection,
        system,
        "_joined",
        secrets,
        plain,
        key_numbers,
        unquoted=tables.was_unquoted,
        keeps_odd=keeps_odd,
    )


def _odd_columns(connection: duckdb.DuckDBPyConnection, system: MLSystem) -> dict[str, str]:
    """Columns of numbers that hold text, each with the name of the column for what was written there."""
    types = column_types(connection, "from _joined")
    numbers = dict.fromkeys(
        feature.column for feature in system.spec.features if feature.reading == "numeric"
    )
    return {name: f"\x1fwritten {name}" for name in numbers if types.get(name) == TEXT}


def _require_numbers(connection: duckdb.DuckDBPyConnection, system: MLSystem, tables: SourceTables) -> None:
    """Raises InvalidDataError that names the cells which make text of a column that features or bounds need as numbers.

    Such a column is one of numbers by the file's word, so that even a column without any number has odd cells. One that
    a condition compares by size is one if most of its values are numbers and no source states it as Text.
    """
    stated = {one.column for source in system.spec.data.sources for one in source.types if one.type == "Text"}
    compared = [
        (column, f"condition {check.condition!r}")
        for index, check in enumerate(system.spec.data.checks)
        if check.condition is not None
        for column in ordered_by_condition(check.condition, f"data.checks[{index}].condition")
        if column not in stated
    ]
    types = column_types(connection, "from _joined")
    for field, least, needs in (
        (
            "features",
            0.0,
            [(f.column, f"feature {f.name!r}") for f in system.spec.features if f.reading == "numeric"],
        ),
        (
            "data.checks",
            0.0,
            [
                (check.column, f"check of {check.column!r}")
                for check in system.spec.data.checks
                if check.min is not None or check.max is not None
            ],
        ),
        ("data.checks", MOSTLY, compared),
    ):
        found = [
            (f"{need}: {cells}", cells)
            for column, need in needs
            if types.get(column) == TEXT
            for cells in tables.odd_cells(column, least=least)
        ]
        if found:
            casts = list(dict.fromkeys(cells.way or _plain_cast(cells.column) for _, cells in found))
            problems = "; ".join(problem for problem, _ in found)
            raise InvalidDataError(
                f"{field}: {problems}. Correct these values or leave them empty; list a text that means missing "
                "under `missing` of the csv source; state a column of numbers such as 007 as "
                f"Number under `types` of the source; or {'; '.join(casts)}"
            )


def _plain_cast(column: str) -> str:
    return f"cast it in data.query, such as try_cast({plain_name(column)} as double), which makes other texts missing"


def _select_cases(
    connection: duckdb.DuckDBPyConnection,
    system: MLSystem,
    tables: SourceTables,
    columns: Sequence[str],
    targets: Sequence[str],
    as_of: datetime | None,
    labels_as_of: datetime | None,
    start: datetime | None,
    end: datetime | None,
    written: Mapping[str, str],
) -> None:
    data = system.spec.data
    keys, label = data.keys, data.label
    types = column_types(connection, "from _joined")
    if keys.time is None:
        time = moment(as_of or UNDATED)
    else:
        time = _as_instant(connection, tables, keys.time, types[keys.time], "data.keys.time", data.time_zone)
    available_at = label.available_at if targets else None
    if available_at is not None:
        available = _as_instant(
            connection,
            tables,
            available_at,
            types[available_at],
            "data.label.availableAt",
            data.time_zone,
        )
    elif keys.time is None:
        available = time
    else:
        available = f"({time} + to_microseconds({label.maximum_delay // timedelta(microseconds=1)}))"
    bounds = [(as_of, "<="), (start, ">="), (end, "<")]
    where = " and ".join(f"{time} {sign} {moment(at)}" for at, sign in bounds if at is not None) or "true"
    if keys.time is not None:
        _require_moments(connection, tables, keys.time, time, where, "data.keys.time", LATEST)
    if available_at is not None:
        # Tables write 9999-12-31 and infinity for "not yet", so only a moment that is too early is a mistake.
        _require_moments(connection, tables, available_at, available, where, "data.label.availableAt", None)
    # A label without the moment it became known could be from the future, so it does not count.
    dated = f"{available} < {moment(LATEST)}"
    known = f"{dated} and {available} <= {moment(labels_as_of)}" if labels_as_of is not None else dated
    items = [
        _content_id(_of_the_query(system, needed_columns(system)), types, label.column if targets else None)
        if keys.id is None
        else f"nullif(cast({quote(keys.id)} as varchar), '') as {quote(keys.id)}",
        f"{time} as {quote(keys.time_column)}",
    ]
    categories = Uses.of(system).categories
    if keys.group is not None:
        items.append(f"nullif(cast({quote(keys.group)} as varchar), '') as {quote(keys.group)}")
    items += [
        _plain(connection, name, types[name], categories, data.time_zone)
        for name in columns
        if name not in (keys.id, keys.time, keys.group, *written)
    ]
    for name, raw in written.items():
        number, text = f"try_cast({quote(name)} as double)", f"nullif({quote(name)}, '')"
        items += [f"{number} as {quote(name)}", f"case when {number} is null then {text} end as {quote(raw)}"]
    for target in targets:
        truth = _as_label(connection, tables, target, types[target], system)
        _warn_of_undated(connection, system, target, truth, dated)
        items.append(f"case when {known} then {truth} end as {quote(target)}")
        if target == label.column:
            items.append(
                f"case when {truth} is not null and {known} then {available} end as {LABEL_AVAILABLE_AT}"
            )
    connection.execute(f"create temp table _cases as select {', '.join(items)} from _joined where {where}")


def _content_id(columns: Sequence[str], types: Mapping[str, str], label: str | None) -> str:
    """An id made from what a row holds but for its label: the same row has the same one in every file that holds it.

    A number is taken as such, so that one cell with a decimal does not rename all rows. Rows that are alike get an
    ordinal after a dash, in the order of their labels where those are read.
    """
    values = [
        f"cast({quote(name)} as double)" if types[name] in _NUMBERS else quote(name) for name in columns
    ]
    texts = [f"coalesce(cast({value} as varchar), chr(1))" for value in values]
    content = f"left(md5(concat_ws(chr(31), {', '.join(texts)})), {CONTENT_DIGITS})"
    order = f"order by cast({quote(label)} as varchar)" if label is not None else ""
    ordinal = f"row_number() over (partition by {content} {order})"
    return f"{content} || case when {ordinal} > 1 then '-' || {ordinal} else '' end as {quote(CONTENT_ID)}"


def _warn_of_undated(
    connection: duckdb.DuckDBPyConnection, system: MLSystem, target: str, truth: str, dated: str
) -> None:
    available_at = system.spec.data.label.available_at
    if available_at is None:
        return
    found = connection.execute(
        f"select count(*) filter ({quote(available_at)} is null), count(*) filter (not {dated}) from _joined "
        f"where {truth} is not null"
    ).fetchone()
    empty, never = found or (0, 0)
    whose = "" if target == system.spec.data.label.column else f" of {target!r}"
    for count, why in (
        (empty, "is empty beside them: nobody can say when they became known"),
        (never, f"says that they become known after {LATEST.year - 1}"),
    ):
        if count:
            _LOG.warning(
                "data.label.availableAt: %d labels%s do not count, because %r %s",
                count,
                whose,
                available_at,
                why,
            )


def _check_columns(system: MLSystem, types: Iterable[str], wanted: Iterable[str]) -> None:
    found = list(types)
    for name in wanted:
        if name not in found:
            close = difflib.get_close_matches(name, found, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"its columns are {', '.join(found)}"
            if close and normalize("NFC", close[0]) == normalize("NFC", name):
                hint = f"{close[0]!r} looks the same and is made of other characters, {close[0]!a}: copy it"
            raise InvalidDataError(
                f"data.query: gives no column {name!r}, which {_who_needs(system, name)} needs; {hint}"
            )


def _who_needs(system: MLSystem, name: str) -> str:
    spec = system.spec
    keys, label = spec.data.keys, spec.data.label
    fixed = {
        keys.id: "data.keys.id",
        keys.time: "data.keys.time",
        keys.sticky_by: "data.keys.stickyBy",
        keys.group: "data.keys.group",
        label.column: "data.label.column",
        label.available_at: "data.label.availableAt",
    }
    if name in fixed:
        return fixed[name]
    for index, events in enumerate(spec.data.events):
        if events.entity == name:
            return f"data.events[{index}].entity"
    model = next((model.name for model in spec.models if model.target == name), None)
    if model is not None:
        return f"the target of model {model}"
    feature = next((feature.name for feature in spec.features if feature.column == name), None)
    if feature is not None:
        return f"feature {feature!r}"
    place = next((place for place, column in spec.groupings() if column == name), None)
    if place is not None:
        return path_text(place)
    if name in spec.data.privacy.judged:
        return "data.privacy.anonymity"
    is_checked = any(check.column == name for check in spec.data.checks)
    return "data.checks" if is_checked else "the version that is asked"


def _as_instant(
    connection: duckdb.DuckDBPyConnection, tables: SourceTables, name: str, kind: str, field: str, zone: str
) -> str:
    column = quote(name)
    if kind not in (*AWARE, *LOCAL, TEXT):
        # A column without a value has a type that nobody wrote.
        if connection.execute("select 1 from _joined limit 1").fetchone() is None:
            raise InvalidDataError(
                "data.query: gives no row; a source has no rows, all are newer than the moment of the training, "
                "or the query keeps none"
            )
        raise InvalidDataError(
            f"{field}: column {name!r} is {kind.upper()}, not a moment"
            f"{_shown_cells(tables, name)}; {ways_to_moments(name)}"
        )
    if kind == TEXT:
        unreadable = f"{column} is not null and try_cast({column} as timestamptz) is null"
        bad = connection.execute(
            f"select min({column}), count(*) from _joined where {unreadable} having count(*) > 0"
        ).fetchone()
        if bad:
            shown = _shown_cells(tables, name) or f" ({bad[0]!r})"
            raise InvalidDataError(
                f"{field}: {bad[1]} {'value' if bad[1] == 1 else 'values'} of column {name!r} "
                f"{'is no moment' if bad[1] == 1 else 'are no moments'}{shown}; write RFC 3339 such as "
                f"2013-02-01T05:00:00Z, or {ways_to_moments(name)}"
            )
    for change in clock_changes(connection, "_joined", {name: kind}, zone):
        _LOG.warning("%s: %s", field, change)
    return f"cast({instant(column, kind, zone)} as timestamptz)"


def _require_moments(
    connection: duckdb.DuckDBPyConnection,
    tables: SourceTables,
    name: str,
    found: str,
    where: str,
    field: str,
    end: datetime | None,
) -> None:
    """Raises InvalidDataError where `found`, the instants of a column in those rows, are outside the calendar."""
    outside = is_outside(found, EARLIEST, end)
    bad = connection.execute(f"select count(*) from _joined where {where} and {outside}").fetchone()
    if bad and bad[0]:
        one = bad[0] == 1
        rule = f"before {EARLIEST.year}" + (f" or after {end.year - 1}" if end is not None else "")
        shown = _shown_cells(
            tables, name, lambda value: is_outside(f"try_cast({value} as timestamptz)", EARLIEST, end)
        )
        raise InvalidDataError(
            f"{field}: {bad[0]} {'value' if one else 'values'} of column {name!r} {'is' if one else 'are'} "
            f"{rule}{shown}; correct {'it' if one else 'them'}, or leave such rows out in data.query"
        )


def _shown_cells(
    tables: SourceTables,
    name: str,
    odd: Callable[[str], str] = lambda value: f"try_cast({value} as timestamptz) is null",
) -> str:
    """The first cells of columns of that name that are odd, else no moments; empty if no source has such."""
    cells = tables.first_cells(name, odd)
    return f" ({'; '.join(cells)})" if cells else ""


def _as_label(
    connection: duckdb.DuckDBPyConnection, tables: SourceTables, name: str, kind: str, system: MLSystem
) -> str:
    label = task_of(system.spec).label
    sql = label.sql(quote(name), kind)
    bad = connection.execute(
        f"select distinct {sql.shown} from _joined where {sql.wrong} order by 1 limit {_SHOWN}"
    ).fetchall()
    if bad:
        shown = ", ".join(repr(row[0]) for row in bad)
        ways = [cells.way for cells in tables.odd_cells(name, least=0.0) if cells.way]
        way = ways[0] if ways and isinstance(label, NumberLabel) else "derive it in data.query"
        raise InvalidDataError(f"{_who_needs(system, name)}: {name!r} holds {shown}; {label.says}: {way}")
    return sql.value


def _plain(
    connection: duckdb.DuckDBPyConnection, name: str, kind: str, categories: Collection[str], zone: str
) -> str:
    """Exact decimals become floats, names of all kinds text, days and times instants; lists are refused."""
    column = quote(name)
    if kind == "float":
        # 0.1 that was stored in 32 bits is 0.1, as text files and requests write it.
        return f"cast(cast({column} as varchar) as double) as {column}"
    if kind in _EXACT:
        if name not in categories:
            return f"cast({column} as double) as {column}"
        # As a category it is what a text file would hold: 1.10 stays as it is written.
        written = f"(select cast({column} as varchar) as {column} from _joined)"
        (found,) = typed(connection, written, {name: None})
        return f"cast({column} as {'varchar' if found.changes_as_category else found.kind}) as {column}"
    if kind == "interval":
        return f"cast(epoch({column}) as double) as {column}"
    if kind == TEXT or kind in _AS_TEXT:
        return f"nullif(cast({column} as varchar), '') as {column}"
    if kind in (*AWARE, *LOCAL):
        for change in clock_changes(connection, "_joined", {name: kind}, zone):
            _LOG.warning("data.query: %s", change)
        at = f"cast({instant(column, kind, zone)} as timestamptz)"
        outside = is_outside(at, datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
        bad = connection.execute(f"select cast({column} as varchar) from _joined where {outside} limit 1")
        if (value := bad.fetchone()) is not None:
            raise InvalidDataError(
                f"data.query: column {name!r} holds {quoted(value[0])}; moments are from the year 1 to 9999: correct "
                f"it, or make it text in the query, cast({plain_name(name)} as varchar)"
            )
        return f"{at} as {column}"
    if kind not in _AS_IT_IS:
        raise InvalidDataError(
            f"data.query: column {name!r} is of the type {kind.upper()}; give one plain value per row (a number, text, "
            "true or false, or a moment)"
        )
    return column
