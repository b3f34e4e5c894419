"""An experiment as it is drawn: who got how many units, and the evidence over time with its bounds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from capstan.dashboard.page import ArmShown, EvidencePoint, ExperimentShown, OtherMetric
from capstan.dashboard.verdicts_shown import result_shown, verdicts_shown
from capstan.domain.online_steps import OnlineStep
from capstan.domain.steps.experiment import ExperimentStep
from capstan.domain.steps.experiment_questions import ExperimentQuestion, GuardrailQuestion, SecondaryQuestion
from capstan.domain.steps.questions import Arms, Question
from capstan.domain.verdicts.arm_effects import Covariate, covariate_of
from capstan.domain.verdicts.arms import ArmBounds, ArmsRule, bounds_of
from capstan.domain.verdicts.evidence import ArmsEvidence
from capstan.domain.verdicts.experiments import Test
from capstan.domain.verdicts.sample_ratio import judge_sample_ratio
from capstan.domain.versions import VersionName


def experiment_shown(
    online: OnlineStep, step: ExperimentStep, evidence: Mapping[Arms, ArmsEvidence]
) -> ExperimentShown | None:
    """The experiment by the evidence of its questions, of which the first one's is needed; None: it is not there."""
    question, *others = online.questions
    if not isinstance(question, ExperimentQuestion) or question.asked not in evidence:
        return None
    found, rule, weights = evidence[question.asked], question.rule, online.weights
    assigned = {str(version): found.total(version).assigned for version in weights}
    wanted = {str(version): weight for version, weight in weights.items()}
    return ExperimentShown(
        metric=rule.metric,
        better=rule.better.value,
        rule=rule.named,
        is_running=online.is_running,
        since=online.since,
        until=online.until,
        promote_above=rule.promote_above,
        reject_below=-rule.margin,
        has_one_look=step.is_fixed,
        crossed=found.crossed,
        arms=_arms(online, question, rule, found, has_series=True),
        ratio=result_shown("sample ratio", judge_sample_ratio(assigned, wanted)),
        others=_others(online, others, evidence),
        verdicts=verdicts_shown(online.latest),
    )


def _others(
    online: OnlineStep, questions: Sequence[Question], evidence: Mapping[Arms, ArmsEvidence]
) -> list[OtherMetric]:
    found: dict[tuple[str, str], OtherMetric] = {}
    for question in questions:
        if not isinstance(question, SecondaryQuestion | GuardrailQuestion):
            continue
        purpose = "guardrail" if isinstance(question, GuardrailQuestion) else "secondary"
        rule, known = question.rule, evidence.get(question.asked)
        # A guardrail is one question for each arm, and one row here.
        if known is not None and (rule.metric, purpose) not in found:
            arms = _arms(online, question, rule, known, has_series=False)
            found[rule.metric, purpose] = OtherMetric(
                rule.metric, purpose, rule.better.value, arms, rule.margin
            )
    return list(found.values())


def _arms(
    online: OnlineStep, question: Question, rule: ArmsRule, evidence: ArmsEvidence, *, has_series: bool
) -> list[ArmShown]:
    champion, *rivals = online.weights
    is_due = online.until - online.since >= question.not_before
    bounds = {arm: _bounds(evidence, rule, online, arm) for arm in rivals} if is_due else {}
    series = {arm: _series(evidence, rule, online, arm) for arm in rivals} if has_series else {}
    if question.not_before:
        # Bounds of one look hold at that look alone.
        series = {arm: points[-1:] if is_due else [] for arm, points in series.items()}
    return [
        arm_shown(version, online, evidence, bounds.get(version), series.get(version, ()))
        for version in (champion, *rivals)
    ]


def arm_shown(
    version: VersionName,
    online: OnlineStep,
    evidence: ArmsEvidence,
    bounds: ArmBounds | None,
    series: Sequence[EvidencePoint] = (),
) -> ArmShown:
    """The units of one arm; `bounds` None: it is the champion, or the difference is not known yet."""
    sums = evidence.total(version)
    known = bounds if bounds is not None and _is_known(bounds) else None
    return ArmShown(
        version=version,
        role="champion" if version == online.champion else "challenger",
        wanted=online.weights[version],
        assigned=sums.assigned,
        units=sums.units,
        mean=sums.total / sums.units if sums.units else None,
        difference=known.difference if known is not None else None,
        lower=_finite(known.lower) if known is not None else None,
        upper=_finite(known.upper) if known is not None else None,
        series=series,
    )


def _series(
    evidence: ArmsEvidence, rule: ArmsRule, online: OnlineStep, arm: VersionName
) -> list[EvidencePoint]:
    """What was known of the arm by the units of each day and those before it: the confidence sequence."""
    points: list[EvidencePoint] = []
    # Ranks are of all days together.
    first = len(evidence.days) if rule.test is Test.MANN_WHITNEY else 1
    for count in range(max(first, 1), len(evidence.days) + 1):
        known = replace(evidence, days=evidence.days[:count])
        bounds = _bounds(known, rule, online, arm)
        is_new = not points or points[-1].units < bounds.units
        if _is_known(bounds) and is_new:
            at = min(evidence.days[count - 1].start + timedelta(days=1), online.until)
            points.append(_point(at, bounds))
    return points


def _point(at: datetime, bounds: ArmBounds) -> EvidencePoint:
    return EvidencePoint(at, bounds.difference, _finite(bounds.lower), _finite(bounds.upper), bounds.units)


def _bounds(evidence: ArmsEvidence, rule: ArmsRule, online: OnlineStep, arm: VersionName) -> ArmBounds:
    covariate = Covariate()
    if rule.has_covariate:
        covariate = covariate_of([evidence.total(version) for version in online.weights])
    return bounds_of(evidence, rule, online.champion, arm, covariate)


def _is_known(bounds: ArmBounds) -> bool:
    return bounds.units > 0 and (bounds.blocks is None or bounds.blocks > 0)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
