"""Whether a fitted model can be served: its probabilities, its classes, and its bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.own_code import require_saveable

Floats = npt.NDArray[np.float64]
_TRIED_ROWS = 50
_TOLERANCE = 1e-3
"""By how much the two probabilities of a row may miss 1; single precision misses by 1e-7."""


def sound_probabilities(found: Any, rows: int) -> Floats:
    """What `predict_proba` gave for so many rows, as numbers of shape (rows, 2); raises InvalidDataError otherwise."""
    try:
        answer = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidDataError(f"predict_proba gave {type(found).__name__}, not numbers: {error}") from error
    if answer.shape != (rows, 2):
        raise InvalidDataError(
            f"predict_proba gave shape {answer.shape} for {rows:,} rows; it must be ({rows}, 2), a column a class"
        )
    strange = ~np.isfinite(answer).all(axis=1)
    if strange.any():
        raise InvalidDataError(
            f"predict_proba gave {answer[strange][0].tolist()} for {strange.sum():,} of {rows:,} rows; "
            "every probability must be a number"
        )
    outside = (answer < 0).any(axis=1) | (np.abs(answer.sum(axis=1) - 1) > _TOLERANCE)
    if outside.any():
        raise InvalidDataError(
            f"predict_proba gave {answer[outside][0].tolist()} for {outside.sum():,} of {rows:,} rows; "
            "the two must lie between 0 and 1 and make 1 together"
        )
    return answer


def require_servable(model: Any, factory: str, matrix: Floats) -> None:
    """Raises InvalidDataError unless the fitted model knows both classes in order and answers the same once saved."""
    classes = getattr(model, "classes_", None)
    known = None if classes is None else [bool(one) for one in np.asarray(classes).reshape(-1)]
    if known != [False, True]:
        raise InvalidDataError(
            f"{factory}: classes_ of the fitted {type(model).__name__} is {classes!r}; it must be [False, True], the "
            "order of the columns of predict_proba"
        )
    saved = require_saveable(model, factory, "after fit")
    rows = matrix[:_TRIED_ROWS]
    try:
        here = sound_probabilities(model.predict_proba(rows), len(rows))
        there = sound_probabilities(saved.predict_proba(rows), len(rows))
    except InvalidDataError as error:
        raise InvalidDataError(f"{factory}: {error}") from error
    except Exception as error:
        raise InvalidDataError(f"{factory}: predict_proba: {type(error).__name__}: {error}") from error
    if not np.allclose(here, there, rtol=1e-6, atol=1e-9):
        raise InvalidDataError(
            f"{factory}: {type(model).__name__} answers otherwise once it is saved and loaded "
            f"({here[0].tolist()} and {there[0].tolist()}); keep what it learnt in attributes that pickle saves"
        )
