"""What an experiment's log says: arms, sample ratio, effects, slices and the verdict of each comparison."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from capstan.domain.verdicts.analysis import AnalysisResult
from capstan.domain.verdicts.experiments import ExperimentRule, holm
from capstan.domain.verdicts.sample_ratio import judge_sample_ratio
from capstan.domain.verdicts.validity import judge_covariate, judge_crossing, judge_outcomes
from capstan.evaluation.experiments.comparing import Comparer
from capstan.evaluation.experiments.effects import given, moments
from capstan.evaluation.experiments.findings import ArmOutcome, ExperimentAnalysis
from capstan.evaluation.experiments.outcomes import Outcomes
from capstan.evaluation.experiments.plan import ExperimentPlan, require_shares
from capstan.evaluation.experiments.units import Masks, Units


def analyse(units: Units, plan: ExperimentPlan) -> ExperimentAnalysis:
    """Every challenger against control by every metric; raises InvalidSpecError where plan and log do not fit."""
    shares = require_shares(units, plan)
    challengers = [arm for arm in shares if arm != plan.control]
    rule = replace(plan.rule, comparisons=len(challengers) * len(units.metrics))
    members = units.members(list(shares))
    assigned = {arm: int(mask.sum()) for arm, mask in members.items()}
    ratio = _ratio(units, members, assigned, shares)
    outcomes = Outcomes(units, plan, rule, members)
    values = {metric: outcomes.prepared(metric, found) for metric, found in units.metrics.items()}
    comparer = Comparer(units, plan, rule, members)
    compared = [comparer.compared(arm, metric, values[metric]) for metric in values for arm in challengers]
    adjusted = holm([one.p_value for one in compared])
    troubles = [ratio, *_troubles(units, plan, rule, members)]
    uneven = {metric: _uneven(metric, outcomes.by_arm, assigned) for metric in values}
    assumed = ["no --shares were given: equal shares of all arms are assumed"] if plan.shares is None else []
    return ExperimentAnalysis(
        rows=units.rows,
        units=assigned,
        shares=shares,
        ratio=ratio,
        crossed=units.crossed,
        crossed_left_out=units.crossed_left_out,
        crossed_examples=units.crossed_examples,
        outcomes=tuple(outcomes.by_arm),
        cuped=tuple(outcomes.cuped),
        comparisons=tuple(
            comparer.judged(one, p, [*troubles, uneven[one.metric]], values[one.metric])
            for one, p in zip(compared, adjusted, strict=True)
        ),
        control=plan.control,
        rule=rule,
        warnings=(*assumed, *outcomes.warnings, *comparer.warnings),
    )


def _ratio(
    units: Units, members: Masks, assigned: Mapping[str, int], shares: Mapping[str, int]
) -> AnalysisResult:
    """The sequential test at the end of every block: an alarm is never undone."""
    latch = None
    if units.block is not None:
        size = len(units.blocks)
        entered = {
            arm: np.cumsum(np.bincount(units.block[mask], minlength=size)) for arm, mask in members.items()
        }
        for place in range(size):
            until = {arm: int(numbers[place]) for arm, numbers in entered.items()}
            latch = judge_sample_ratio(until, shares, latched=latch).latch
    return judge_sample_ratio(assigned, shares, latched=latch)


def _troubles(
    units: Units, plan: ExperimentPlan, rule: ExperimentRule, members: Masks
) -> list[AnalysisResult | None]:
    """What freezes every comparison, beside the sample ratio."""
    found = [judge_crossing(units.crossed, units.count + units.crossed_left_out)]
    if units.covariate is not None:
        arms = {arm: moments(given(units.covariate, mask)) for arm, mask in members.items()}
        found.append(judge_covariate(arms, control=plan.control, planned_units=rule.planned_units))
    return found


def _uneven(metric: str, outcomes: list[ArmOutcome], assigned: Mapping[str, int]) -> AnalysisResult | None:
    counts = {one.arm: one.units for one in outcomes if one.metric == metric}
    there = {arm: count for arm, count in assigned.items() if count}
    result = judge_outcomes(counts, there, metric=metric)
    if result is None:
        return None
    return replace(
        result, message=f"{result.message}; where no outcome means nothing happened, take --missing Zero"
    )
