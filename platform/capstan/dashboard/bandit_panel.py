"""A bandit as it is drawn: the weights that it gave its arms, and what that has cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from capstan.dashboard.experiment_panel import arm_shown
from capstan.dashboard.page import ArmShown, BanditShown, MoveShown, OtherMetric, RegretPoint
from capstan.dashboard.verdicts_shown import result_shown, verdicts_shown
from capstan.domain.moving_weights import MILLIONTHS, MovedWeights
from capstan.domain.online_steps import OnlineStep
from capstan.domain.steps.bandit import BanditQuestion, BanditStep
from capstan.domain.steps.experiment_questions import GuardrailQuestion
from capstan.domain.steps.questions import Arms
from capstan.domain.verdicts.arms import ArmsRule
from capstan.domain.verdicts.bandit_inference import regret
from capstan.domain.verdicts.evidence import ArmsEvidence
from capstan.domain.verdicts.moving_shares import MovingShares
from capstan.domain.versions import VersionName


def bandit_shown(online: OnlineStep, step: BanditStep, evidence: Mapping[Arms, ArmsEvidence]) -> BanditShown:
    """The bandit by the evidence of its questions.

    Without that of the first one its arms are not known, and regret is until its weights last moved.
    """
    rule = step.rule()
    moves = online.moves or (MovedWeights(online.weights, since=online.since),)
    found = next(
        (evidence.get(one.asked) for one in online.questions if isinstance(one, BanditQuestion)), None
    )
    return BanditShown(
        policy=step.shares.policy.value,
        metric=rule.metric,
        better=rule.better.value,
        rule=rule.named,
        is_running=online.is_running,
        since=online.since,
        until=online.until,
        moves=[
            MoveShown(
                at=move.since or online.until,
                weights={str(version): weight for version, weight in move.weights.items()},
                means={str(version): mean / MILLIONTHS for version, mean in move.means.items()},
            )
            for move in moves
        ],
        regret=_regret(online, step, moves, found),
        arms=_arms(online, rule, step.compared(moves), found) if found is not None else (),
        ratio=result_shown("sample ratio", step.compared(moves).ratio(found)) if found is not None else None,
        others=_guardrails(online, step, moves, evidence),
        verdicts=verdicts_shown(online.latest),
    )


def _arms(online: OnlineStep, rule: ArmsRule, shares: MovingShares, evidence: ArmsEvidence) -> list[ArmShown]:
    champion, *rivals = online.weights
    bounds = {arm: shares.bounds(evidence, rule, champion, arm) for arm in rivals}
    means = shares.means(evidence, tuple(online.weights))
    return [
        # Plain means of a bandit's arms are too low.
        replace(arm_shown(version, online, evidence, bounds.get(version)), mean=means.get(version))
        for version in online.weights
    ]


def _guardrails(
    online: OnlineStep, step: BanditStep, moves: Sequence[MovedWeights], evidence: Mapping[Arms, ArmsEvidence]
) -> list[OtherMetric]:
    """A guardrail is one question for each arm, and one row here."""
    found: dict[str, OtherMetric] = {}
    for question in online.questions:
        if not isinstance(question, GuardrailQuestion) or question.rule.metric in found:
            continue
        rule, known = question.rule, evidence.get(question.asked)
        if known is not None:
            arms = _arms(online, rule, step.compared(moves, rule.better), known)
            found[rule.metric] = OtherMetric(rule.metric, "guardrail", rule.better.value, arms)
    return list(found.values())


def _regret(
    online: OnlineStep, step: BanditStep, moves: Sequence[MovedWeights], evidence: ArmsEvidence | None
) -> list[RegretPoint]:
    if evidence is not None:
        means = step.compared(moves).means(evidence, tuple(online.weights))
        met = _assigned_by_stretch(online, evidence)
    else:
        means = {version: mean / MILLIONTHS for version, mean in moves[-1].means.items()}
        met = [(move.since or online.until, move.assigned) for move in moves]
    if means.keys() != online.weights.keys():
        return []
    rewards = {str(version): step.rule().sign * mean for version, mean in means.items()}
    points = []
    for at, assigned in met:
        # Units of arms that left have lost nothing that these means could tell.
        counts = {str(version): count for version, count in assigned.items() if version in means}
        lost = regret(counts, rewards)
        points.append(RegretPoint(at, sum(counts.values()), lost.bandit, lost.even))
    return points


def _assigned_by_stretch(
    online: OnlineStep, evidence: ArmsEvidence
) -> list[tuple[datetime, Mapping[VersionName, int]]]:
    """Units of each arm until the end of each stretch; of one whose units say their own shares there are several."""
    met: Counter[VersionName] = Counter()
    found: list[tuple[datetime, Mapping[VersionName, int]]] = [(online.since, {})]
    for index, stretch in enumerate(evidence.days):
        met.update({version: sums.assigned for version, sums in stretch.arms.items()})
        is_last = index + 1 == len(evidence.days)
        end = online.until if is_last else evidence.days[index + 1].start
        if is_last or end != stretch.start:
            found.append((end, dict(met)))
    return found
