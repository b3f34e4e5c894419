"""What models of numbers say, judged before it is taken."""

from __future__ import annotations

from typing import Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.tasks.metric import Floats


def judged_numbers(found: Any, rows: int) -> Floats:
    """What `predict` gave for so many rows, of shape (rows,); raises InvalidDataError otherwise."""
    try:
        answer = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(f"predict gave {type(found).__name__}, not numbers: {error}") from error
    if answer.shape != (rows,):
        raise InvalidDataError(
            f"predict gave shape {answer.shape} for {rows:,} rows; it must be ({rows},), one number a row"
        )
    strange = ~np.isfinite(answer)
    if strange.any():
        raise InvalidDataError(
            f"predict gave {answer[strange][0]} for {strange.sum():,} of {rows:,} rows; every answer must be "
            "a finite number"
        )
    return answer
