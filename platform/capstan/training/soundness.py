"""Whether a fitted model can be served: its answers, its classes, and its bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.own_code import require_saveable
from capstan.tasks import Task

Floats = npt.NDArray[np.float64]
_TRIED_ROWS = 50


def require_servable(task: Task, model: Any, factory: str, matrix: Floats) -> None:
    """Raises InvalidDataError unless the fitted model is one of the task's and answers the same once saved."""
    try:
        task.learnt(model)
    except InvalidDataError as error:
        raise InvalidDataError(f"{factory}: {error}") from error
    saved = require_saveable(model, factory, "after fit")
    rows = matrix[:_TRIED_ROWS]
    try:
        here = task.scores(model, rows, rows=len(rows))
        there = task.scores(saved, rows, rows=len(rows))
    except InvalidDataError as error:
        raise InvalidDataError(f"{factory}: {error}") from error
    except Exception as error:
        raise InvalidDataError(f"{factory}: {task.method}: {type(error).__name__}: {error}") from error
    if not np.allclose(here, there, rtol=1e-6, atol=1e-9):
        raise InvalidDataError(
            f"{factory}: {type(model).__name__} answers otherwise once it is saved and loaded "
            f"({np.ravel(here)[:2].tolist()} and {np.ravel(there)[:2].tolist()}); keep what it learnt in attributes "
            "that pickle saves"
        )
