"""A rollout as the page draws it: its track, the evidence that is in, the interval and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from capstan.dashboard.observation import Observed, ObservedRollout
from capstan.dashboard.online_panel import OnlineStepShown, online_shown
from capstan.dashboard.page import (
    Amount,
    BanditShown,
    ExperimentShown,
    Interval,
    PreferenceShown,
    RolloutShown,
    StepShown,
)
from capstan.dashboard.verdicts_shown import verdicts_shown
from capstan.domain.reasons import Tone
from capstan.domain.rollout import RolloutCause, RolloutPhase, RolloutPolicy, contender
from capstan.domain.steps.step import Step
from capstan.domain.verdicts.evidence import PairedEvidence
from capstan.domain.verdicts.merging import describe_spell
from capstan.domain.verdicts.quality import QualityRule, merged_blocks

_PHASES = {
    RolloutPhase.DEPLOYING: "Deploying",
    RolloutPhase.PROGRESSING: "In progress",
    RolloutPhase.PROMOTING: "Promoting",
    RolloutPhase.ROLLING_BACK: "Rolling back",
    RolloutPhase.PROMOTED: "Promoted",
    RolloutPhase.ROLLED_BACK: "Rolled back",
}


def rollout_shown(seen: Observed, rollout: ObservedRollout, *, is_active: bool) -> RolloutShown:
    """The rollout; only the active one has evidence."""
    request, state = rollout.request, rollout.state
    first = request.cause is RolloutCause.FIRST
    phase = "First deployed" if first and state.phase is RolloutPhase.PROMOTED else _PHASES[state.phase]
    step = _current_step(seen, rollout) if is_active else None
    evidence = seen.evidence if step is not None and step.sets_traffic else None
    rule, online = shown_rule(seen, rollout), _online(seen, rollout)
    return RolloutShown(
        name=request.name,
        mark=f"rollout:{request.name}",
        challenger=contender(request, state).name,
        champion=request.champion.name if request.champion else "",
        cause=request.cause.value,
        phase=phase,
        tone=_tone(rollout),
        is_active=is_active,
        started_at=state.started_at,
        finished_at=state.finished_at,
        why=state.why,
        held=state.held,
        steps=_track(seen, rollout),
        amounts=_amounts(step, seen.policy.rollout, evidence)
        if step is not None and evidence is not None
        else (),
        interval=interval(evidence, rule) if evidence is not None and rule is not None else None,
        disagreement=evidence.disagreement if evidence is not None else None,
        comparison=seen.comparison if evidence is not None else None,
        verdicts=verdicts_shown(state.latest),
        experiment=next((one for one in online if isinstance(one, ExperimentShown)), None),
        bandit=next((one for one in online if isinstance(one, BanditShown)), None),
        preference=next((one for one in online if isinstance(one, PreferenceShown)), None),
        forecasts=state.forecasts,
        left={str(arm): why for arm, why in state.left.items()},
    )


def _online(seen: Observed, rollout: ObservedRollout) -> list[OnlineStepShown]:
    found = seen.online if rollout == seen.foremost else ()
    return [shown for step, evidence in found if (shown := online_shown(step, evidence)) is not None]


def interval(evidence: PairedEvidence, rule: QualityRule) -> Interval | None:
    """The confidence interval that the verdict goes by; None before the first block."""
    merged = merged_blocks(evidence, rule)
    sums = merged.sums
    if sums.blocks == 0:
        return None
    bounds = lower, upper = rule.bounds(merged)
    spell = describe_spell(sums.bounds(rule.radius(sums.blocks)), bounds, "+.4f")
    return Interval(
        metric=rule.metric,
        decide=rule.decide.value,
        difference=sums.difference,
        lower=lower if math.isfinite(lower) else None,
        upper=upper if math.isfinite(upper) else None,
        reject_below=rule.reject_below,
        promote_above=rule.promote_above,
        alpha=rule.alpha,
        is_two_sided=rule.is_two_sided,
        merged="; ".join(part for part in (merged.describe(), spell) if part),
        blocks=[(b.start, b.loss_difference / b.count) for b in evidence.blocks if b.count],
    )


def _tone(rollout: ObservedRollout) -> Tone:
    match rollout.state.phase:
        case RolloutPhase.PROMOTED | RolloutPhase.PROMOTING:
            return Tone.GOOD
        case RolloutPhase.ROLLED_BACK | RolloutPhase.ROLLING_BACK:
            return Tone.BAD
        case _:
            return Tone.WARN if rollout.state.held else Tone.ACTIVE


def _current_step(seen: Observed, rollout: ObservedRollout) -> Step | None:
    steps = seen.policy.rollout.steps
    if rollout.state.phase is not RolloutPhase.PROGRESSING or rollout.state.step >= len(steps):
        return None
    return steps[rollout.state.step]


def shown_rule(seen: Observed, rollout: ObservedRollout) -> QualityRule | None:
    """The rule of the step's first analysis, else of the last step that has one."""
    policy, step = seen.policy.rollout, _current_step(seen, rollout)
    judging = [rules for each in policy.steps if (rules := each.rules(policy))]
    rules = (step.rules(policy) if step is not None else {}) or (judging[-1] if judging else {})
    return next(iter(rules.values()), None)


def _amounts(step: Step, policy: RolloutPolicy, evidence: PairedEvidence) -> list[Amount]:
    return [
        Amount("closed blocks", len(evidence.blocks), step.needed_blocks(policy)),
        Amount("paired requests", evidence.paired_requests, step.needed_pairs(policy)),
        Amount("labelled pairs", evidence.labelled_pairs, step.needed_labels(policy)),
    ]


def _track(seen: Observed, rollout: ObservedRollout) -> list[StepShown]:
    if rollout.request.cause is not RolloutCause.CHALLENGER:
        return _stations(rollout, [], 0)
    steps = seen.policy.rollout.steps
    return _stations(
        rollout, [(s.describe(), _step_detail(seen, rollout, i)) for i, s in enumerate(steps)], len(steps)
    )


def _stations(rollout: ObservedRollout, steps: Sequence[tuple[str, str]], last: int) -> list[StepShown]:
    """Deploy, the file's steps, promote: done, current, failed or still to come."""
    state = rollout.state
    match state.phase:
        case RolloutPhase.DEPLOYING:
            at = 0
        case RolloutPhase.PROMOTING:
            at = last + 1
        case RolloutPhase.PROMOTED:
            at = last + 2
        case _:
            began = state.step_since is not None or state.step > 0 or state.crashes > 0
            at = state.step + 1 if began or state.phase is RolloutPhase.PROGRESSING else 0
    names = [("deploy", ""), *steps, ("promote", "")]
    found = []
    for index, (name, detail) in enumerate(names):
        tone = Tone.GOOD if index < at else Tone.IDLE
        if index == at:
            tone = _tone(rollout)
        found.append(StepShown(name, tone, index == at, detail))
    return found


def _step_detail(seen: Observed, rollout: ObservedRollout, index: int) -> str:
    step, state = seen.policy.rollout.steps[index], rollout.state
    current = index == state.step and state.phase is RolloutPhase.PROGRESSING
    since = state.step_since if current else None
    return step.progress(since, seen.now)
