"""scikit-learn's boosted trees of a matrix that is not held twice.

Where columns are categories it makes a second matrix, with these in front as codes. Of many rows that matrix is made in
parts here, in a mapped file; the fitted model is the same, bit by bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.features.mapped_matrix import BATCH_ROWS, empty_matrix, is_large
from capstan.training.lesson import Lesson


def fit_boosting(model: Any, lesson: Lesson) -> None:
    """Fit the unfitted model, which stops at no validation rows; raises DiskFullError."""
    matrix, categorical = lesson.matrix, lesson.categorical
    is_plain = categorical is None or not categorical.any() or not is_large(*matrix.shape)
    if is_plain:
        model.fit(matrix, lesson.truth, sample_weight=lesson.weights)
        return
    assert categorical is not None
    # Every category stands in one of these rows, so the codes that they give are those of all rows.
    _, known = model._preprocess_X(matrix[_examples(matrix[:, categorical])], reset=True)
    coded = empty_matrix(*matrix.shape)
    for begin in range(0, len(matrix), BATCH_ROWS):
        part = slice(begin, begin + BATCH_ROWS)
        coded[part] = model._preprocessor.transform(matrix[part])
    model._preprocess_X = lambda _matrix, *, reset: (coded, known)  # noqa: ARG005
    try:
        model.fit(matrix, lesson.truth, sample_weight=lesson.weights)
    finally:
        del model._preprocess_X


def _examples(codes: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    first = [np.unique(column, return_index=True)[1] for column in codes.T]
    found: npt.NDArray[np.int64] = np.unique(np.concatenate(first))
    return found
