"""The part of a status that people and tools read: phase, versions and conditions, without floats.

Ready, Reconciling and Stalled mean what kstatus takes them for, so that Helm, Flux and Argo CD agree: a system is
current when its champion is ready, also while a challenger is tried for weeks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from capstan.domain.actions import Plan, Waiting, most_urgent
from capstan.domain.reasons import Reason
from capstan.domain.retraining import describe_circuit
from capstan.domain.rollout import (
    RolloutPhase,
    RolloutRequest,
    RolloutState,
    contender,
    wanted_split,
)
from capstan.domain.steps.step import Step
from capstan.domain.system import Surroundings, SystemState, TrainingState
from capstan.domain.traffic import TrafficSplit, champion_only
from capstan.domain.training import RunPhase
from capstan.domain.triggers import Alert, DriftTrigger, OperationAlert
from capstan.domain.trouble import Away, Trouble
from capstan.domain.versions import ModelVersion, VersionName
from capstan.domain.watching import QuestionStanding, Standing, asides, blind_spots
from capstan.ports.store import Kind, Record

_LONGEST_MESSAGE = 1000
_NOTHING_WATCHED = Standing(None)


_ROLLOUT_PHASES: Mapping[str, str] = {
    RolloutPhase.DEPLOYING: "the new version is being brought up",
    RolloutPhase.PROGRESSING: "the steps of the rollout are being taken",
    RolloutPhase.PROMOTING: "all traffic moves to the new version",
    RolloutPhase.ROLLING_BACK: "all traffic moves back to the champion",
    RolloutPhase.PROMOTED: "the new version is the champion",
    RolloutPhase.ROLLED_BACK: "the new version was taken back",
}
PHASES: Mapping[Kind, Mapping[str, str]] = {
    Kind.SYSTEM: {
        "Starting": "there is no champion yet, and nothing is being trained",
        "Training": "a model is being trained",
        **_ROLLOUT_PHASES,
        "Serving": "the champion answers, and nothing else is in progress",
        "Paused": "a person paused the loop; `capstan resume` goes on",
        "Suspended": "`suspend: true` from the start: nothing was begun",
        "Invalid": "the file cannot be followed; Stalled says why",
        "Deleting": "what is in progress is being ended",
    },
    Kind.RUN: {
        RunPhase.ABSENT: "it has not been started",
        RunPhase.RUNNING: "it trains",
        RunPhase.SUCCEEDED: "it has made a version",
        RunPhase.FAILED: "it ended without a version; the message says why",
        RunPhase.CANCELLED: "a person or a deletion ended it",
    },
    Kind.ROLLOUT: _ROLLOUT_PHASES,
}
"""Every word that a status may have as its phase, and what it means."""


@dataclass(frozen=True)
class Condition:
    """One thing that holds, or not."""

    type: str
    holds: bool | None
    """None: it cannot be said."""
    reason: str
    message: str = ""


def phase_of(state: SystemState, rollout: RolloutState | None) -> str:
    """One of the words of `PHASES`."""
    if state.deleting:
        return "Deleting"
    if state.paused:
        return "Paused"
    if state.rollout is not None:
        return (rollout.phase if rollout is not None else RolloutPhase.DEPLOYING).value
    if state.run is not None:
        return "Training"
    return "Serving" if state.champion is not None else "Starting"


def summarize(
    record: Record,
    state: SystemState,
    rollout: RolloutState | None,
    here: Surroundings,
    plans: Sequence[Plan[Any]],
    now: datetime,
    *,
    steps: tuple[Step, ...] = (),
    alerts: Sequence[Alert] | Away = (),
    operation_alerts: Sequence[OperationAlert] | Away = (),
    standing: Standing | Away = _NOTHING_WATCHED,
    obstacle: str = "",
    outlooks: Sequence[str] = (),
    troubles: Sequence[Trouble] = (),
) -> dict[str, Any]:
    """Printer columns and conditions of an MLSystem; a condition's time moves only when its status does.

    obstacle: objects that the cluster refused, and why. outlooks: when triggers will be due.
    """
    champion, challenger = state.champion, state.rollout.challenger if state.rollout else None
    if state.rollout is not None and rollout is not None:
        challenger = contender(state.rollout, rollout)
    waits = [plan for plan in plans if plan.waiting is not Waiting.NOTHING]
    urgent = most_urgent(*(plan.waiting for plan in waits))
    waited_for = next((plan.message for plan in waits if plan.waiting is urgent), "")
    # The obstacle comes first, because `kubectl get -o wide` cuts a line off at its end.
    message = "; ".join(filter(None, [*map(str, troubles), waited_for]))[:_LONGEST_MESSAGE]
    phase = phase_of(state, rollout)
    degraded = _degraded(state, obstacle, troubles)
    stuck = _stuck(state, degraded, is_idle=state.run is None and state.rollout is None)
    conditions = [
        _ready(champion, here),
        Condition("Progressing", bool(state.run or state.rollout), phase, message),
        degraded,
        _traffic(state, rollout, here, steps),
        _evidence(rollout),
        _watched(champion, standing),
        Condition("Reconciling", champion is None and not stuck.holds, phase, message),
        stuck,
    ]
    return {
        "observedGeneration": record.generation,
        "phase": phase,
        "message": message,
        "champion": _version(champion, here),
        "challenger": _version(challenger, here),
        "drift": _drift(champion, alerts, standing),
        "nextTrainings": list(outlooks),
        "estimatedQuality": _estimated(record, champion, standing),
        "operationAlerts": _operation_alerts(record, operation_alerts),
        "onlineMetrics": _online(record, standing),
        "conditions": _conditions(record, conditions, now),
    }


def summarize_run(record: Record, state: TrainingState, now: datetime) -> dict[str, Any]:
    """Printer columns and conditions of a TrainingRun."""
    result = state.result
    message = result.message[:_LONGEST_MESSAGE] if result is not None else ""
    conditions = _of_work(
        state.phase.value, message, done=state.phase is RunPhase.SUCCEEDED, is_final=state.is_final
    )
    return {
        "observedGeneration": record.generation,
        "phase": state.phase.value,
        "version": result.version.name if result is not None and result.version is not None else "",
        "candidate": result.chosen_in_words if result is not None else "",
        "message": message,
        "conditions": _conditions(record, conditions, now),
    }


def summarize_rollout(
    record: Record, request: RolloutRequest, state: RolloutState, steps: tuple[Step, ...], now: datetime
) -> dict[str, Any]:
    """Printer columns and conditions of a ModelRollout."""
    phase, message = state.phase, (state.why or state.message)[:_LONGEST_MESSAGE]
    stands = phase is RolloutPhase.PROGRESSING and state.step < len(steps)
    split = wanted_split(request, state, steps)
    conditions = _of_work(phase.value, message, done=phase is RolloutPhase.PROMOTED, is_final=phase.is_final)
    return {
        "observedGeneration": record.generation,
        "phase": phase.value,
        "step": f"{state.step + 1}/{len(steps)} {steps[state.step].describe()}" if stands else "",
        "weight": int(split.weight_of(contender(request, state).name)) if split is not None else 0,
        "message": message,
        "conditions": _conditions(record, [*conditions, _evidence(state)], now),
    }


def _of_work(phase: str, message: str, *, done: bool, is_final: bool) -> list[Condition]:
    """Conditions of work that begins and ends: Ready when it ended well, Stalled when it did not."""
    return [
        Condition("Ready", done, phase, message),
        Condition("Reconciling", not is_final, phase),
        Condition("Stalled", is_final and not done, phase),
    ]


def _degraded(state: SystemState, obstacle: str, troubles: Sequence[Trouble]) -> Condition:
    """Everything that is not as it should be; the reason is that of what a person must mend first."""
    retraining = state.retraining
    found: list[tuple[str, str]] = []
    if obstacle:
        found.append((Reason.OBJECT_REFUSED, obstacle))
    if retraining.circuit_open:
        found.append((Reason.CIRCUIT_OPEN, describe_circuit(retraining)))
    found += [(trouble.reason, str(trouble)) for trouble in troubles]
    if retraining.failures and not retraining.circuit_open:
        found.append((Reason.TRAINING_FAILED, retraining.failure))
    if state.away:
        found.append((Reason.PART_AWAY, f"does not answer: {', '.join(sorted(state.away))}"))
    if not found:
        return Condition("Degraded", False, "Healthy")
    message = "; ".join(text for _, text in found if text)
    return Condition("Degraded", True, found[0][0], message[:_LONGEST_MESSAGE])


def _stuck(state: SystemState, degraded: Condition, *, is_idle: bool) -> Condition:
    """Whether nothing will ever serve unless a person acts, or is waited for long."""
    if state.champion is not None or not degraded.holds or degraded.reason == Reason.PART_AWAY:
        return Condition("Stalled", False, "Going")
    if degraded.reason == Reason.TRAINING_FAILED and not is_idle:
        return Condition("Stalled", False, "Going")
    return Condition("Stalled", True, degraded.reason, degraded.message)


def _ready(champion: ModelVersion | None, here: Surroundings) -> Condition:
    if champion is None:
        return Condition("Ready", False, "NoChampion", "no version serves yet")
    if isinstance(here.readiness, Away):
        return Condition("Ready", False, "ChampionNotReady", str(here.readiness))
    if here.is_ready(champion.name):
        return Condition("Ready", True, "ChampionReady", f"{champion.name} serves")
    return Condition("Ready", False, "ChampionNotReady", f"{champion.name} is not ready")


def _traffic(
    state: SystemState, rollout: RolloutState | None, here: Surroundings, steps: tuple[Step, ...]
) -> Condition:
    if isinstance(here.split, Away):
        return Condition("TrafficSynced", None, "GatewayAway", str(here.split))
    if here.split is None:
        return Condition("TrafficSynced", False, "NotRead", "the gateway has no split yet")
    wanted: TrafficSplit | None = None
    if state.rollout is not None and rollout is not None:
        wanted = wanted_split(state.rollout, rollout, steps)
    elif state.champion is not None:
        wanted = champion_only(state.champion.name)
    if wanted is None or here.split == wanted:
        return Condition("TrafficSynced", True, "ReadBack")
    return Condition("TrafficSynced", False, "NotObeyed", "the gateway obeys another split than is wanted")


def _evidence(rollout: RolloutState | None) -> Condition:
    if rollout is None:
        return Condition("EvidenceSufficient", None, "NoRollout")
    if rollout.phase is not RolloutPhase.PROGRESSING:
        return Condition("EvidenceSufficient", None, rollout.phase.value)
    if rollout.waiting == Waiting.EVIDENCE or not rollout.waiting:
        return Condition(
            "EvidenceSufficient", False, rollout.held or "Waiting", rollout.message[:_LONGEST_MESSAGE]
        )
    return Condition("EvidenceSufficient", True, "Decided", rollout.message[:_LONGEST_MESSAGE])


def _drift(champion: ModelVersion | None, alerts: Sequence[Alert] | Away, standing: Standing | Away) -> str:
    if isinstance(alerts, Away):
        return "Unknown"
    if champion is None:
        return ""
    if any(alert.version == champion.name and alert.trigger == DriftTrigger.name for alert in alerts):
        return "Drifted"
    if isinstance(standing, Away):
        return "Unknown"
    inputs = [
        question for question in _questions(champion, standing) if question.trigger == DriftTrigger.name
    ]
    judged = inputs and all(question.end is not None and not question.unjudged for question in inputs)
    if not judged:
        return "NotJudged"
    return "SliceDrifted" if any(question.besides for question in inputs) else "Stable"


def _estimated(record: Record, champion: ModelVersion | None, standing: Standing | Away) -> str:
    """What the champion's quality probably is, in words; while the monitor is away, what was last told."""
    if isinstance(standing, Away):
        return str(record.status.get("estimatedQuality") or "")
    if champion is None or standing.version != champion.name or standing.estimated is None:
        return ""
    return str(standing.estimated)[:_LONGEST_MESSAGE]


