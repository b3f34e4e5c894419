"""What stands for each category, looked up by the value of one row."""

from __future__ import annotations

from typing import Any

from capstan.features.values import ColumnType, category


class CategoryTable(dict[Any, Any]):
    """Category -> what stands for it; a value that is not written as training's category is read first."""

    def __init__(self, table: dict[str | None, Any], other: Any, kind: ColumnType) -> None:
        super().__init__(table)
        self._table, self._other, self._kind = table, other, kind
        self.setdefault(None, other)

    def __missing__(self, value: object) -> Any:
        return self._table.get(category(value, self._kind), self._other)
