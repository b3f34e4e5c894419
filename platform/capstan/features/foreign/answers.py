"""What a model of another library gave, as probabilities of classes or as one number a row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError

Floats = npt.NDArray[np.float64]
ROUNDING = 1e-5
"""Probabilities of single precision may miss 1 together by so much; they are scaled to make 1."""


def probabilities(found: Any, rows: int) -> Floats:
    """(rows, classes); one column is the probability of the second of two. Raises InvalidDataError."""
    answer = _numbers(found)
    if answer.shape in ((rows,), (rows, 1)):
        one = answer.reshape(rows)
        answer = np.column_stack([1 - one, one])
    if answer.ndim != 2 or answer.shape[0] != rows:
        raise InvalidDataError(
            f"it gives shape {answer.shape} for {rows:,} rows; it must be ({rows}, classes), a column a class"
        )
    total = answer.sum(axis=1)
    wrong = ~((answer >= 0).all(axis=1) & (np.abs(total - 1) <= ROUNDING))
    if wrong.any():
        raise InvalidDataError(
            f"it gives {answer[wrong][0].tolist()} for {wrong.sum():,} of {rows:,} rows, which are no probabilities; "
            "let it end with a sigmoid or a softmax"
        )
    scaled: Floats = answer / total[:, None]
    return scaled


def numbers(found: Any, rows: int) -> Floats:
    """(rows,); raises InvalidDataError."""
    answer = _numbers(found)
    if answer.shape not in ((rows,), (rows, 1)):
        raise InvalidDataError(
            f"it gives shape {answer.shape} for {rows:,} rows; it must be one number a row"
        )
    return answer.reshape(rows)


def _numbers(found: Any) -> Floats:
    try:
        return np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(f"it gives {type(found).__name__}, and no numbers: {error}") from error
