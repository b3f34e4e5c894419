"""Which past a model learns from."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt

from capstan.spec.training import TrainingWindow


def in_window(
    times: npt.NDArray[np.datetime64], window: TrainingWindow, *, until: datetime
) -> npt.NDArray[np.bool_]:
    """Rows that the window keeps, when its end is `until`; times are UTC."""
    if window.duration is None:
        return np.ones(len(times), dtype=np.bool_)
    start = (until - window.duration).astimezone(UTC).replace(tzinfo=None)
    kept: npt.NDArray[np.bool_] = times.astype("datetime64[us]") > np.datetime64(start, "us")
    return kept
