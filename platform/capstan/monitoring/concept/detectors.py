"""Detectors of concept drift by river, each with one number that says how strict it is.

They see the losses of a version one after the other and are asked about a rise alone: a model that errs less than at
its test needs no alert. How strict one must be is not known beforehand, because losses of one day are alike. So a
calibration walks along `levels`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

ConceptKind = Literal["ADWIN", "PageHinkley", "DDM"]


class ConceptDetector(Protocol):
    """One detector in one place of a stream."""

    @property
    def drift_detected(self) -> bool:
        """Whether the value that came last told a change."""
        ...

    def update(self, x: float) -> Any:
        """Take one more value."""
        ...


@dataclass(frozen=True)
class ConceptFacts:
    """How a detector is made, and what it is fed."""

    takes: Literal["Deviation", "Share"]
    """`Deviation`: the mean loss of a lot, in standard deviations of the test's lots; `Share`: itself, from 0 to 1."""
    levels: tuple[float, ...]
    """Its own number, from hasty to strict."""
    begins: Literal["Values", "Mean"] = "Values"
    """What it sees of the test: its values one after the other, or its mean as often."""


FACTS: Mapping[ConceptKind, ConceptFacts] = {
    "ADWIN": ConceptFacts("Deviation", tuple(10 ** -(0.3 * 1.3**step) for step in range(18))),
    # A rise within the test would stand in its sum, and alarm at the first value after it.
    "PageHinkley": ConceptFacts("Deviation", tuple(3 * 1.35**step for step in range(18)), begins="Mean"),
    "DDM": ConceptFacts("Share", tuple(1.2**step for step in range(18))),
}
"""By the word in the file. Levels: ADWIN's `delta`, Page-Hinkley's `threshold`, DDM's `drift_threshold`."""

TOLERATED = 0.1
"""Page-Hinkley: a rise by so many standard deviations of a lot is none."""
CLOCK = 5
"""ADWIN looks for a change at every fifth lot: ten times in a window."""


def made(kind: ConceptKind, level: float, known: int) -> ConceptDetector:
    """A detector that begins; `known` values of the test are fed to it before those that it judges."""
    # A third of a second, which only a file that asks for it pays.
    from river import drift

    if kind == "ADWIN":
        detector: ConceptDetector = drift.ADWIN(delta=level, clock=CLOCK)
    elif kind == "PageHinkley":
        detector = drift.PageHinkley(min_instances=known + 1, delta=TOLERATED, threshold=level, mode="up")
    else:
        from river.drift.binary import DDM

        # It warns below the level, which nobody reads.
        detector = DDM(warm_start=known, warning_threshold=level, drift_threshold=level)
    return detector
