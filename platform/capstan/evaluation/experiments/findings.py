"""What the analysis of an experiment finds: arms, comparisons, slices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from capstan.domain.verdicts.analysis import AnalysisResult
from capstan.domain.verdicts.experiments import Effect, ExperimentRule
from capstan.evaluation.experiments.over_time import Correlation, Look


@dataclass(frozen=True)
class ArmOutcome:
    """One metric of one arm, after cap and before CUPED."""

    arm: str
    metric: str
    units: int
    """With an outcome."""
    missing: int
    capped: int
    mean: float
    variance: float
    skewness: float


@dataclass(frozen=True)
class SliceEffect:
    """One value of a slice; for looking, never for a verdict."""

    column: str
    value: str
    control_units: int
    arm_units: int
    effect: Effect


@dataclass(frozen=True)
class Comparison:
    """One challenger against control by one metric."""

    arm: str
    metric: str
    effect: Effect
    control_mean: float
    """Before CUPED."""
    adjusted_p: float
    result: AnalysisResult
    looks: tuple[Look, ...] = ()
    """At the end of every block; empty without time or for tests of one look."""
    correlation: Correlation | None = None
    """None without time."""
    slices: tuple[SliceEffect, ...] = ()

    @property
    def relative(self) -> float | None:
        """Difference over the mean of control; None where that is 0."""
        return self.effect.difference / abs(self.control_mean) if self.control_mean else None


@dataclass(frozen=True)
class Cuped:
    """What the covariate explained of one metric."""

    metric: str
    slope: float
    variance_reduction: float
    """Share of the variance within arms that is gone."""
    without: int
    """Units without a covariate, which count as of its mean."""


@dataclass(frozen=True)
class ExperimentAnalysis:
    """All of it."""

    rows: int
    units: Mapping[str, int]
    """Arm -> units that belong to it alone."""
    shares: Mapping[str, int]
    ratio: AnalysisResult
    crossed: int
    crossed_left_out: int
    crossed_examples: tuple[str, ...]
    outcomes: tuple[ArmOutcome, ...]
    cuped: tuple[Cuped, ...]
    comparisons: tuple[Comparison, ...]
    control: str
    rule: ExperimentRule
    warnings: tuple[str, ...]
