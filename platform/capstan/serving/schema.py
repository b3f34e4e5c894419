"""What a request row must look like, and which field, value and rule it breaks if it does not."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from capstan.errors import InvalidRequestError
from capstan.serving.columns import BrokenRuleError, ColumnCheck, check_key, check_of, listed
from capstan.serving.manifest import Manifest

MAX_ROWS = 1000
_SHOWN = 80

Row = Mapping[str, Any]


class RequestSchema:
    """Checks rows against the columns and keys of a manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self.columns = {column.name: column for column in manifest.columns}
        self._checks: dict[str, ColumnCheck] = dict.fromkeys(manifest.keys.values(), check_key)
        self._checks.update({column.name: check_of(column) for column in manifest.columns})
        self._required = tuple(column.name for column in manifest.columns if not column.nullable)

    def rows_of(self, body: object) -> list[Row]:
        """The rows of a request body, `{...}` or `{"rows": [...]}`, all valid; raises InvalidRequestError."""
        if type(body) is not dict:
            raise InvalidRequestError("body", shown(body), 'must be one row object or {"rows": [...]}')
        if "rows" not in self._checks and "rows" in body:
            rows = body["rows"]
            if len(body) > 1:
                extra = next(name for name in body if name != "rows")
                raise InvalidRequestError(shown(extra), shown(body[extra]), 'is not expected beside "rows"')
            if type(rows) is not list:
                raise InvalidRequestError("rows", shown(rows), "must be a list of row objects")
            self.check_count(len(rows))
            for index, row in enumerate(rows):
                self.check(row, f"rows[{index}].")
            return rows
        self.check(body)
        return [body]

    @staticmethod
    def check_count(rows: int) -> None:
        """Raises InvalidRequestError for no row at all or more than MAX_ROWS."""
        if not 0 < rows <= MAX_ROWS:
            raise InvalidRequestError(
                "rows", rows, f"must hold 1 to {MAX_ROWS} rows; send more in several requests"
            )

    def check(self, row: object, where: str = "") -> None:
        """Make the row's values those that the model reads.

        Raises InvalidRequestError naming the first field that breaks a rule, its value and the rule.
        """
        if type(row) is not dict:
            raise InvalidRequestError(where.rstrip(".") or "body", shown(row), "must be a row object")
        checks = self._checks
        for name, value in row.items():
            check = checks.get(name)
            if check is None:
                raise InvalidRequestError(f"{where}{shown(name)}", shown(value), self._unknown(name))
            try:
                read = check(value)
            except BrokenRuleError as broken:
                raise InvalidRequestError(f"{where}{name}", shown(value), str(broken)) from None
            if read is not value:
                row[name] = read
        for name in self._required:
            if name not in row:
                raise InvalidRequestError(f"{where}{name}", None, "is missing")

    def _unknown(self, name: str) -> str:
        close = difflib.get_close_matches(name[:_SHOWN], self._checks, n=1)
        if close:
            return f"is not a column of this model; did you mean {close[0]!r}?"
        return f"is not a column of this model; its columns are {listed(list(self.columns))}"


def shown(value: object) -> Any:
    """The value as it may be quoted in an answer: short, whatever was sent."""
    if value is None or type(value) in (bool, int):
        return value
    if type(value) is float:
        return value if value - value == 0 else str(value)
    text = (
        value
        if type(value) is str
        else type(value).__name__
        if isinstance(value, Sequence | Mapping)
        else repr(value)
    )
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}… ({len(text)} characters)"
