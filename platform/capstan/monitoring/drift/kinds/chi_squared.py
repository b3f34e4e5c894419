"""Chi-squared with total variation: the largest difference in probability of any set of categories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.calibration import leave_out
from capstan.monitoring.drift.distances import (
    Distance,
    category_noise,
    of_counts,
    spread_of,
    total_variation,
)
from capstan.monitoring.drift.kinds.detector import Detector, Stream
from capstan.recording.payloads import Kind


class ChiSquared(Detector):
    """For categories."""

    name: ClassVar[str] = "ChiSquared"
    alibi: ClassVar[Mapping[str, str] | None] = {
        "name": "ChiSquareDrift",
        "own": 'categories_per_feature = "None"',
    }

    @property
    def reads(self) -> Kind:
        return "categorical"

    @property
    def test(self) -> str:
        return "TotalVariation"

    def of_counts(self, reference: NDArray[np.int64], window: NDArray[np.int64]) -> Distance:
        """The distance, from rows of each category."""
        return of_counts(reference, window)

    def compare(self, reference: NDArray[Any], window: NDArray[Any]) -> Distance:
        return self.of_counts(*_counted(reference, window))

    def effect(self, reference: NDArray[Any], window: NDArray[Any]) -> float:
        return total_variation(*_counted(reference, window))

    def from_rest(self, cells: NDArray[Any], block: NDArray[np.int64], whole: NDArray[np.int64]) -> float:  # noqa: ARG002
        rows, all_rows = int(block.sum()), int(whole.sum())
        found = float(np.abs(block / rows - whole / max(1, all_rows)).sum() / 2)
        return leave_out(found, rows / max(1, all_rows))

    def noise(self, reference: NDArray[Any], window: int) -> float:
        counts = np.bincount(reference.astype(np.int64), minlength=1)
        return category_noise(spread_of(counts), window, len(reference))

    def noise_of_block(
        self,
        cells: NDArray[Any],  # noqa: ARG002
        block: NDArray[np.int64],
        whole: NDArray[np.int64],
    ) -> float:
        return category_noise(spread_of(whole), int(block.sum()), int(whole.sum() - block.sum()))

    def stream(self, reference: NDArray[Any]) -> Stream | None:
        return _Counted(self, reference.astype(np.int64))


def _counted(*columns: NDArray[Any]) -> list[NDArray[np.int64]]:
    """Rows of each category of each column, all of one length."""
    codes = [column.astype(np.int64) for column in columns]
    size = max(int(column.max(initial=0)) for column in codes) + 1
    return [np.bincount(column, minlength=size) for column in codes]


class _Counted:
    def __init__(self, detector: ChiSquared, reference: NDArray[np.int64]) -> None:
        self._detector = detector
        self._reference = np.bincount(reference, minlength=1)
        self._window = np.zeros_like(self._reference)

    def add(self, values: NDArray[Any]) -> None:
        counts = np.bincount(values.astype(np.int64), minlength=len(self._window))
        counts[: len(self._window)] += self._window
        self._window = counts

    def result(self) -> tuple[float, float | None, float]:
        reference = np.zeros_like(self._window)
        reference[: len(self._reference)] = self._reference
        found = self._detector.of_counts(reference, self._window)
        return found.effect, found.p_value, 0.0
