"""The kinds of detectors: one module each, listed here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from capstan.errors import InvalidDataError
from capstan.monitoring.drift.kinds.chi_squared import ChiSquared
from capstan.monitoring.drift.kinds.classifier import ClassifierTest
from capstan.monitoring.drift.kinds.cramer_von_mises import CramerVonMises
from capstan.monitoring.drift.kinds.custom import CustomDetector
from capstan.monitoring.drift.kinds.detector import Detector, Reads
from capstan.monitoring.drift.kinds.fisher_exact import FisherExact
from capstan.monitoring.drift.kinds.jensen_shannon import JensenShannon
from capstan.monitoring.drift.kinds.ks import KolmogorovSmirnov
from capstan.monitoring.drift.kinds.lsdd import DensityDifference
from capstan.monitoring.drift.kinds.mmd import MaximumMeanDiscrepancy
from capstan.monitoring.drift.kinds.psi import PopulationStability
from capstan.monitoring.drift.kinds.wasserstein import Wasserstein
from capstan.recording.payloads import Kind
from capstan.spec.monitoring import Drift

__all__ = ["DETECTORS", "CustomDetector", "Detector", "Reads", "chosen", "chosen_of_rows", "made_again"]

_MEMBERS: tuple[Detector, ...] = (
    KolmogorovSmirnov(),
    CramerVonMises(),
    Wasserstein(),
    ChiSquared(),
    FisherExact(),
    *(kind(reads) for kind in (JensenShannon, PopulationStability) for reads in get_args(Kind)),
    MaximumMeanDiscrepancy(),
    DensityDifference(),
    ClassifierTest(),
)

DETECTORS: Mapping[Reads, Mapping[str, Detector]] = {
    reads: {detector.name: detector for detector in _MEMBERS if detector.reads == reads}
    for reads in get_args(Reads)
}
"""By what they read and by their word in the file; a person's own is made from the file each time."""


def chosen(drift: Drift) -> Mapping[Kind, Detector]:
    """The detector of each kind of column; a custom factory must be importable. Raises InvalidDataError."""
    found: dict[Kind, Detector] = {
        "numeric": DETECTORS["numeric"][drift.numeric],
        "categorical": DETECTORS["categorical"][drift.categorical],
    }
    if drift.custom is not None:
        own = CustomDetector(drift.custom.factory, drift.custom.parameters, drift.custom.reading)
        found[own.reads] = own
    return found


def chosen_of_rows(drift: Drift) -> Detector | None:
    """The detector of all features together; None: the file wants none."""
    return None if drift.multivariate is None else DETECTORS["rows"][drift.multivariate]


def made_again(facts: Mapping[str, Any]) -> Detector:
    """The detector of which a model folder keeps these facts; raises InvalidDataError."""
    if facts["name"] == CustomDetector.name:
        return CustomDetector(facts["factory"], facts["parameters"], facts["reads"])
    members = DETECTORS[facts["reads"]]
    known = members.get(facts["name"])
    if known is None:
        raise InvalidDataError(
            f"detector {facts['name']!r} is not one of {', '.join(members)}; train the model again"
        )
    return known