def _watched(champion: ModelVersion | None, standing: Standing | Away) -> Condition:
    """Whether the last windows of the champion had a verdict. Without one, the absence of alerts means nothing."""
    if champion is None:
        return Condition("Watched", None, "NoChampion")
    if isinstance(standing, Away):
        return Condition("Watched", None, "MonitorAway", str(standing)[:_LONGEST_MESSAGE])
    questions = _questions(champion, standing)
    if spots := blind_spots(questions):
        return Condition("Watched", False, "NotJudged", spots[:_LONGEST_MESSAGE])
    waiting = [question.name for question in questions if question.end is None]
    if waiting or not questions:
        of = f" of {', '.join(waiting)}" if len(waiting) < len(questions) else ""
        return Condition("Watched", None, "NoWindowYet", f"no window{of} of {champion.name} has closed yet")
    told = "drift, predictions and quality were judged in the last window"
    besides = f"; {found}" if (found := asides(questions)) else ""
    return Condition("Watched", True, "Judged", f"{told}{besides}"[:_LONGEST_MESSAGE])


def _questions(champion: ModelVersion, standing: Standing) -> tuple[QuestionStanding, ...]:
    return standing.questions if standing.version == champion.name else ()


def _online(record: Record, standing: Standing | Away) -> list[dict[str, Any]]:
    """What users did after answers, by version, in texts: a status has no floats."""
    if isinstance(standing, Away):
        return list(record.status.get("onlineMetrics") or ())
    return [
        {
            "metric": one.metric,
            "title": one.title,
            "better": one.better,
            "version": one.version,
            "value": _number(one.value),
            "standardError": _number(one.standard_error),
            "units": one.units,
            "coverage": f"{one.coverage:.0%}",
            "delay": "" if one.delay is None else str(timedelta(seconds=round(one.delay.total_seconds()))),
            "to": one.end.isoformat(),
        }
        for one in standing.online
    ]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _operation_alerts(record: Record, alerts: Sequence[OperationAlert] | Away) -> list[dict[str, Any]]:
    """Alerts that fire. An alert keeps its first words, since its numbers change with each evaluation."""
    before = {
        (told["name"], told["version"], told.get("slo", "")): told
        for told in record.status.get("operationAlerts") or ()
    }
    if isinstance(alerts, Away):
        return list(before.values())
    return [
        before.get(alert.key)
        or {
            "name": alert.name,
            "version": alert.version,
            "since": alert.since.isoformat(),
            "summary": alert.summary[:_LONGEST_MESSAGE],
            **({"slo": alert.slo} if alert.slo else {}),
        }
        for alert in alerts
    ]


def _version(version: ModelVersion | None, here: Surroundings) -> dict[str, Any] | None:
    if version is None:
        return None
    return {"version": version.name, "digest": version.digest, "weight": _weight(version.name, here)}


def _weight(version: VersionName, here: Surroundings) -> int | None:
    if isinstance(here.split, Away) or here.split is None:
        return None
    return int(here.split.weight_of(version))


def _conditions(record: Record, conditions: Sequence[Condition], now: datetime) -> list[dict[str, Any]]:
    before: Mapping[str, Any] = {
        condition["type"]: condition for condition in record.status.get("conditions", ())
    }
    result = []
    for condition in conditions:
        word = "Unknown" if condition.holds is None else str(condition.holds)
        old = before.get(condition.type)
        since = old["lastTransitionTime"] if old and old["status"] == word else now.isoformat()
        result.append(
            {
                "type": condition.type,
                "status": word,
                "reason": condition.reason,
                "message": condition.message,
                "lastTransitionTime": since,
            }
        )
    return result
