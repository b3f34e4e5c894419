"""The kinds of detectors: one module each, listed here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from capstan.errors import InvalidDataError
from capstan.monitoring.drift.kinds.chi_squared import ChiSquared
from capstan.monitoring.drift.kinds.custom import CustomDetector
from capstan.monitoring.drift.kinds.detector import Detector
from capstan.monitoring.drift.kinds.ks import KolmogorovSmirnov
from capstan.recording.payloads import Kind
from capstan.spec.monitoring import Drift

__all__ = ["DETECTORS", "CustomDetector", "Detector", "chosen", "made_again"]

_MEMBERS: tuple[Detector, ...] = (KolmogorovSmirnov(), ChiSquared())

DETECTORS: Mapping[str, Detector] = {detector.name: detector for detector in _MEMBERS}
"""By their word in the file; a person's own is made from the file each time."""


def chosen(drift: Drift) -> Mapping[Kind, Detector]:
    """The detector of each kind of column; a custom factory must be importable. Raises InvalidDataError."""
    found: dict[Kind, Detector] = {
        "numeric": DETECTORS[drift.numeric],
        "categorical": DETECTORS[drift.categorical],
    }
    if drift.custom is not None:
        own = CustomDetector(drift.custom.factory, drift.custom.parameters, drift.custom.reading)
        found[own.reads] = own
    return found


def made_again(facts: Mapping[str, Any]) -> Detector:
    """The detector of which a model folder keeps these facts; raises InvalidDataError."""
    if facts["name"] == CustomDetector.name:
        return CustomDetector(facts["factory"], facts["parameters"], facts["reads"])
    known = DETECTORS.get(facts["name"])
    if known is None:
        raise InvalidDataError(
            f"detector {facts['name']!r} is not one of {', '.join(DETECTORS)}; train the model again"
        )
    return known
