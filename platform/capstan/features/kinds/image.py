"""An image by its pixels: each channel of each pixel is a number, row by row, one channel after the other.

A pixel has 256 levels in each channel, so what normalisation makes of them is a list of 256 numbers, learnt once: a
table and a request look up the same numbers. They are floats of 32 bits, as networks take them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from capstan.errors import InvalidDataError, UnfitValueError
from capstan.features.columns import Floats, texts, type_of
from capstan.features.images import WIDEST, Limits, Pixels, UnreadableImageError, pixels_of
from capstan.features.kinds.kind import Kind, PlainNumbers, RowPlace
from capstan.features.values import ColumnType, category

if TYPE_CHECKING:
    from capstan.spec.features import Feature

IMAGE_NET = ((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))
"""Mean and standard deviation of red, green and blue, as torchvision's models of ImageNet expect them."""
CHANNELS = {"Gray": ("",), "RGB": (".red", ".green", ".blue")}
_SHOWN = 3


@dataclass(frozen=True)
class ImageSettings:
    """The spec's `image`, free of the spec's imports."""

    name: str
    column: str
    width: int
    height: int
    channels: Literal["Gray", "RGB"] = "Gray"
    normalize: Literal["ZeroToOne", "ZScore", "ImageNet"] = "ZeroToOne"
    refuses_unreadable: bool = True
    limits: Limits = WIDEST

    @classmethod
    def of(cls, feature: Feature) -> Kind:
        """What the file says."""
        from capstan.features.kinds.embedded import EmbeddedSettings

        return cls.plain(feature) if feature.settings.embedding is None else EmbeddedSettings.of(feature)

    @classmethod
    def plain(cls, feature: Feature) -> ImageSettings:
        """How the image is read."""
        written = feature.image
        assert written is not None
        return cls(
            feature.name,
            feature.column,
            written.width,
            written.height,
            written.channels,
            written.normalize,
            written.unreadable == "Refuse",
            Limits(written.max_bytes, written.max_pixels),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return len(CHANNELS[self.channels]), self.height, self.width

    def kept_rows(self, table_column: Any) -> None:  # noqa: ARG002 — a missing image has a column
        """All rows stay in training."""
        return

    def pixels(self, text: str) -> Pixels:
        """Raises UnreadableImageError."""
        return pixels_of(text, self.width, self.height, self.channels, self.limits)

    def fit(self, table_column: Any) -> FittedImage:
        kind = type_of(table_column)
        given = [text for text in texts(table_column, kind).tolist() if text is not None]
        counts = np.zeros((self.shape[0], 256), dtype=np.int64)
        wrong: list[str] = []
        bad = 0
        for text in given:
            try:
                found = self.pixels(text)
            except UnreadableImageError as error:
                bad += 1
                if len(wrong) < _SHOWN:
                    wrong.append(f"{_shortened(text)!r} {error}")
                continue
            for count, plane in zip(counts, found, strict=True):
                count += np.bincount(plane.reshape(-1), minlength=256)
        if bad and self.refuses_unreadable:
            raise InvalidDataError(
                f"column {self.column!r}: {bad:,} of {len(given):,} values {'is' if bad == 1 else 'are'} no image that "
                f"can be read: {'; '.join(wrong)}; correct {'it' if bad == 1 else 'them'}, or write "
                "`unreadable: Missing`"
            )
        return FittedImage(self, kind, tuple(self._scale(count) for count in enumerate(counts)))

    def _scale(self, counted: tuple[int, Any]) -> tuple[float, float]:
        """Mean and standard deviation of a channel, by which its levels from 0 to 1 are normalised."""
        channel, counts = counted
        if self.normalize == "ImageNet":
            return IMAGE_NET[channel]
        if self.normalize == "ZeroToOne" or not counts.sum():
            return 0.0, 1.0
        # Whole numbers have no rounding, so that the order of rows changes no bit.
        total, levels = int(counts.sum()), range(256)
        first = sum(level * count for level, count in zip(levels, counts.tolist(), strict=True))
        second = sum(level * level * count for level, count in zip(levels, counts.tolist(), strict=True))
        deviation = math.sqrt((second * total - first * first) / (total * total)) / 255
        return first / total / 255, deviation or 1.0


@dataclass(frozen=True)
class FittedImage(PlainNumbers):
    settings: ImageSettings
    type: ColumnType
    """What the column held in training; every later value is read as one of it."""
    scale: tuple[tuple[float, float], ...]
    """Of each channel: mean and standard deviation."""

    @property
    def names(self) -> tuple[str, ...]:
        settings = self.settings
        return (
            *(
                f"{settings.name}{channel}[{row},{column}]"
                for channel in CHANNELS[settings.channels]
                for row in range(settings.height)
                for column in range(settings.width)
            ),
            f"{settings.name}=missing",
        )

    def transform(self, table_column: Any) -> Floats:
        fill, given = self._filler(), texts(table_column, self.type)
        matrix: Floats = np.zeros((len(given), math.prod(self.settings.shape) + 1))
        for row, text in zip(matrix, given.tolist(), strict=True):
            fill(text, row)
        return matrix

    def unseen(self, table_column: Any) -> int:
        """Rows whose value is no image that can be read."""
        return sum(
            text is not None and not self._is_readable(text)
            for text in texts(table_column, self.type).tolist()
        )

    def row_source(self, place: RowPlace) -> list[str]:
        fill, kind, width = self._filler(), self.type, math.prod(self.settings.shape) + 1

        def of_row(value: object) -> list[float]:
            row = np.zeros(width)
            fill(category(value, kind), row)
            made: list[float] = row.tolist()
            return made

        place.names[f"image{place.feature}"] = of_row
        made = "".join(f"x{place.output + at}, " for at in range(width))
        return [f" {made}= image{place.feature}(v)"]

    def narrower(self, table_column: Any, outputs: int) -> str:  # noqa: ARG002
        settings = self.settings
        side = max(1, math.isqrt(max(1, outputs - 1) // settings.shape[0]))
        if side * side >= settings.width * settings.height:
            return ""
        return (
            f"{settings.name} alone has {len(self.names):,} columns: set `width: {side}` and `height: {side}`"
        )

    def _is_readable(self, text: str) -> bool:
        try:
            self.settings.pixels(text)
        except UnreadableImageError:
            return False
        return True

    def _filler(self) -> Callable[[str | None, Floats], None]:
        """What writes the outputs of an image, or of a missing one, into zeros."""
        settings = self.settings
        level = np.arange(256) / 255
        levels = [
            ((level - mean) / deviation).astype(np.float32).astype(np.float64)
            for mean, deviation in self.scale
        ]
        size = settings.width * settings.height

        def fill(text: str | None, row: Floats) -> None:
            if text is None:
                row[-1] = 1.0
                return
            try:
                found = settings.pixels(text)
            except UnreadableImageError as error:
                if settings.refuses_unreadable:
                    raise UnfitValueError(settings.column, text, str(error)) from None
                row[-1] = 1.0
                return
            for channel, plane in enumerate(found):
                row[channel * size : (channel + 1) * size] = levels[channel][plane.reshape(-1)]

        return fill


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:37]}..."
