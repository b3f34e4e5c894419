"""Kolmogorov-Smirnov: the largest difference in probability of any event "x <= t"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.calibration import leave_out
from capstan.monitoring.drift.distances import Distance, in_order, ks, ks_noise
from capstan.monitoring.drift.kinds.detector import Detector, Stream
from capstan.monitoring.drift.sketch import Sketch
from capstan.recording.payloads import Kind


class KolmogorovSmirnov(Detector):
    """For numbers."""

    name: ClassVar[str] = "KS"
    alibi: ClassVar[Mapping[str, str] | None] = {"name": "KSDrift", "own": 'alternative = "two-sided"'}

    @property
    def reads(self) -> Kind:
        return "numeric"

    def prepared(self, reference: NDArray[Any]) -> NDArray[Any]:
        return in_order(reference)

    def compare(self, reference: NDArray[Any], window: NDArray[Any]) -> Distance:
        return ks(reference, window)

    def from_rest(self, cells: NDArray[Any], block: NDArray[np.int64], whole: NDArray[np.int64]) -> float:  # noqa: ARG002
        rows, all_rows = int(block.sum()), int(whole.sum())
        found = float(np.abs(np.cumsum(block / rows - whole / max(1, all_rows))).max())
        return leave_out(found, rows / max(1, all_rows))

    def noise(self, reference: NDArray[Any], window: int) -> float:
        return ks_noise(window, len(reference))

    def noise_of_block(
        self,
        cells: NDArray[Any],  # noqa: ARG002
        block: NDArray[np.int64],
        whole: NDArray[np.int64],
    ) -> float:
        return ks_noise(int(block.sum()), int(whole.sum() - block.sum()))

    def of_slices(
        self,
        cells: NDArray[Any],  # noqa: ARG002
        blocks: NDArray[np.int64],
        wholes: NDArray[np.int64],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        rows, all_rows = blocks.sum(axis=1), wholes.sum(axis=1)
        gaps = np.cumsum(blocks / rows[:, None] - wholes / np.maximum(1, all_rows)[:, None], axis=1)
        lines = zip(np.abs(gaps).max(axis=1).tolist(), rows.tolist(), all_rows.tolist(), strict=True)
        found = [
            (leave_out(gap, inside / max(1, total)), ks_noise(inside, total - inside))
            for gap, inside, total in lines
        ]
        distances, noises = np.array(found, dtype=np.float64).reshape(-1, 2).T
        return distances, noises

    def stream(self, reference: NDArray[Any]) -> Stream | None:
        return _Sketched(reference) if len(reference) else None


class _Sketched:
    def __init__(self, reference: NDArray[Any]) -> None:
        self._sketch = Sketch(reference)

    def add(self, values: NDArray[Any]) -> None:
        self._sketch.add(values)

    def result(self) -> tuple[float, float | None, float]:
        found = self._sketch.distance()
        return found.effect, None, found.error
