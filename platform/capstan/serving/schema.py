"""What a request row must look like, and which fields, values and rules are at odds if it does not."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from capstan.errors import InvalidRequestError, shown
from capstan.serving.columns import (
    BrokenRuleError,
    ColumnCheck,
    check_key,
    check_of,
    key_and_column,
    listed,
    time_key_check,
)
from capstan.serving.foreign_forms import foreign_form
from capstan.serving.manifest import Manifest

MAX_ROWS = 1000
MOST_PROBLEMS = 100
"""Breaches that one answer lists."""
_LONGEST_GUESS = 80

Row = Mapping[str, Any]


class RequestSchema:
    """Checks rows against the columns and keys of a manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self.columns = {column.name: column for column in manifest.columns}
        self._checks: dict[str, ColumnCheck] = {
            column: time_key_check(manifest.time_zone, manifest.written.get(column))
            if key == "time"
            else check_key
            for key, column in manifest.keys.items()
        }
        for column in manifest.columns:
            check, key = check_of(column, manifest), self._checks.get(column.name)
            self._checks[column.name] = check if key is None else key_and_column(key, check)
        self._ignored = manifest.ignored - self._checks.keys()
        self._group = manifest.keys.get("group")
        self._required = frozenset(
            column.name for column in manifest.columns if column.required or not column.nullable
        )

    def check_of(self, name: str) -> ColumnCheck:
        """The check of the values of a column or a key."""
        return self._checks[name]

    def told(self, error: InvalidRequestError) -> InvalidRequestError:
        """The error as an answer tells it."""
        return error

    def rows_of(self, body: object) -> list[Row]:
        """The rows of a request body, `{...}` or `{"rows": [...]}`, all valid; raises InvalidRequestError."""
        if type(body) is not dict:
            rule = 'must be one row object or {"rows": [...]}'
            raise InvalidRequestError("body", body, rule)
        if "rows" not in self._checks and "rows" in body:
            rows = body["rows"]
            extra = [
                InvalidRequestError(str(shown(name)), value, 'is not expected beside "rows"')
                for name, value in body.items()
                if name != "rows"
            ]
            if type(rows) is not list:
                first, *others = [*extra, InvalidRequestError("rows", rows, "must be a list of row objects")]
                raise InvalidRequestError(first.field, first.value, first.rule, others[: MOST_PROBLEMS - 1])
            try:
                self.check_rows(rows)
            except InvalidRequestError as error:
                _raise([*extra, *error.one_by_one()])
            _raise(extra)
            return rows
        try:
            self.check(body)
        except InvalidRequestError:
            hint = foreign_form(body, self._checks, self.columns)
            if hint is not None:
                raise hint from None
            raise
        return [body]

    def check_rows(self, rows: Sequence[object], where: str = "rows[{}].") -> None:
        """Check each row as `check` does; raises InvalidRequestError that names what is wrong in all of them."""
        if not 0 < len(rows) <= MAX_ROWS:
            raise InvalidRequestError(
                "rows", len(rows), f"must hold 1 to {MAX_ROWS} rows; send more in several requests"
            )
        problems: list[InvalidRequestError] = []
        for index, row in enumerate(rows):
            try:
                self.check(row, where.format(index))
            except InvalidRequestError as error:
                problems += error.one_by_one()
                if len(problems) >= MOST_PROBLEMS:
                    break
        _raise(problems)

    def check_group(self, rows: Sequence[Row]) -> None:
        """Raises InvalidRequestError for rows of several groups, if they say of which they are.

        A request carries the rows of one group, whether they name it or not.
        """
        group = self._group
        if group is None or len(rows) < 2:
            return
        first = rows[0].get(group)
        for index, row in enumerate(rows):
            if row.get(group) != first:
                rule = (
                    f"is not the group of the first row, {shown(first)!r}; a request carries the rows of one group: "
                    "send one request for each group, and name it in all rows or in none"
                )
                raise InvalidRequestError(f"rows[{index}].{group}", row.get(group), rule)

    def check(self, row: object, where: str = "") -> None:
        """Make the row's values those that the model reads, without columns that only other versions may read.

        Raises InvalidRequestError naming every field that breaks a rule, its value and the rule, MOST_PROBLEMS at most.
        """
        if type(row) is not dict:
            raise InvalidRequestError(where.rstrip(".") or "body", row, "must be a row object")
        if not self._ignored.isdisjoint(row):
            for name in self._ignored.intersection(row):
                del row[name]
        checks = self._checks
        try:
            for name, value in row.items():
                check = checks.get(name)
                if check is None:
                    break
                read = check(value)
                if read is not value:
                    row[name] = read
            else:
                if not self._required.difference(row):
                    return
        except BrokenRuleError:
            pass
        _raise(list(self._problems(row, where)))

    def _problems(self, row: dict[str, Any], where: str) -> Iterator[InvalidRequestError]:
        """Every breach of a row that has one; values that were read already are read again as they are."""
        for name, value in row.items():
            check = self._checks.get(name)
            if check is None:
                yield InvalidRequestError(f"{where}{shown(name)}", value, self._unknown(name))
                continue
            try:
                check(value)
            except BrokenRuleError as broken:
                yield InvalidRequestError(f"{where}{name}", value, str(broken))
        for name in self.columns:
            if name in self._required and name not in row:
                way_out = "; send null where it is not known" if self.columns[name].nullable else ""
                yield InvalidRequestError(f"{where}{name}", None, f"is missing{way_out}")

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(name[:_LONGEST_GUESS], self._checks, n=1)
        if close:
            return f"is not a column of this model; did you mean {close[0]!r}?"
        return f"is not a column of this model; its columns are {listed(list(self.columns))}"


def _raise(problems: Sequence[InvalidRequestError]) -> None:
    if problems:
        first, *others = problems[:MOST_PROBLEMS]
        raise InvalidRequestError(first.field, first.value, first.rule, others)
