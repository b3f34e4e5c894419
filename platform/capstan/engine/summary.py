"""The part of a status that people and tools read: phase, versions and conditions, without floats."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from capstan.domain.actions import Away, Plan, Waiting, most_urgent
from capstan.domain.rollout import RolloutState
from capstan.domain.system import Surroundings, SystemState
from capstan.domain.versions import ModelVersion, VersionName
from capstan.ports.store import Record


def phase_of(state: SystemState, rollout: RolloutState | None) -> str:
    """One word: `Deleting`, `Paused`, `Training`, `RollingOut`, `Serving`, or `Starting` while there is no champion."""
    if state.deleting:
        return "Deleting"
    if state.paused:
        return "Paused"
    if state.rollout is not None:
        return rollout.phase.value if rollout is not None else "Deploying"
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
) -> dict[str, Any]:
    """Printer columns and conditions of an MLSystem; a condition's time moves only when its status does."""
    champion, challenger = state.champion, state.rollout.challenger if state.rollout else None
    waits = [plan for plan in plans if plan.waiting is not Waiting.NOTHING]
    urgent = most_urgent(*(plan.waiting for plan in waits))
    message = next((plan.message for plan in waits if plan.waiting is urgent), "")
    ready = champion is not None and here.is_ready(champion.name)
    conditions = [
        ("Ready", ready, "ChampionReady" if ready else "ChampionNotReady", ""),
        ("Progressing", bool(state.run or state.rollout), phase_of(state, rollout), message),
        (
            "Degraded",
            bool(state.away) or state.retraining.circuit_open,
            "CircuitOpen" if state.retraining.circuit_open else ("PartAway" if state.away else "Healthy"),
            ", ".join(sorted(state.away)),
        ),
        ("TrafficSynced", not isinstance(here.split, Away) and here.split is not None, "ReadBack", ""),
    ]
    return {
        "observedGeneration": record.generation,
        "phase": phase_of(state, rollout),
        "champion": _version(champion, here),
        "challenger": _version(challenger, here),
        "conditions": _conditions(record.status, conditions, now),
    }


def _version(version: ModelVersion | None, here: Surroundings) -> dict[str, Any] | None:
    if version is None:
        return None
    return {"version": version.name, "digest": version.digest, "weight": _weight(version.name, here)}


def _weight(version: VersionName, here: Surroundings) -> int | None:
    if isinstance(here.split, Away) or here.split is None:
        return None
    return int(here.split.weight_of(version))


def _conditions(
    status: Mapping[str, Any], conditions: Sequence[tuple[str, bool, str, str]], now: datetime
) -> list[dict[str, Any]]:
    before = {condition["type"]: condition for condition in status.get("conditions", ())}
    result = []
    for kind, holds, reason, message in conditions:
        word = "True" if holds else "False"
        old = before.get(kind)
        since = old["lastTransitionTime"] if old and old["status"] == word else now.isoformat()
        result.append(
            {"type": kind, "status": word, "reason": reason, "message": message, "lastTransitionTime": since}
        )
    return result
