"""What an experiment's log says: arms, sample ratio, effects, slices and the verdict of each comparison."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from capstan.domain.verdicts.analysis import AnalysisResult
from capstan.domain.verdicts.experiments import (
    NO_EFFECT,
    UNITS_PER_SQUARED_SKEWNESS,
    Effect,
    ExperimentRule,
    Test,
    holm,
    judge_effect,
)
from capstan.domain.verdicts.sample_ratio import freeze_on_mismatch, judge_sample_ratio
from capstan.domain.verdicts.validity import judge_covariate, judge_crossing, judge_outcomes
from capstan.errors import InvalidDataError, InvalidSpecError, Mistake
from capstan.evaluation.experiments.columns import Block
from capstan.evaluation.experiments.effects import effect, moments, skew, without_covariate
from capstan.evaluation.experiments.log import Units
from capstan.evaluation.experiments.over_time import BlockTable, Correlation, Look, block_table

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_SURELY_DISPERSED = 0.001


@dataclass(frozen=True)
class ExperimentPlan:
    """All that must be fixed before anybody looks at outcomes."""

    control: str = "control"
    shares: Mapping[str, int] | None = None
    """Arm -> weight; None: equal shares."""
    rule: ExperimentRule = field(default_factory=ExperimentRule)
    """`comparisons` is set by the analysis."""
    by: Block = Block.UNIT
    planned_blocks: int = 14
    """Blocks at which a decision is expected, where blocks are independent."""
    caps: Mapping[str, float] = field(default_factory=dict)
    """Metric -> value that outcomes above it count as."""


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


def analyse(units: Units, plan: ExperimentPlan) -> ExperimentAnalysis:
    """Every challenger against control by every metric; raises InvalidSpecError where plan and log do not fit."""
    shares = _shares(units, plan)
    challengers = [arm for arm in shares if arm != plan.control]
    rule = replace(plan.rule, comparisons=len(challengers) * len(units.metrics))
    return _Analysis(units, plan, shares, challengers, rule).whole()


def _shares(units: Units, plan: ExperimentPlan) -> dict[str, int]:
    mistakes = []
    shares = dict(plan.shares) if plan.shares is not None else dict.fromkeys(units.arms, 1)
    strange = [arm for arm in units.arms if arm not in shares]
    if strange:
        mistakes.append(
            Mistake(
                "--shares",
                f"the log has the arm {strange[0]!r}, which is none of {', '.join(shares)}; name every arm that units "
                "were assigned to, or remove its rows",
            )
        )
    if plan.control not in shares:
        mistakes.append(
            Mistake(
                "--control",
                f"{plan.control!r} is no arm; the arms are {', '.join(sorted(shares))}: name one of them",
            )
        )
    for metric, cap in plan.caps.items():
        if metric not in units.metrics:
            mistakes.append(
                Mistake("--cap", f"{metric!r} is no metric; name one of {', '.join(units.metrics)}")
            )
        elif not math.isfinite(cap):
            mistakes.append(Mistake("--cap", f"{cap} of {metric!r} must be a finite number"))
    if mistakes:
        raise InvalidSpecError(mistakes)
    return shares


class _Analysis:
    def __init__(
        self,
        units: Units,
        plan: ExperimentPlan,
        shares: Mapping[str, int],
        challengers: list[str],
        rule: ExperimentRule,
    ) -> None:
        self._units, self._plan, self._rule = units, plan, rule
        self._shares, self._challengers = shares, challengers
        self._members = {
            arm: units.arm == units.arms.index(arm)
            if arm in units.arms
            else np.zeros(units.count, dtype=bool)
            for arm in shares
        }
        self._warnings: list[str] = []
        self._outcomes: list[ArmOutcome] = []
        self._cuped: list[Cuped] = []

    def whole(self) -> ExperimentAnalysis:
        counts = {arm: int(mask.sum()) for arm, mask in self._members.items()}
        ratio = self._ratio(counts)
        if self._plan.shares is None:
            self._warnings.append("no --shares were given: equal shares of all arms are assumed")
        values = {metric: self._prepared(metric, found) for metric, found in self._units.metrics.items()}
        compared = [
            self._compared(arm, metric, values[metric]) for metric in values for arm in self._challengers
        ]
        adjusted = holm([one.p_value for one in compared])
        frozen = [ratio, *self._troubles()]
        comparisons = tuple(
            self._judged(one, p, frozen, values[one.metric])
            for one, p in zip(compared, adjusted, strict=True)
        )
        return ExperimentAnalysis(
            rows=self._units.rows,
            units=counts,
            shares=self._shares,
            ratio=ratio,
            crossed=self._units.crossed,
            crossed_left_out=self._units.crossed_left_out,
            crossed_examples=self._units.crossed_examples,
            outcomes=tuple(self._outcomes),
            cuped=tuple(self._cuped),
            comparisons=comparisons,
            control=self._plan.control,
            rule=self._rule,
            warnings=tuple(self._warnings),
        )

    def _ratio(self, counts: Mapping[str, int]) -> AnalysisResult:
        """The sequential test at the end of every block: an alarm is never undone."""
        block = self._units.block
        latch = None
        if block is not None:
            size = len(self._units.blocks)
            entered = {
                arm: np.cumsum(np.bincount(block[mask], minlength=size))
                for arm, mask in self._members.items()
            }
            for place in range(size):
                until = {arm: int(numbers[place]) for arm, numbers in entered.items()}
                latch = judge_sample_ratio(until, self._shares, latched=latch).latch
        return judge_sample_ratio(counts, self._shares, latched=latch)

    def _prepared(self, metric: str, found: Floats) -> Floats:
        """Outcomes after cap and CUPED; tells what was done on the way."""
        cap = self._plan.caps.get(metric)
        values = found if cap is None else np.minimum(found, cap)
        if self._rule.test is Test.PROPORTIONS:
            _require_shares_of_one(metric, values)
        for arm, mask in self._members.items():
            own = values[mask]
            given = own[np.isfinite(own)]
            known = moments(given)
            outcome = ArmOutcome(
                arm=arm,
                metric=metric,
                units=known.units,
                missing=len(own) - known.units,
                capped=int((found[mask] > cap).sum()) if cap is not None else 0,
                mean=known.mean,
                variance=known.variance,
                skewness=skew(given),
            )
            self._outcomes.append(outcome)
            self._warn_of_skew(outcome)
        if self._units.covariate is None:
            return values
        adjusted, slope = without_covariate(
            values, self._units.covariate, self._units.arm, len(self._units.arms)
        )
        before, after = (self._variance_within(one) for one in (values, adjusted))
        self._cuped.append(
            Cuped(
                metric,
                slope,
                1 - after / before if before > 0 else 0.0,
                int(np.isnan(self._units.covariate).sum()),
            )
        )
        return adjusted

    def _variance_within(self, values: Floats) -> float:
        arms = [moments(self._given(values, mask)) for mask in self._members.values()]
        total = sum(arm.units for arm in arms)
        return sum(arm.units * arm.variance for arm in arms) / total if total else 0.0

    def _warn_of_skew(self, outcome: ArmOutcome) -> None:
        if self._rule.test is Test.MANN_WHITNEY or not outcome.units:
            return
        needed = math.ceil(UNITS_PER_SQUARED_SKEWNESS * outcome.skewness**2)
        if self._rule.test is Test.PROPORTIONS:
            few = min(outcome.mean, 1 - outcome.mean) * outcome.units
            if few < 5:
                self._warnings.append(
                    f"{outcome.metric} of {outcome.arm}: {few:.0f} units of the rarer kind are too few for the z-test, "
                    "which needs 5"
                )
        elif outcome.units < needed:
            self._warnings.append(
                f"{outcome.metric} of {outcome.arm} is skewed ({outcome.skewness:.1f}): {needed:,} units "
                f"make its mean nearly Gaussian, and it has {outcome.units:,}; wait for more, "
                "fix a --cap before the experiment, or take MannWhitney"
            )

    @staticmethod
    def _given(values: Floats, mask: Mask) -> Floats:
        own: Floats = values[mask]
        given: Floats = own[np.isfinite(own)]
        return given

    def _troubles(self) -> list[AnalysisResult | None]:
        """What freezes every comparison, beside the sample ratio."""
        everybody = self._units.count + self._units.crossed_left_out
        found = [judge_crossing(self._units.crossed, everybody)]
        covariate = self._units.covariate
        if covariate is not None:
            arms = {arm: moments(self._given(covariate, mask)) for arm, mask in self._members.items()}
            planned = self._rule.planned_units
            found.append(judge_covariate(arms, control=self._plan.control, planned_units=planned))
        return found

    def _compared(self, arm: str, metric: str, values: Floats) -> _Compared:
        mask, base = self._members[arm], self._members[self._plan.control]
        first, second = self._given(values, base), self._given(values, mask)
        raw = self._units.metrics[metric]
        cap = self._plan.caps.get(metric, math.inf)
        control_mean = moments(np.minimum(self._given(raw, base), cap)).mean
        table = self._block_table(values, base, mask)
        correlation = table.correlation() if table is not None else None
        looks: list[Look] = []
        now = effect(first, second, self._rule)
        if table is not None and self._rule.test is Test.ALWAYS_VALID:
            if self._plan.by is Block.UNIT:
                looks = table.looks_by_units(self._rule)
            else:
                size = correlation.merged if correlation is not None else None
                looks = table.looks_by_blocks(self._rule, self._plan.planned_blocks, size) if size else []
                now = looks[-1].effect if looks else NO_EFFECT
        if correlation is not None:
            self._warn_of_dispersion(arm, metric, correlation)
        return _Compared(
            arm=arm,
            metric=metric,
            effect=now,
            crossing=_crossing(looks, self._rule),
            control_mean=control_mean,
            looks=tuple(looks),
            correlation=correlation,
            units=len(first) + len(second),
        )

    def _block_table(self, values: Floats, base: Mask, mask: Mask) -> BlockTable | None:
        if self._units.block is None:
            return None
        given = np.isfinite(values)
        centre = float(values[base & given].mean()) if (base & given).any() else 0.0
        sides = [(values[side & given], self._units.block[side & given]) for side in (base, mask)]
        return block_table(self._units.blocks, sides[0], sides[1], centre)

    def _warn_of_dispersion(self, arm: str, metric: str, correlation: Correlation) -> None:
        if (
            self._plan.by is not Block.UNIT
            or correlation.dispersion is None
            or correlation.dispersion_p is None
        ):
            return
        if correlation.dispersion_p < _SURELY_DISPERSED:
            self._warnings.append(
                f"{metric} of {arm}: the effect differs from day to day {correlation.dispersion:.1f} times as much as "
                "independent units explain, so the interval is too narrow; take --by Day"
            )

    def _judged(
        self, one: _Compared, adjusted: float, frozen: list[AnalysisResult | None], values: Floats
    ) -> Comparison:
        latched = one.crossing
        result = judge_effect(
            one.effect,
            self._rule,
            what=f"{one.arm} less {self._plan.control} of {one.metric}",
            adjusted=adjusted,
            units=one.units,
            first_shown=self._block_name(latched) if latched else None,
            favours=latched.effect.difference if latched else None,
        )
        if self._plan.by is not Block.UNIT and not one.looks and one.correlation is not None:
            result = replace(
                result, message=f"{result.message}; {one.correlation.describe(self._plan.by.value.lower())}"
            )
        result = freeze_on_mismatch(result, *frozen, self._uneven(one.metric))
        return Comparison(
            arm=one.arm,
            metric=one.metric,
            effect=one.effect,
            control_mean=one.control_mean,
            adjusted_p=adjusted,
            result=result,
            looks=one.looks,
            correlation=one.correlation,
            slices=self._sliced(one.arm, values),
        )

    def _block_name(self, look: Look) -> str:
        if self._plan.by is Block.HOUR:
            return f"after the hour of {look.at:%Y-%m-%d %H:%M}"
        return f"after the day {look.at:%Y-%m-%d}"

    def _uneven(self, metric: str) -> AnalysisResult | None:
        counts = {one.arm: one.units for one in self._outcomes if one.metric == metric}
        assigned = {arm: int(mask.sum()) for arm, mask in self._members.items() if mask.any()}
        result = judge_outcomes(counts, assigned, metric=metric)
        if result is None:
            return None
        return replace(
            result, message=f"{result.message}; where no outcome means nothing happened, take --missing Zero"
        )

    def _sliced(self, arm: str, values: Floats) -> tuple[SliceEffect, ...]:
        mask, base = self._members[arm], self._members[self._plan.control]
        parts = [
            (column, value, codes == place)
            for column, (names, codes) in self._units.slices.items()
            for place, value in enumerate(names)
            if (codes == place).any()
        ]
        if not parts:
            return ()
        rule = replace(self._rule, comparisons=self._rule.comparisons * len(parts))
        found = []
        for column, value, inside in parts:
            first, second = self._given(values, base & inside), self._given(values, mask & inside)
            found.append(SliceEffect(column, value, len(first), len(second), effect(first, second, rule)))
        return tuple(found)


@dataclass(frozen=True)
class _Compared:
    arm: str
    metric: str
    effect: Effect
    """Now."""
    crossing: Look | None
    """The first look beyond the bound of all comparisons together; later looks do not undo it."""
    control_mean: float
    looks: tuple[Look, ...]
    correlation: Correlation | None
    units: int

    @property
    def p_value(self) -> float:
        """What has been shown once stays shown."""
        if self.crossing is None:
            return self.effect.p_value
        return min(self.effect.p_value, self.crossing.effect.p_value)


def _crossing(looks: list[Look], rule: ExperimentRule) -> Look | None:
    sure = (look for look in looks if look.units >= rule.least_units)
    return next((look for look in sure if look.effect.p_value <= rule.interval_alpha), None)


def _require_shares_of_one(metric: str, values: Floats) -> None:
    odd = values[np.isfinite(values) & (values != 0) & (values != 1)]
    if len(odd):
        raise InvalidDataError(
            f"--test Proportions: {metric!r} holds {len(odd):,} values that are neither 0 nor 1, such as {odd[0]:g}; "
            "take --test AlwaysValid or Welch, which compare means"
        )
