"""A rollout as the page draws it: its track, the evidence that is in, the interval and the verdicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime, timedelta

from capstan.dashboard.page import Amount, Interval, RolloutShown, StepShown, VerdictShown
from capstan.dashboard.seen import Observed, ObservedRollout
from capstan.domain.reasons import Tone
from capstan.domain.rollout import (
    CanaryStep,
    PauseStep,
    RolloutCause,
    RolloutPhase,
    ShadowStep,
    Step,
    describe_step,
)
from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.blocks import sum_blocks
from capstan.domain.verdicts.evidence import PairedEvidence
from capstan.domain.verdicts.quality import QualityRule

_TONES = {
    Verdict.SUCCESSFUL.value: Tone.GOOD,
    Verdict.FAILED.value: Tone.BAD,
    Verdict.INCONCLUSIVE.value: Tone.IDLE,
    Verdict.ERROR.value: Tone.WARN,
}
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
    evidence = seen.evidence if isinstance(step, ShadowStep | CanaryStep) else None
    rule = shown_rule(seen, rollout)
    return RolloutShown(
        name=request.name,
        mark=f"rollout:{request.name}",
        challenger=request.challenger.name,
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
        amounts=_amounts(step, rule, evidence) if evidence is not None else (),
        interval=interval(evidence, rule) if evidence is not None and rule is not None else None,
        disagreement=evidence.disagreement if evidence is not None else None,
        verdicts=[
            VerdictShown(name, latest.outcome, _TONES.get(latest.outcome, Tone.IDLE), latest.message)
            for name, latest in sorted(state.latest.items())
        ],
    )


def interval(evidence: PairedEvidence, rule: QualityRule) -> Interval | None:
    """The confidence interval that the verdict goes by; None before the first block."""
    sums = sum_blocks(evidence.blocks)
    if sums.blocks == 0:
        return None
    lower, upper = sums.bounds(rule.radius(sums.blocks))
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
    """The rule of the step's first analysis, else of the analysis that an earlier shadow step was decided by."""
    policy, step = seen.policy.rollout, _current_step(seen, rollout)
    if isinstance(step, ShadowStep | CanaryStep) and step.analyses:
        return policy.rule_for(step.analyses[0], step)
    earlier = [s for s in policy.steps if isinstance(s, ShadowStep) and s.analyses]
    return policy.rule_for(earlier[-1].analyses[0], earlier[-1]) if earlier else None


def _amounts(step: Step | None, rule: QualityRule | None, evidence: PairedEvidence) -> list[Amount]:
    shadow = isinstance(step, ShadowStep) and rule is not None
    return [
        Amount("closed blocks", len(evidence.blocks), rule.least_blocks if shadow and rule else 0),
        Amount("paired requests", evidence.paired_requests, rule.min_requests if shadow and rule else 0),
        Amount("labelled pairs", evidence.labelled_pairs, rule.min_labels if shadow and rule else 0),
    ]


def _track(seen: Observed, rollout: ObservedRollout) -> list[StepShown]:
    if rollout.request.cause is not RolloutCause.CHALLENGER:
        return _stations(rollout, [], 0)
    steps = seen.policy.rollout.steps
    return _stations(
        rollout, [(describe_step(s), _step_detail(seen, rollout, i)) for i, s in enumerate(steps)], len(steps)
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
    if isinstance(step, PauseStep):
        return _elapsed(since, step.duration, seen.now) if step.duration else "until approved"
    if isinstance(step, ShadowStep) and not step.duration:
        if current and since is not None:
            return f"day {(seen.now - since).days + 1}" + (
                f" of ≤ {step.deadline.days}" if step.deadline else ""
            )
        return f"≥ {step.min_blocks} blocks"
    return _elapsed(since, step.duration, seen.now)


def _elapsed(since: datetime | None, duration: timedelta, now: datetime) -> str:
    if since is None:
        return _words(duration)
    return f"{_words(min(max(now - since, timedelta(0)), duration))} of {_words(duration)}"


def _words(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f}".removesuffix(".0") + f" {unit}"
    return f"{seconds} s"
