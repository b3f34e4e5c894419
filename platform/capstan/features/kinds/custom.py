"""A feature of a person's own: whatever their transformer makes of the column, if it can be saved and served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.features.columns import Floats, numbers, texts, type_of
from capstan.features.kinds.kind import PlainNumbers, RowPlace
from capstan.features.values import ColumnType, category, number
from capstan.own_code import made_by, require_methods, require_saveable

if TYPE_CHECKING:
    from capstan.spec.features import Feature

_TRIED_ROWS = 50
_NEVER_SEEN = "never seen before"


@dataclass(frozen=True)
class CustomSettings:
    """The spec's `custom`, free of the spec's imports."""

    name: str
    column: str
    factory: str
    parameters: Mapping[str, Any]
    reads_numbers: bool
    """Whether the transformer gets floats, nan where a value is missing; else texts, None where one is."""

    @classmethod
    def of(cls, feature: Feature) -> CustomSettings:
        """What the file says."""
        written = feature.custom
        assert written is not None
        return cls(
            feature.name, feature.column, written.factory, written.parameters, feature.reading == "numeric"
        )

    def kept_rows(self, table_column: Any) -> None:  # noqa: ARG002 — it must say something of a missing value
        """All rows stay in training."""
        return

    def fit(self, table_column: Any) -> FittedCustom:
        kind = type_of(table_column)
        values = self.values(table_column, kind)
        made = made_by(self.factory, self.parameters)
        way_out = "return a transformer with `fit(values)` and `transform(values)`"
        require_methods(made, self.factory, ("fit", "transform"), way_out)
        require_saveable(made, self.factory, "before it is fitted", "a feature")
        try:
            transformer = made.fit(values)
        except Exception as error:
            raise InvalidDataError(f"{self.factory}: fit: {type(error).__name__}: {error}") from error
        if not callable(getattr(transformer, "transform", None)):
            raise InvalidDataError(
                f"{self.factory}: fit gave {type(transformer).__name__}; it must return the fitted transformer, "
                "`return self`"
            )
        outputs = self._outputs(transformer, values[:_TRIED_ROWS])
        fitted = FittedCustom(self, kind, transformer, outputs)
        fitted.require_servable(values[:_TRIED_ROWS])
        return fitted

    def values(self, table_column: Any, kind: ColumnType) -> Any:
        """The column as the transformer gets it: (rows,) floats, or texts in an array of objects."""
        return numbers(table_column, self.column, kind) if self.reads_numbers else texts(table_column, kind)

    def value(self, sent: object, kind: ColumnType) -> Any:
        """The same of one value."""
        if self.reads_numbers:
            return np.array([number(sent, self.column, kind)], dtype=np.float64)
        return np.array([category(sent, kind)], dtype=object)

    def _outputs(self, transformer: Any, values: Any) -> int:
        try:
            shape = np.shape(transformer.transform(values))
        except Exception as error:
            raise InvalidDataError(f"{self.factory}: transform: {type(error).__name__}: {error}") from error
        return shape[1] if len(shape) == 2 else 1


@dataclass(frozen=True)
class FittedCustom(PlainNumbers):
    settings: CustomSettings
    type: ColumnType
    """What the column held in training; every later value is read as one of it."""
    transformer: Any
    outputs: int

    @property
    def names(self) -> tuple[str, ...]:
        name = self.settings.name
        return (name,) if self.outputs == 1 else tuple(f"{name}[{index}]" for index in range(self.outputs))

    def transform(self, table_column: Any) -> Floats:
        return self._made(self.settings.values(table_column, self.type))

    def unseen(self, table_column: Any) -> int:  # noqa: ARG002 — nobody but the transformer knows
        return 0

    def row_source(self, place: RowPlace) -> list[str]:
        place.names[f"own{place.feature}"] = self._of_row
        made = "".join(f"x{place.output + index}, " for index in range(self.outputs))
        return [f" {made}= own{place.feature}(v)"]

    def narrower(self, table_column: Any, outputs: int) -> str:  # noqa: ARG002
        return (
            f"{self.settings.name} alone has {self.outputs:,} columns: let {self.settings.factory} make fewer"
        )

    def require_servable(self, values: Any) -> None:
        """Raises InvalidDataError for a transformer that answers otherwise once saved, or for one row alone."""
        factory = self.settings.factory
        here = self._made(values)
        saved = require_saveable(self.transformer, factory, "after fit", "a feature")
        there = FittedCustom(self.settings, self.type, saved, self.outputs)._made(values)
        if not np.array_equal(here, there):
            raise InvalidDataError(
                f"{factory}: {type(self.transformer).__name__} answers otherwise once it is saved and loaded; keep "
                "what it learnt in attributes that pickle saves"
            )
        alone = [self._made(values[index : index + 1]) for index in range(len(values))]
        if alone and not np.array_equal(np.concatenate(alone), here):
            raise InvalidDataError(
                f"{factory}: transform gives a row something else alone than among others; let it use only what fit "
                "learnt, for requests come one by one"
            )
        for sent in (None, -12345.5 if self.settings.reads_numbers else _NEVER_SEEN):
            self._made(self.settings.value(sent, ColumnType.NUMBER if sent is not None else self.type))

    def _of_row(self, sent: object) -> list[float]:
        made: list[float] = self._made(self.settings.value(sent, self.type))[0].tolist()
        return made

    def _made(self, values: Any) -> Floats:
        factory = self.settings.factory
        try:
            made = np.asarray(self.transformer.transform(values), dtype=np.float64)
        except Exception as error:
            raise InvalidDataError(
                f"{factory}: transform of {values[:1].tolist()}: {type(error).__name__}: {error}"
            ) from error
        if made.shape != (len(values), self.outputs) and made.shape != (len(values),) * (self.outputs == 1):
            raise InvalidDataError(
                f"{factory}: transform gave shape {made.shape} for {len(values):,} values; it must be "
                f"({len(values)}, {self.outputs})"
            )
        made = made.reshape(len(values), self.outputs)
        strange = ~np.isfinite(made).all(axis=1)
        if strange.any():
            raise InvalidDataError(
                f"{factory}: transform gave {made[strange][0].tolist()} for {values[strange][0]!r}; every output must "
                "be a finite number, for a missing value and for one never seen too"
            )
        return made
