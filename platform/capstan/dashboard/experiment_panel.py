"""An experiment as the page draws it: who got how many units, and the evidence over time with its bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from capstan.dashboard.observation import Observed, ObservedRollout
from capstan.dashboard.page import ArmShown, EvidencePoint, ExperimentShown
from capstan.domain.rollout import RolloutCause, RolloutPhase, contender
from capstan.domain.steps.experiment import ExperimentStep
from capstan.domain.steps.questions import Arms
from capstan.domain.verdicts.arm_effects import Covariate, covariate_of
from capstan.domain.verdicts.arms import ArmBounds, ArmsRule, bounds_of
from capstan.domain.verdicts.evidence import ArmsEvidence
from capstan.domain.verdicts.experiments import Test
from capstan.domain.versions import VersionName


@dataclass(frozen=True)
class ShownExperiment:
    """The experiment that the page shows, and what must be asked for it."""

    step: ExperimentStep
    need: Arms
    weights: Mapping[VersionName, int]
    """In the split's order, the champion first."""
    since: datetime
    until: datetime
    is_running: bool


def experiment_of(seen: Observed, rollout: ObservedRollout) -> ShownExperiment | None:
    """The experiment that runs, else the last one that the rollout has been through; None: there is none."""
    request, state, steps = rollout.request, rollout.state, seen.policy.rollout.steps
    if request.champion is None or request.cause is not RolloutCause.CHALLENGER:
        return None
    if state.policy_digest != seen.policy.rollout.digest:
        return None
    champion = request.champion.name
    if state.phase is RolloutPhase.PROGRESSING and state.step < len(steps) and state.step_since is not None:
        step = steps[state.step]
        if isinstance(step, ExperimentStep):
            split = step.split(champion, contender(request, state).name, request.name, state)
            weights = {arm.version: int(arm.weight) for arm in split.arms}
            return _shown(step, weights, state.step_since, seen.now, is_running=True)
    for span in reversed(state.spans):
        step = steps[min(span.step, len(steps) - 1)]
        if isinstance(step, ExperimentStep):
            known = {version.name for version in request.others}
            rivals = {request.challenger.name: int(step.weight)}
            rivals |= {arm.version: int(arm.weight) for arm in step.arms if arm.version in known}
            weights = {champion: 100 - sum(rivals.values()), **rivals}
            return _shown(step, weights, span.since, span.until, is_running=False)
    return None


def _shown(
    step: ExperimentStep,
    weights: Mapping[VersionName, int],
    since: datetime,
    until: datetime,
    *,
    is_running: bool,
) -> ShownExperiment:
    return ShownExperiment(step, step.need_of(tuple(weights)), weights, since, until, is_running)


def experiment_shown(shown: ShownExperiment, evidence: ArmsEvidence) -> ExperimentShown:
    """The experiment with its evidence."""
    rule = shown.step.rule(len(shown.step.others) + 1)
    champion, *rivals = shown.weights
    covariate = _covariate(evidence, shown)
    final = {arm: bounds_of(evidence, rule, champion, arm, covariate) for arm in rivals}
    series = {arm: _series(evidence, rule, champion, arm, shown) for arm in rivals}
    arms = []
    for version, weight in shown.weights.items():
        sums = evidence.total(version)
        bounds = final.get(version)
        arms.append(
            ArmShown(
                version=version,
                role="champion" if version == champion else "challenger",
                wanted=weight,
                assigned=sums.assigned,
                units=sums.units,
                mean=sums.total / sums.units if sums.units else None,
                difference=bounds.difference if bounds is not None and _is_known(bounds) else None,
                lower=_finite(bounds.lower) if bounds is not None else None,
                upper=_finite(bounds.upper) if bounds is not None else None,
                series=series.get(version, ()),
            )
        )
    return ExperimentShown(
        metric=rule.metric,
        better=rule.better.value,
        rule=rule.named,
        is_running=shown.is_running,
        since=shown.since,
        until=shown.until,
        promote_above=rule.promote_above,
        reject_below=-rule.margin,
        crossed=evidence.crossed,
        arms=arms,
    )


def _series(
    evidence: ArmsEvidence, rule: ArmsRule, champion: VersionName, arm: VersionName, shown: ShownExperiment
) -> list[EvidencePoint]:
    """What was known of the arm by the units of each day and those before it: the confidence sequence."""
    points = []
    # Ranks are of all days together.
    first = len(evidence.days) if rule.test is Test.MANN_WHITNEY else 1
    for count in range(max(first, 1), len(evidence.days) + 1):
        known = replace(evidence, days=evidence.days[:count])
        bounds = bounds_of(known, rule, champion, arm, _covariate(known, shown))
        if _is_known(bounds):
            at = evidence.days[count - 1].start + timedelta(days=1)
            points.append(
                EvidencePoint(
                    at, bounds.difference, _finite(bounds.lower), _finite(bounds.upper), bounds.units
                )
            )
    return points


def _covariate(evidence: ArmsEvidence, shown: ShownExperiment) -> Covariate:
    if shown.step.covariate is None:
        return Covariate()
    return covariate_of([evidence.total(version) for version in shown.weights])


def _is_known(bounds: ArmBounds) -> bool:
    return bounds.units > 0 and (bounds.blocks is None or bounds.blocks > 0)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
