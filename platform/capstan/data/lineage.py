"""Which columns of text become numbers, where a number could not be written back as it was.

`1.10` is a release or a price. It stays text where the query hands it on to an id or a category, and is a number where
it hands it on to a number or calculates. The query may rename and compute, so it is bound, without a row, over tables
in which the column is text: the outputs that become text with it are those that hand it on. Where it only joins,
filters or concatenates, nothing says what it is: it stays text, so that 1.10 and 1.1 are two; to sort, it is a number.
"""

# DuckDB takes no parameters for names; they all go through `quote`.

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from contextlib import closing
from dataclasses import dataclass

import duckdb

from capstan.data.conditions import ordered_by_condition
from capstan.data.syntax import Syntax
from capstan.data.text_types import AS_WRITTEN, NUMBERS, FoundType, quote
from capstan.errors import InvalidDataError
from capstan.spec.system import MLSystem

# A type that no other column has; arithmetic changes it, handing on does not.
_MARK = "DECIMAL(37, 11)"
Place = tuple[str, str]
"""Table and column."""


@dataclass(frozen=True)
class Uses:
    """How the file reads the columns that the query gives."""

    ids: frozenset[str]
    categories: frozenset[str]
    numbers: frozenset[str]
    others: frozenset[str] = frozenset()
    """The label and the moments, which say for themselves what they need."""

    @classmethod
    def of(cls, system: MLSystem) -> Uses:
        """A column that a feature reads as a number is one, whatever else reads it.

        One that a condition compares by size is one if it is neither an id nor a category. Raises InvalidDataError.
        """
        spec = system.spec
        keys, checks = spec.data.keys, spec.data.checks
        numbers = {feature.column for feature in spec.features if feature.reading == "numeric"}
        numbers |= {check.column for check in checks if check.min is not None or check.max is not None}
        categories = {feature.column for feature in spec.features if feature.reading == "categorical"}
        categories |= {
            *(column for _, column in spec.groupings()),
            *spec.data.privacy.judged,
            *(check.column for check in checks if check.allowed is not None),
        }
        ids = {key for key in (keys.id, keys.sticky_by, keys.group, *spec.data.entities) if key is not None}
        numbers |= {
            column
            for index, check in enumerate(checks)
            if check.condition is not None
            for column in ordered_by_condition(check.condition, f"data.checks[{index}].condition")
            if column not in ids | categories
        }
        dates = (spec.data.label.available_at, keys.time)
        others = {*spec.targets, *(date for date in dates if date is not None)}
        return cls(
            frozenset(ids),
            frozenset(categories - numbers),
            frozenset(name for name in numbers if name != keys.id),
            frozenset(others),
        )

    def texts(self, column: FoundType) -> Set[str]:
        """The outputs in which the column must stay as it was written."""
        return self.ids | self.categories if column.changes_as_category else self.ids


@dataclass(frozen=True)
class Settled:
    """What became of the unsettled columns."""

    kinds: Mapping[Place, str]
    """The SQL type that each gets: text, or what was found."""
    undecided: Mapping[Place, str]
    """Column -> what the query does with it, where neither the file nor the query says what it holds."""


def settle(
    query: str | None,
    types: Mapping[str, Mapping[str, str]],
    unsettled: Mapping[str, Sequence[FoundType]],
    uses: Uses,
) -> Settled:
    """The type that each unsettled column gets.

    `types` are those of all columns of all tables that the query can name. Raises InvalidDataError that names column,
    value and way out where a column is needed both as text and as a number.
    """
    settled: dict[Place, str] = {}
    mentioned: dict[Place, FoundType] = {}
    for table, columns in unsettled.items():
        for column in columns:
            if query is not None and re.search(
                rf"(?<!\w){re.escape(column.column)}(?!\w)", query, re.IGNORECASE
            ):
                mentioned[table, column.column] = column
            else:
                # What the query does not name, it can only hand on under its own name.
                settled[table, column.column] = (
                    AS_WRITTEN if column.column in uses.texts(column) else column.kind
                )
    if query is None or not mentioned:
        return Settled(settled, {})
    known = {
        table: {**columns, **{name: kind for (of, name), kind in settled.items() if of == table}}
        for table, columns in types.items()
    }
    with closing(duckdb.connect()) as connection:
        binder = _Binder(connection, query, known, mentioned, uses)
        return Settled(settled | binder.settle(), binder.undecided)


