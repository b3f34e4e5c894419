"""Texts or images as the numbers that a person's own function makes of them, such as those of a network that was learnt
elsewhere.

How many numbers there are is learnt with the first values and holds from then on. A function that gives a value other
last bits among others than alone is asked for one value at a time, so that a table and a request have the same bits.
No function gets more values at once than those with which that was tried.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from capstan.errors import InvalidDataError, UnfitValueError
from capstan.features.columns import Floats, texts, type_of
from capstan.features.images import UnreadableImageError
from capstan.features.kinds.image import ImageSettings
from capstan.features.kinds.kind import PlainNumbers, RowPlace
from capstan.features.values import ColumnType, category
from capstan.own_code import made_by, require_saveable

if TYPE_CHECKING:
    from capstan.spec.features import Feature

MOST_OUTPUTS = 12_288
TRIED_VALUES = 50
"""Different values of training, by which a function is tried; it gets no more at once."""
BATCH_VALUES = 256
"""Values that are read at once: images of all rows would take the memory."""
CLOSE = 1e-5
"""How far a value may lie from itself among others, as a share of the largest: sums in single precision."""


@dataclass(frozen=True)
class EmbeddedSettings:
    """`embed` of the spec's `text` or `image`, free of the spec's imports."""

    name: str
    column: str
    factory: str
    parameters: Mapping[str, Any]
    image: ImageSettings | None = None
    """How images are read; None: the function gets texts."""

    @classmethod
    def of(cls, feature: Feature) -> EmbeddedSettings:
        """What the file says."""
        code = feature.settings.embedding
        assert code is not None
        image = None if feature.image is None else ImageSettings.plain(feature)
        return cls(feature.name, feature.column, code.factory, code.parameters, image)

    def kept_rows(self, table_column: Any) -> None:  # noqa: ARG002 — a missing value has a column
        """All rows stay in training."""
        return

    def fit(self, table_column: Any) -> FittedEmbedded:
        kind = type_of(table_column)
        if self.image is not None:
            # Refuses images that cannot be read, all at once.
            self.image.fit(table_column)
        function = made_by(self.factory, self.parameters)
        if not callable(function):
            raise InvalidDataError(
                f"{self.factory} gave {type(function).__name__}, which cannot be called; return a function of a list "
                "of values that gives one row of numbers for each"
            )
        require_saveable(function, self.factory, "before it is asked", "a feature")
        different = (self.value(text) for text in dict.fromkeys(texts(table_column, kind).tolist()))
        tried = list(islice((value for value in different if value is not None), TRIED_VALUES))
        if not tried:
            raise InvalidDataError(
                f"{self.factory}: column {self.column!r} has no value that could tell how many numbers the function "
                "gives; correct the column, or drop the feature"
            )
        found = _called(self.factory, function, tried)
        if found.ndim != 2 or len(found) != len(tried) or not 0 < found.shape[1] <= MOST_OUTPUTS:
            raise InvalidDataError(
                f"{self.factory}: gave shape {found.shape} for {len(tried)} values; it must be ({len(tried)}, d), with "
                f"d from 1 to {MOST_OUTPUTS:,}"
            )
        alone = FittedEmbedded(self, kind, function, found.shape[1], at_once=1, example=tried[0])
        again = alone.made(tried)
        if not np.allclose(again, found, rtol=CLOSE, atol=CLOSE * float(np.abs(found).max())):
            raise InvalidDataError(
                f"{self.factory}: gives a value something else alone than among others; let it look at one value only, "
                "for requests come one by one"
            )
        if np.array_equal(again, found):
            return FittedEmbedded(self, kind, function, found.shape[1], at_once=len(tried), example=tried[0])
        return alone

    def value(self, text: str | None) -> Any:
        """As the function gets it: a text, or (height, width) or (height, width, 3) levels from 0 to 255.

        None: missing, or an image that counts as missing. Raises UnfitValueError.
        """
        if text is None or self.image is None:
            return text
        try:
            planes = self.image.pixels(text)
        except UnreadableImageError as error:
            if self.image.refuses_unreadable:
                raise UnfitValueError(self.column, text, str(error)) from None
            return None
        return planes[0] if len(planes) == 1 else np.ascontiguousarray(planes.transpose(1, 2, 0))


@dataclass(frozen=True)
class FittedEmbedded(PlainNumbers):
    settings: EmbeddedSettings
    type: ColumnType
    """What the column held in training; every later value is read as one of it."""
    function: Callable[[list[Any]], Any]
    outputs: int
    """Numbers of each value."""
    at_once: int
    """Values that the function gets at once, at most; 1: it is asked for one value at a time."""
    example: Any
    """A value of training, by which a loaded function is tried."""

    @property
    def names(self) -> tuple[str, ...]:
        name = self.settings.name
        return (*(f"{name}[{index}]" for index in range(self.outputs)), f"{name}=missing")

    def transform(self, table_column: Any) -> Floats:
        given = texts(table_column, self.type).tolist()
        matrix: Floats = np.zeros((len(given), self.outputs + 1))
        for begin in range(0, len(given), BATCH_VALUES):
            values = [self.settings.value(text) for text in given[begin : begin + BATCH_VALUES]]
            there = [at for at, value in enumerate(values) if value is not None]
            matrix[begin : begin + len(values), -1] = 1.0
            if there:
                rows = np.array(there) + begin
                matrix[rows, :-1] = self.made([values[at] for at in there])
                matrix[rows, -1] = 0.0
        return matrix

    def unseen(self, table_column: Any) -> int:
        """Rows whose value is no image that can be read."""
        given = texts(table_column, self.type).tolist()
        return sum(text is not None and self.settings.value(text) is None for text in given)

    def row_source(self, place: RowPlace) -> list[str]:
        place.names[f"embedded{place.feature}"] = self._of_row
        made = "".join(f"x{place.output + at}, " for at in range(self.outputs + 1))
        return [f" {made}= embedded{place.feature}(v)"]

    def narrower(self, table_column: Any, outputs: int) -> str:  # noqa: ARG002
        return f"{self.settings.name} alone has {self.outputs + 1:,} columns: let {self.settings.factory} make fewer"

    def require_unchanged(self) -> None:
        """Raises InvalidDataError for a function that gives another number of numbers than in training."""
        self.made([self.example])

    def made(self, values: Sequence[Any]) -> Floats:
        """(values, outputs); raises InvalidDataError for what is none."""
        if len(values) > self.at_once:
            parts = range(0, len(values), self.at_once)
            return np.concatenate([self.made(values[at : at + self.at_once]) for at in parts])
        factory = self.settings.factory
        found = _called(factory, self.function, list(values))
        if found.shape != (len(values), self.outputs):
            raise InvalidDataError(
                f"{factory}: gave shape {found.shape} for {len(values):,} values; in training each had {self.outputs} "
                "numbers: train again, or give the function that was there"
            )
        if not np.isfinite(found).all():
            raise InvalidDataError(f"{factory}: gave a number that is not finite; every one must be")
        return found

    def _of_row(self, sent: object) -> list[float]:
        value = self.settings.value(category(sent, self.type))
        if value is None:
            return [*[0.0] * self.outputs, 1.0]
        return [*self.made([value])[0].tolist(), 0.0]


def _called(factory: str, function: Callable[[list[Any]], Any], values: list[Any]) -> Floats:
    try:
        given = function(values)
    except Exception as error:
        raise InvalidDataError(f"{factory}: {type(error).__name__}: {error}") from error
    try:
        found: Floats = np.asarray(given, dtype=np.float64)
    # Arrays of other libraries raise errors of their own.
    except Exception as error:
        raise InvalidDataError(
            f"{factory}: gave what is no table of numbers ({type(error).__name__}: {error}); return one row of "
            "numbers for each value, all of the same length"
        ) from error
    return found
