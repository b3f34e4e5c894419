"""Maximum mean discrepancy: how far the means of two samples are apart in the space of a Gaussian kernel.

Gretton et al., A Kernel Two-Sample Test (2012). The kernel is approximated by random Fourier features (Rahimi and
Recht 2007), so that time grows with the rows and not with their square.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.kinds.embedded import EmbeddedDetector, Floats, kernel_width

FREQUENCIES = 64
"""Each gives a cosine and a sine."""


class MaximumMeanDiscrepancy(EmbeddedDetector):
    """For all features together."""

    name: ClassVar[str] = "MMD"

    def map_of(self, reference: NDArray[np.float32]) -> FourierFeatures:
        return FourierFeatures(reference.shape[1], kernel_width(reference))


class FourierFeatures:
    """The product of two images is the kernel of their rows, but for the error of `FREQUENCIES` draws."""

    def __init__(self, columns: int, width: float) -> None:
        # The seed is fixed: a threshold and the windows that are held to it need the same frequencies.
        drawn = np.random.default_rng(columns).normal(size=(columns, FREQUENCIES)) / width
        self._frequencies = drawn.astype(np.float32)

    def of(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        angles = rows @ self._frequencies
        images = np.empty((len(rows), 2 * FREQUENCIES), dtype=np.float32)
        np.cos(angles, out=images[:, :FREQUENCIES])
        np.sin(angles, out=images[:, FREQUENCIES:])
        return images

    def total(self, rows: NDArray[np.float32]) -> Floats:
        # Each in one piece, which is faster than the halves of lines that `of` writes.
        angles = rows @ self._frequencies
        cosines = np.cos(angles).sum(axis=0, dtype=np.float64)
        return np.concatenate([cosines, np.sin(angles, out=angles).sum(axis=0, dtype=np.float64)])

    def placed(self, means: Floats) -> Floats:
        scaled: NDArray[Any] = means / np.sqrt(FREQUENCIES)
        return scaled
