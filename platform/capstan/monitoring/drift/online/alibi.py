"""alibi-detect's online detectors behind the port of ours; imported by the monitor alone (BSL 1.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from capstan.monitoring.drift.fitted_detectors import import_alibi_detect
from capstan.monitoring.drift.online.detectors import Floats, rounded, strength

_UNUSED = {"ert": 1000.0, "n_bootstraps": 1, "verbose": False}
"""What its own thresholds are found by, which nobody asks for."""


class AlibiCramerVonMises:
    """CVMDriftOnline."""

    def __init__(self, reference: Sequence[float], sizes: Sequence[int]) -> None:
        self._detector = _made("CVMDriftOnline", np.sort(np.asarray(reference, dtype=np.float64)), sizes)

    def scores(self, values: Floats) -> Floats:
        return rounded(_told(self._detector, values))


class AlibiFisherExact:
    """Two of FETDriftOnline: one for more yes, one for fewer."""

    def __init__(self, lots: int, yes: int, sizes: Sequence[int]) -> None:
        reference = (np.arange(lots) < yes).astype(np.int64)
        self._detectors = [
            _made("FETDriftOnline", reference, sizes, alternative=side) for side in ("greater", "less")
        ]

    def scores(self, values: Floats) -> Floats:
        more, fewer = (strength(_told(detector, values)) for detector in self._detectors)
        return rounded(np.maximum(more, fewer))


def _made(name: str, reference: Any, sizes: Sequence[int], **more: object) -> Any:
    import_alibi_detect()
    from alibi_detect import cd

    # Its thresholds take minutes of drawing, suppose independent rows, and draw from numpy's global generator.
    silent = type(name, (getattr(cd, name),), {"_configure_thresholds": lambda _: None})
    return silent(x_ref=reference, window_sizes=list(sizes), **_UNUSED, **more)


def _told(detector: Any, values: Floats) -> Floats:
    """(values, sizes) from a new start."""
    detector.reset_state()
    if not len(values):
        return np.empty((0, len(detector.window_sizes)))
    return np.array([detector.score(np.array([value]))[:, 0] for value in values], dtype=np.float64)
