"""One line of the list of systems, by what the store holds alone: cheap, whatever is away."""

from __future__ import annotations

from capstan.dashboard.page import SystemShown
from capstan.domain.actions import Waiting
from capstan.domain.reasons import Tone
from capstan.domain.retraining import describe_circuit
from capstan.domain.rollout import RolloutCause, RolloutPhase, RolloutState, contender
from capstan.domain.system import SystemState
from capstan.engine.policies import document_of
from capstan.engine.records import rollout_request, rollout_state, system_state
from capstan.engine.summary import phase_of
from capstan.ports.store import Kind, Record, Store

_TONES = {
    "Serving": Tone.GOOD,
    "Promoted": Tone.GOOD,
    "Promoting": Tone.GOOD,
    "Training": Tone.ACTIVE,
    "Deploying": Tone.ACTIVE,
    "Progressing": Tone.ACTIVE,
    "Starting": Tone.ACTIVE,
    "RollingBack": Tone.BAD,
    "RolledBack": Tone.BAD,
    "Invalid": Tone.BAD,
}


def system_shown(store: Store, record: Record, namespace: str) -> SystemShown:
    """The line of one system."""
    state = system_state(record)
    document = document_of(record)
    found = store.get(Kind.ROLLOUT, state.rollout.name) if state.rollout is not None else None
    rollout = rollout_state(found) if found is not None else None
    phase = str(record.status.get("phase") or phase_of(state, rollout))
    challenger = ""
    if state.rollout is not None:
        challenger = (contender(state.rollout, rollout) if rollout else state.rollout.challenger).name
    verdict, tone = _verdict(rollout) if rollout is not None else _last_outcome(store, record)
    alerts = [str(alert.get("name")) for alert in record.status.get("operationAlerts") or ()]
    return SystemShown(
        namespace=namespace,
        name=record.name,
        objective=str((document.get("spec") or {}).get("objective", {}).get("business") or ""),
        phase=phase,
        tone=_TONES.get(phase, Tone.WARN),
        message=str(record.status.get("message") or ""),
        champion=state.champion.name if state.champion is not None else "",
        champion_weight=_weight(record, "champion"),
        challenger=challenger,
        challenger_weight=_weight(record, "challenger"),
        verdict=verdict,
        verdict_tone=tone,
        drift=str(record.status.get("drift") or ""),
        alerts=len(state.firing) + len(alerts),
        alert_names=sorted({*alerts, *(["drift or quality"] if state.firing else [])}),
        waits_for_a_person=waits_for_a_person(state, rollout),
    )


def waits_for_a_person(state: SystemState, rollout: RolloutState | None) -> str:
    """What goes on only when a person says so, in words; empty: nothing does."""
    waits = []
    if state.paused:
        waits.append("paused; resume goes on")
    if state.retraining.circuit_open:
        waits.append(f"{describe_circuit(state.retraining)}")
    elif state.retraining.pending is not None and state.retraining.held:
        words = {"ApprovalRequired": "a training waits for approval", "LoopBroken": "a training is held"}
        if state.retraining.held in words:
            waits.append(f"{words[state.retraining.held]}: {state.retraining.pending.reason}")
    if rollout is not None and rollout.waiting == Waiting.APPROVAL:
        waits.append(rollout.message or "a step waits for approval")
    return "; ".join(waits)


def _last_outcome(store: Store, record: Record) -> tuple[str, Tone]:
    """What became of the last challenger, while none is on its way."""
    ended = [
        (state.finished_at, request, state)
        for found in store.list(Kind.ROLLOUT, record.system)
        for request, state in [(rollout_request(found), rollout_state(found))]
        if state.finished_at is not None and request.cause is RolloutCause.CHALLENGER
    ]
    if not ended:
        return "", Tone.IDLE
    _, request, state = max(ended, key=lambda one: one[0])
    promoted = state.phase is RolloutPhase.PROMOTED
    name = contender(request, state).name
    return (f"{name} promoted", Tone.GOOD) if promoted else (f"{name} rolled back", Tone.BAD)


def _verdict(rollout: RolloutState) -> tuple[str, Tone]:
    """The newest judgement of the rollout in progress."""
    if not rollout.latest:
        return "", Tone.IDLE
    name, latest = max(rollout.latest.items(), key=lambda item: item[1].at)
    tones = {"Successful": Tone.GOOD, "Failed": Tone.BAD, "Error": Tone.WARN}
    return f"{name}: {latest.outcome}", tones.get(latest.outcome, Tone.IDLE)


def _weight(record: Record, who: str) -> int | None:
    """The share that the gateway was seen to give it; None: it was not seen, or there is no such version."""
    told = record.status.get(who) or {}
    weight = told.get("weight")
    return int(weight) if weight is not None else None
