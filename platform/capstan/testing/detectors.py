"""The suite of detectors of drift."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from capstan.monitoring.drift.kinds import CustomDetector, Detector, Reads, made_again
from capstan.recording.payloads import Kind
from capstan.testing.conformance import Suite

_ALIKE = 0.1
"""Largest effect of two samples of 2,000 values from one distribution."""
_SHIFT = 0.25
"""Least effect of a shift that everybody would call drift."""


def check_detector(
    detector: Detector | str,
    *,
    reads: Literal["Number", "Category"] = "Number",
    parameters: Mapping[str, Any] | None = None,
) -> None:
    """Let the detector compare toy columns; raises NotConformingError with all broken rules.

    `detector` may be `module:name` of a factory of your own, called with `parameters`, for columns that it `reads`.
    """
    if isinstance(detector, str):
        kind: Kind = "numeric" if reads == "Number" else "categorical"
        detector = CustomDetector(detector, parameters or {}, kind)
    suite = Suite(detector.test if isinstance(detector, CustomDetector) else type(detector).__name__)
    reference, alike, near, far = _samples(detector.reads)
    with suite.rule("it leaves what it is given as it is"):
        before = reference.copy(), near.copy()
        detector.compare(reference, near)
        assert np.array_equal(before[0], reference), "the reference is another afterwards"
        assert np.array_equal(before[1], near), "the window is another afterwards"
    effects: list[float] = []
    with suite.rule("a distance lies from 0 to 1, and is larger the farther a window moved"):
        effects = [detector.compare(reference, window).effect for window in (alike, near, far)]
        assert all(0 <= effect <= 1 for effect in effects), f"effects are {effects}"
        assert effects == sorted(effects), f"alike, near and far give {effects}"
    if effects:
        with suite.rule("it tells a shift from chance"):
            assert effects[0] <= _ALIKE, f"two samples of one distribution are {effects[0]:.3f} apart"
            assert effects[2] >= _SHIFT, f"a window that moved far is {effects[2]:.3f} away"
    with suite.rule("the order of rows makes no difference, and the same rows give the same distance"):
        shuffled = np.random.default_rng(1).permutation(near)
        first, again = (detector.compare(reference, window).effect for window in (near, near.copy()))
        assert first == again, f"{first} became {again}"
        turned = detector.compare(reference, shuffled).effect
        assert abs(first - turned) < 1e-9, f"in another order {first} becomes {turned}"
    with suite.rule("a column of one value, and a window of one row, are compared"):
        constant = np.ones_like(reference)
        for sample, window in ((constant, constant[:50]), (constant, near), (reference, near[:1])):
            effect = detector.compare(sample, window).effect
            assert 0 <= effect <= 1, f"the effect is {effect}"
    with suite.rule("chance alone gives less in a larger window"):
        small, large = (detector.noise(reference, rows) for rows in (50, 5000))
        assert 0 <= large <= small <= 1, f"noise of 50 rows is {small}, of 5,000 rows {large}"
    _check_reference(suite, detector, reference, near)
    with suite.rule("made again from what a model folder keeps, it gives the same"):
        again_made = made_again(detector.facts)
        assert again_made.reads == detector.reads, f"it reads {again_made.reads} then"
        assert again_made.compare(reference, near).effect == detector.compare(reference, near).effect
    suite.require()


def _check_reference(suite: Suite, detector: Detector, reference: NDArray[Any], near: NDArray[Any]) -> None:
    with suite.rule("a stretch of the reference is as far from the rest as compare says"):
        cells, codes = np.unique(reference, return_inverse=True, axis=0)
        block = np.bincount(codes[: len(codes) // 4], minlength=len(cells))
        whole = np.bincount(codes, minlength=len(cells))
        found = detector.from_rest(cells, block, whole)
        told = detector.compare(reference[len(codes) // 4 :], reference[: len(codes) // 4]).effect
        assert abs(found - told) < 0.01, f"from_rest gives {found:.4f}, compare {told:.4f}"
        noise = detector.noise_of_block(cells, block, whole)
        assert 0 <= noise <= 1, f"noise_of_block is {noise}"
    with suite.rule("many stretches at once give what each gives alone"):
        [(at_once, its_noise)] = detector.of_stretches(cells, [block], whole)
        assert abs(at_once - found) < 0.01, f"of_stretches gives {at_once:.4f}, from_rest {found:.4f}"
        assert abs(its_noise - noise) < 0.01, f"of_stretches gives the noise {its_noise:.4f}, not {noise:.4f}"
    with suite.rule(
        "a window too large to be kept gets the distance that it has, within the error that is told"
    ):
        stream = detector.stream(reference)
        if stream is not None:
            for batch in np.array_split(near, 7):
                stream.add(batch)
            effect, _, error = stream.result()
            exact = detector.compare(reference, near).effect
            assert effect - 1e-9 <= exact <= effect + error + 1e-9, (
                f"{effect:.4f} with an error of at most {error:.4f}, but it is {exact:.4f}"
            )


def _samples(kind: Reads) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Reference, and windows that are alike, near and far."""
    rng = np.random.default_rng(7)
    if kind == "numeric":
        alike, near, far = (rng.normal(shift, 1, 2000) for shift in (0.0, 0.5, 3.0))
        return rng.normal(0, 1, 4000), alike, near, far
    if kind == "rows":
        moves, counts = (0.0, 0.0, 0.7, 3.0), (4000, 2000, 2000, 2000)
        drawn = [rng.normal(move, 1, (count, 4)) for move, count in zip(moves, counts, strict=True)]
        return drawn[0], drawn[1], drawn[2], drawn[3]
    shares = ([0.5, 0.3, 0.2, 0.0], [0.5, 0.3, 0.2, 0.0], [0.35, 0.35, 0.3, 0.0], [0.0, 0.05, 0.25, 0.7])
    rows = (4000, 2000, 2000, 2000)
    codes = [rng.choice(4, count, p=share) for count, share in zip(rows, shares, strict=True)]
    return codes[0], codes[1], codes[2], codes[3]
