"""One challenger against control by one metric: its effect, its looks over time, its slices and its verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from capstan.domain.verdicts.analysis import AnalysisResult
from capstan.domain.verdicts.experiments import NO_EFFECT, Effect, ExperimentRule, Test, judge_effect
from capstan.domain.verdicts.sample_ratio import freeze_on_mismatch
from capstan.evaluation.experiments.columns import Block
from capstan.evaluation.experiments.effects import effect, given, moments
from capstan.evaluation.experiments.findings import Comparison, SliceEffect
from capstan.evaluation.experiments.over_time import BlockTable, Correlation, Look, block_table
from capstan.evaluation.experiments.plan import ExperimentPlan
from capstan.evaluation.experiments.units import Mask, Masks, Units

Floats = npt.NDArray[np.float64]

_SURELY_DISPERSED = 0.001


@dataclass(frozen=True)
class Compared:
    """A comparison before it is judged together with the others."""

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


class Comparer:
    """Compares the arms of one log by the rule of its plan."""

    def __init__(self, units: Units, plan: ExperimentPlan, rule: ExperimentRule, members: Masks) -> None:
        self._units, self._plan, self._rule, self._members = units, plan, rule, members
        self.warnings: list[str] = []

    def compared(self, arm: str, metric: str, values: Floats) -> Compared:
        """The effect now, and at every look where the rule allows any; `values` come from `Outcomes`."""
        mask, base = self._members[arm], self._members[self._plan.control]
        first, second = given(values, base), given(values, mask)
        raw = self._units.metrics[metric]
        cap = self._plan.caps.get(metric, math.inf)
        control_mean = moments(np.minimum(given(raw, base), cap)).mean
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
        return Compared(
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
            self.warnings.append(
                f"{metric} of {arm}: the effect differs from day to day {correlation.dispersion:.1f} times as much as "
                "independent units explain, so the interval is too narrow; take --by Day"
            )

    def judged(
        self, one: Compared, adjusted: float, frozen: Sequence[AnalysisResult | None], values: Floats
    ) -> Comparison:
        """With Holm's p-value `adjusted`, and frozen for the first of `frozen` that failed."""
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
        result = freeze_on_mismatch(result, *frozen)
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
            first, second = given(values, base & inside), given(values, mask & inside)
            found.append(SliceEffect(column, value, len(first), len(second), effect(first, second, rule)))
        return tuple(found)


def _crossing(looks: list[Look], rule: ExperimentRule) -> Look | None:
    sure = (look for look in looks if look.units >= rule.least_units)
    return next((look for look in sure if look.effect.p_value <= rule.interval_alpha), None)
