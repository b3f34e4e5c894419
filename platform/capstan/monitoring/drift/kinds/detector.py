"""What a detector answers: how far the values of a window are from those at training, and what chance alone gives.

It gets one column, or all features together as the rows of a matrix.

A detector is one module and one line in `DETECTORS`; a person's own comes by `monitoring.drift.custom` and lies beside
their file. Which alert follows is not its business: that is the question's. `capstan.testing.check_detector` holds a
member to this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.distances import Distance

Reads = Literal["numeric", "categorical", "rows"]
"""Numbers, codes of categories, or all features of a row together."""


class Stream(Protocol):
    """Takes the values of a large window batch by batch, in memory that does not grow with it."""

    def add(self, values: NDArray[Any]) -> None:
        """Count a batch, without missing values."""
        ...

    def result(self) -> tuple[float, float | None, float]:
        """Effect, p-value if there is one, and the bound of the effect's error; of at least one value."""
        ...


class Detector(ABC):
    """Compares a column with what it was at training."""

    name: ClassVar[str]
    """Its word in the file, such as `KS`."""
    alibi: ClassVar[Mapping[str, str] | None] = None
    """alibi-detect's class (`name`) and the line of its own in the configuration (`own`); None: it has none."""

    stretches: ClassVar[int] = 100_000
    """Most stretches of the reference by which its threshold is found; fewer where one takes long."""

    @property
    @abstractmethod
    def reads(self) -> Reads:
        """What it gets: numbers, codes of categories (0 and above), or rows: a matrix of numbers, one line each."""

    @property
    def test(self) -> str:
        """The distance's name for people, such as `TotalVariation`; the detector's own where it has no other."""
        return self.name

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a model folder keeps, so that the same detector is made again."""
        return {"name": self.name, "reads": self.reads}

    @abstractmethod
    def compare(self, reference: NDArray[Any], window: NDArray[Any]) -> Distance:
        """Distance of two samples of at least one value each, without missing ones; the effect is from 0 to 1."""

    def prepared(self, reference: NDArray[Any]) -> NDArray[Any]:
        """The sample as it is compared fastest; it is asked for once, before many windows."""
        return reference

    def effect(self, reference: NDArray[Any], window: NDArray[Any]) -> float:
        """The effect of `compare` alone, without its p-value."""
        return self.compare(reference, window).effect

    def from_rest(self, cells: NDArray[Any], block: NDArray[np.int64], whole: NDArray[np.int64]) -> float:
        """Effect between a stretch of the reference and the rest of it, for the threshold.

        `cells` are values (or codes), `block` and `whole` say how often each is in the stretch and in the reference.
        """
        return self.compare(np.repeat(cells, whole - block, axis=0), np.repeat(cells, block, axis=0)).effect

    def noise(self, reference: NDArray[Any], window: int) -> float:  # noqa: ARG002
        """Mean effect of a window of so many values by chance alone; 0: not known, so none is allowed for."""
        return 0.0

    def noise_of_block(
        self, cells: NDArray[Any], block: NDArray[np.int64], whole: NDArray[np.int64]
    ) -> float:
        """The same for a stretch of the reference beside the rest of it; arguments as those of `from_rest`."""
        return self.noise(np.repeat(cells, whole - block, axis=0), int(block.sum()))

    def of_stretches(
        self, cells: NDArray[Any], blocks: Iterable[NDArray[np.int64]], whole: NDArray[np.int64]
    ) -> Iterator[tuple[float, float]]:
        """`from_rest` and `noise_of_block` of each stretch; for a detector that can do much of it once for all."""
        for block in blocks:
            yield self.from_rest(cells, block, whole), self.noise_of_block(cells, block, whole)

    def of_slices(
        self, cells: NDArray[Any], blocks: NDArray[np.int64], wholes: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """`from_rest` and `noise_of_block` of each line of counts; for a detector that can do all lines at once.

        `blocks` and `wholes` are (lines, cells).
        """
        found = [
            (self.from_rest(cells, block, whole), self.noise_of_block(cells, block, whole))
            for block, whole in zip(blocks, wholes, strict=True)
        ]
        distances, noises = np.array(found, dtype=np.float64).reshape(-1, 2).T
        return distances, noises

    def stream(self, reference: NDArray[Any]) -> Stream | None:  # noqa: ARG002
        """For windows too large to be kept; None: an even selection of their rows is compared."""
        return None

    def given_away(
        self,
        reference: NDArray[Any],  # noqa: ARG002
        window: NDArray[Any],  # noqa: ARG002
        columns: Mapping[str, slice],  # noqa: ARG002
    ) -> Mapping[str, float]:
        """Of rows: the share of the distance that is lost where a feature's columns tell nothing; empty: not known."""
        return {}
