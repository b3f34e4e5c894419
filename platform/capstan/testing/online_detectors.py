"""The suite of online detectors of drift."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from capstan.monitoring.drift.online.detectors import Floats, OnlineDetector, OnlineKind
from capstan.testing.conformance import Suite

_SIZES = (6, 24)


def check_online_detector(
    begin: Callable[[Floats, Sequence[int]], OnlineDetector], reads: OnlineKind
) -> None:
    """Feed the detector with toy values; raises NotConformingError with all broken rules.

    `begin` makes one of the values of a reference and the sizes; they are numbers for `CramerVonMises`, and 0 and 1 for
    `FisherExact`.
    """
    rng = np.random.default_rng(3)
    reference, near, far = (_values(rng, reads, moved, rows) for moved, rows in ((0, 150), (0, 80), (1, 80)))
    detector = begin(reference, _SIZES)
    suite = Suite(type(detector).__name__)
    with suite.rule("it gives one score for each value and size"):
        assert detector.scores(near).shape == (80, 2), f"it gives {detector.scores(near).shape}"
        assert detector.scores(near[:0]).shape == (0, 2), (
            f"of no value it gives {detector.scores(near[:0]).shape}"
        )
    with suite.rule("there is no score before a size is full, and one after each value from then on"):
        known = ~np.isnan(detector.scores(near))
        for place, size in enumerate(_SIZES):
            begun = int(np.argmax(known[:, place])) + 1
            assert begun == size, f"of {size} values the first score comes after {begun}"
            assert known[size - 1 :, place].all(), "a score is missing later"
    with suite.rule("a stream that moved is less like the reference"):
        usual, moved = (np.nanmedian(detector.scores(values), axis=0) for values in (near, far))
        assert (moved > usual).all(), f"alike {usual.tolist()}, moved {moved.tolist()}"
    with suite.rule("values before the last ones make no difference, so that a monitor may forget them"):
        whole, late = detector.scores(far), detector.scores(far[-max(_SIZES) :])
        assert np.array_equal(whole[-1], late[-1]), f"{whole[-1].tolist()} became {late[-1].tolist()}"
        for place, size in enumerate(_SIZES):
            after = detector.scores(np.append(near, far))[-1, place]
            assert after == whole[-1, place], f"of {size} values {whole[-1, place]} became {after}"
    with suite.rule("asked again, and made again, it gives the same"):
        first = detector.scores(near)
        assert np.array_equal(first, detector.scores(near), equal_nan=True), (
            "asked again it gives another score"
        )
        again = begin(reference, _SIZES).scores(near)
        assert np.array_equal(first, again, equal_nan=True), "made again it gives another score"
    with suite.rule("it leaves its values and numpy's random numbers as they are"):
        before, state = near.copy(), str(np.random.get_state())
        detector.scores(near)
        assert np.array_equal(before, near), "the values are others afterwards"
        assert state == str(np.random.get_state()), "it draws from numpy's global generator"
    with suite.rule("a reference of one value is compared"):
        constant = np.zeros_like(reference) if reads == "CramerVonMises" else np.append(np.zeros(149), 1.0)
        scores = begin(constant, _SIZES).scores(far)
        assert np.isfinite(scores[max(_SIZES) :]).all(), "there are scores that are no numbers"
    suite.require()


def _values(rng: np.random.Generator, reads: OnlineKind, moved: float, rows: int) -> Floats:
    if reads == "CramerVonMises":
        return rng.normal(moved, 1, rows)
    return (rng.random(rows) < 0.4 + 0.3 * moved).astype(np.float64)
