"""Least-squares density difference: the squared difference of two densities, over all values.

Sugiyama et al., Density-Difference Estimation (2013), with the regularisation of Bu et al. (2017), as alibi-detect
has it. The difference of the densities is modelled by Gaussian kernels at rows of the reference.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.kinds.embedded import (
    EmbeddedDetector,
    Floats,
    kernel_width,
    squared_distances,
)

CENTRES = 96
"""Rows of the reference at which a kernel stands."""
LARGEST_DIFFERENCE = 0.2
"""Relative, of two estimates of one difference of densities; the largest regularisation that keeps to it is taken."""


class DensityDifference(EmbeddedDetector):
    """For all features together: the root of LSDD, as a share of the squares of both densities."""

    name: ClassVar[str] = "LSDD"

    def map_of(self, reference: NDArray[np.float32]) -> KernelModel:
        chosen = np.linspace(0, len(reference) - 1, min(CENTRES, len(reference))).round().astype(np.int64)
        few = reference[np.linspace(0, len(reference) - 1, min(2000, len(reference))).astype(np.int64)]
        return KernelModel(np.unique(reference[chosen], axis=0), kernel_width(reference), few)


class KernelModel:
    """A model of densities by kernels at `centres`."""

    def __init__(self, centres: NDArray[np.float32], width: float, reference: NDArray[np.float32]) -> None:
        """`reference`: rows by whose scatter the regularisation is chosen."""
        factor = -1 / (2 * width**2)
        squares = (centres.astype(np.float64) ** 2).sum(axis=1, keepdims=True)
        # One product gives the whole exponent: a row, 1 and its square with -2 centre, the centre's square, and 1.
        terms = np.hstack([-2 * centres.astype(np.float64), squares, np.ones_like(squares)])
        self._terms: NDArray[np.float32] = (factor * terms.T).astype(np.float32)
        gram = np.exp(-squared_distances(centres, centres).astype(np.float64) / (4 * width**2))
        images = self.of(reference).astype(np.float64)
        self.metric = _metric(gram, np.atleast_2d(np.cov(images, rowvar=False)))
        values, vectors = np.linalg.eigh(self.metric)
        self._root: Floats = vectors * np.sqrt(np.maximum(values, 0))

    def of(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        columns = rows.shape[1]
        wider = np.empty((columns + 2, len(rows)), dtype=np.float32).T
        wider[:, :columns] = rows
        wider[:, columns] = 1
        np.einsum("ij,ij->i", rows, rows, out=wider[:, columns + 1], casting="same_kind")
        exponents = wider @ self._terms
        np.minimum(exponents, 0, out=exponents)
        images: NDArray[np.float32] = np.exp(exponents, out=exponents)
        return images

    def total(self, rows: NDArray[np.float32]) -> Floats:
        summed: Floats = self.of(rows).sum(axis=0, dtype=np.float64)
        return summed

    def placed(self, means: Floats) -> Floats:
        placed: Floats = means @ self._root
        return placed


def _metric(gram: Floats, scatter: Floats) -> Floats:
    """What makes a squared length of the mean difference h of images the LSDD: h' metric h.

    alibi-detect draws permutations to see how far the two estimates differ; here it is their expectation.
    """
    metric = gram
    for power in range(10):
        inverse = np.linalg.inv(gram + np.eye(len(gram)) / 4**power)
        metric = 2 * inverse - inverse @ gram @ inverse
        one = float(np.trace(inverse @ scatter))
        other = float(np.trace(inverse @ gram @ inverse @ scatter))
        if not one or 1 - other / one < LARGEST_DIFFERENCE:
            break
    return metric
