"""A moment by its parts: the hour, the weekday, the month. Each is a number, or a point on its circle."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.features.columns import Floats, type_of
from capstan.features.dates import NO_PART, PARTS, parts_of, parts_of_column
from capstan.features.kinds.kind import PlainNumbers, RowPlace
from capstan.features.values import ColumnType, is_missing

if TYPE_CHECKING:
    from capstan.spec.features import Feature


@dataclass(frozen=True)
class DateSettings:
    """The spec's `date`, free of the spec's imports."""

    name: str
    column: str
    parts: tuple[str, ...]
    cyclic: bool = False
    indicator: bool = False
    """Whether a last output is 1 where the value is missing."""
    zone: str = "UTC"
    """IANA zone of the parts, and of moments without an offset."""

    @classmethod
    def of(cls, feature: Feature) -> DateSettings:
        """What the file says of the feature; its zone is that of all data."""
        written = feature.date
        assert written is not None
        return cls(feature.name, feature.column, written.parts, written.cyclic, written.indicator)

    def in_zone(self, zone: str) -> DateSettings:
        """The same by the clocks of that zone."""
        return replace(self, zone=zone)

    def kept_rows(self, table_column: Any) -> None:  # noqa: ARG002 — a missing moment has numbers too
        """All rows stay in training."""
        return

    def fit(self, table_column: Any) -> FittedDate:
        kind = type_of(table_column)
        if kind is not ColumnType.TIME:
            self._refuse_values(table_column, kind)
        found = parts_of_column(table_column, self.zone, self.parts)
        numbers = [column[column != NO_PART] for column in found.T]
        missing = tuple(float(np.median(one)) if len(one) else 0.0 for one in numbers)
        return FittedDate(self, ColumnType.TIME, missing)

    def _refuse_values(self, table_column: Any, kind: ColumnType) -> None:
        """A column without a value has a type that nobody wrote."""
        plain = table_column.to_pylist() if hasattr(table_column, "to_pylist") else table_column
        value = next((one for one in plain if not is_missing(one) and one != "" and one == one), None)
        if value is not None:
            raise InvalidDataError(
                f"features.{self.name}.date: the column {self.column!r} holds {kind.value}, such as {value!r}, and no "
                "moments; state it as Time under `types` of its source, with `written` where its days are written in "
                "another way than 2024-03-01, or derive the moment in data.query"
            )


@dataclass(frozen=True)
class FittedDate(PlainNumbers):
    settings: DateSettings
    type: ColumnType
    """Of moments, also where training saw none."""
    missing: tuple[float, ...]
    """Of each part, stands for a missing one where it is no point on a circle."""

    @property
    def names(self) -> tuple[str, ...]:
        name, ends = self.settings.name, (".sin", ".cos") if self.settings.cyclic else ("",)
        parts = [f"{name}.{part}{end}" for part in self.settings.parts for end in ends]
        return (*parts, f"{name}=missing") if self.settings.indicator else tuple(parts)

    def transform(self, table_column: Any) -> Floats:
        found = parts_of_column(table_column, self.settings.zone, self.settings.parts)
        blocks: list[Floats] = []
        for column, part, missing in zip(found.T, self.settings.parts, self.missing, strict=True):
            if self.settings.cyclic:
                # The last point is that of a missing part, whose number is -1.
                places = np.where(column == NO_PART, NO_PART, column - PARTS[part].first)
                blocks.append(np.array([*_circle(part), (0.0, 0.0)])[places])
            else:
                blocks.append(np.where(column == NO_PART, missing, column.astype(np.float64)).reshape(-1, 1))
        if self.settings.indicator:
            blocks.append((found[:, :1] == NO_PART).astype(np.float64))
        return np.concatenate(blocks, axis=1)

    def unseen(self, table_column: Any) -> int:  # noqa: ARG002 — any moment has parts
        return 0

    def row_source(self, place: RowPlace) -> list[str]:
        place.names[f"date{place.feature}"] = _Row(self)
        made = "".join(f"x{place.output + at}, " for at in range(len(self.names)))
        return [f" {made}= date{place.feature}(v)"]

    def narrower(self, table_column: Any, outputs: int) -> str:  # noqa: ARG002 — a few for each part
        return ""


class _Row:
    """The outputs of one value."""

    def __init__(self, fitted: FittedDate) -> None:
        settings = fitted.settings
        self._zone, self._parts, self._cyclic = settings.zone, settings.parts, settings.cyclic
        self._end = (0.0,) if settings.indicator else ()
        none = tuple(0.0 for _ in settings.parts for _ in "sc") if settings.cyclic else fitted.missing
        self._missing = (*none, 1.0) if settings.indicator else none
        self._circles = [(PARTS[part].first, _circle(part)) for part in settings.parts if settings.cyclic]

    def __call__(self, value: object) -> tuple[float, ...]:
        found = parts_of(value, self._zone, self._parts)
        if found is None:
            return self._missing
        if not self._cyclic:
            return (*map(float, found), *self._end)
        points = [
            circle[number - first] for number, (first, circle) in zip(found, self._circles, strict=True)
        ]
        return (*[one for point in points for one in point], *self._end)


def _circle(part: str) -> list[tuple[float, float]]:
    """Sine and cosine of each number of a part; the middle of the circle, which no number has, is a missing one."""
    length = PARTS[part].length
    assert length is not None
    angles = [2 * math.pi * at / length for at in range(length)]
    return [(math.sin(angle), math.cos(angle)) for angle in angles]