class _Binder:
    """Binds the query over tables without rows."""

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        query: str,
        types: Mapping[str, Mapping[str, str]],
        columns: Mapping[Place, FoundType],
        uses: Uses,
    ) -> None:
        self._connection = connection
        self._query = query
        self._types = types
        self._columns = columns
        self._uses = uses
        self._syntax = Syntax.of(connection, query)
        self.undecided: dict[Place, str] = {}

    def settle(self) -> dict[Place, str]:
        numbers = {place: column.kind for place, column in self._columns.items()}
        texts = dict.fromkeys(self._columns, AS_WRITTEN)
        bound = self._outputs(numbers)
        if bound is not None:
            return {place: self._flipped(place, numbers, bound) for place in self._columns}
        bound = self._outputs(texts)
        if bound is None:
            # The query itself will say what is wrong with it.
            return numbers
        return {place: self._flipped_back(place, texts, bound) for place in self._columns}

    def _flipped(self, place: Place, kinds: Mapping[Place, str], bound: Mapping[str, str]) -> str:
        """The type of a column that the query takes as a number."""
        column = self._columns[place]
        as_text = self._outputs({**kinds, place: AS_WRITTEN})
        if as_text is None:
            marked = self._outputs({**kinds, place: _MARK}) if column.kind in NUMBERS else None
            handed_on = {
                name
                for name, kind in (marked or {}).items()
                if kind.replace(" ", "") == _MARK.replace(" ", "")
            }
            if needy := handed_on & self._uses.texts(column):
                raise self._torn(place, needy, "the query calculates with it")
            return column.kind
        return self._chosen(
            place, {name for name, kind in as_text.items() if kind == AS_WRITTEN != bound.get(name)}
        )

    def _flipped_back(self, place: Place, kinds: Mapping[Place, str], bound: Mapping[str, str]) -> str:
        """The type of a column in a query that takes some columns as text."""
        as_number = self._outputs({**kinds, place: self._columns[place].kind})
        if as_number is None:
            return AS_WRITTEN
        return self._chosen(
            place, {name for name, kind in bound.items() if kind == AS_WRITTEN != as_number.get(name)}
        )

    def _chosen(self, place: Place, handed_on: Set[str]) -> str:
        column = self._columns[place]
        needy = handed_on & self._uses.texts(column)
        if not needy:
            if handed_on & (self._uses.numbers | self._uses.others) or not column.changes_as_category:
                return column.kind
            name = column.column.casefold()
            if name in self._syntax.cast:
                return AS_WRITTEN
            if name in self._syntax.ordered:
                self.undecided[place] = "sorts by it as a number, where 1.10 and 1.1 are one"
                return column.kind
            self.undecided[place] = "uses it as the text that was written, where 1.10 and 1.1 are two"
            return AS_WRITTEN
        if numbers := handed_on & self._uses.numbers:
            raise self._torn(place, needy, f"the query gives it as the number {min(numbers)!r} too")
        return AS_WRITTEN

    def _torn(self, place: Place, needy: Set[str], why: str) -> InvalidDataError:
        (table, name), value = place, self._columns[place].changes
        return InvalidDataError(
            f"data.query: column {name!r} of {table} holds {value!r}, which would change as a number; "
            f"{min(needy)!r}, an id or a category, needs it as it was written, but {why}. Say which it is under "
            f"data.sources: {{name: {table}, types: [{{column: {name}, type: Text}}]}}, or Number, and cast it in the "
            f"query where it is the other, such as cast({name} as double)"
        )

    def _outputs(self, kinds: Mapping[Place, str]) -> dict[str, str] | None:
        """Output -> type; None if the query cannot be bound so."""
        for table, columns in self._types.items():
            items = ", ".join(
                f"{quote(name)} {kinds.get((table, name), kind)}" for name, kind in columns.items()
            )
            self._connection.execute(f"create or replace table {quote(table)} ({items})")
        try:
            found = self._connection.execute(f"describe {self._query.strip().rstrip(';')}\n").fetchall()
        except duckdb.Error:
            return None
        return {row[0]: row[1] for row in found}
