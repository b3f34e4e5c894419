"""One pipeline run without serving: `capstan train`."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import orjson

from capstan.domain.planners.training import remarks
from capstan.domain.reasons import Reason
from capstan.domain.system import TrainingState, as_stored
from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName
from capstan.embedded.known_folders import remember
from capstan.embedded.layout import StateDir
from capstan.embedded.wiring import spec_document, wire_training
from capstan.engine.records import run_record, system_state
from capstan.ports.codec import to_json
from capstan.ports.pipelines import Pipelines
from capstan.ports.store import Event, Kind, Store
from capstan.spec import MLSystem

ASKED_BY = "capstan train"
"""Reason of the trigger of every run that was made without serving."""


@dataclass(frozen=True)
class Trained:
    """One run and what came of it."""

    request: TrainingRequest
    status: RunStatus


def request_for(system: MLSystem, store: Store, *, as_of: datetime) -> TrainingRequest:
    """The request of a person. The same file, champion and moment always give the same run."""
    name = SystemName(system.metadata.name)
    record = store.get(Kind.SYSTEM, name)
    champion = system_state(record).champion if record is not None else None
    identity = [spec_document(system), as_of, champion.name if champion else None]
    digest = hashlib.sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()
    return TrainingRequest(
        run=RunName(f"{name}-train-{digest[:10]}"),
        system=name,
        trigger=Trigger(TriggerKind.MANUAL, as_of, ASKED_BY),
        champion=champion.name if champion else None,
        seed=system.spec.training.seed,
    )


def train(
    system: MLSystem,
    state: StateDir,
    *,
    as_of: datetime,
    clock: Callable[[], datetime],
    watch: Callable[[RunStatus], bool],
) -> Trained:
    """Run the pipeline until it ends, or until `watch`, called again and again, says False: then it is cancelled.

    The version that comes of it is registered and served by nobody. The run is kept in the store like any other.
    """
    state.prepare(SystemName(system.metadata.name))
    remember(state)
    with wire_training(system, state) as (pipelines, store):
        return run_to_end(pipelines, store, request_for(system, store, as_of=as_of), clock, watch)


def run_to_end(
    pipelines: Pipelines,
    store: Store,
    request: TrainingRequest,
    clock: Callable[[], datetime],
    watch: Callable[[RunStatus], bool],
) -> Trained:
    """Start the run, or look at it where it exists, and keep its record."""
    began = clock()
    pipelines.start(request)
    while (status := pipelines.status(request.run)).phase in (RunPhase.RUNNING, RunPhase.ABSENT):
        if not watch(status):
            pipelines.cancel(request.run)
            status = pipelines.status(request.run)
            break
    keep_run(store, request, status, began, clock())
    return Trained(request, status)


def keep_run(
    store: Store, request: TrainingRequest, status: RunStatus, began: datetime, ended: datetime
) -> None:
    """Write the run and what came of it into the store and its story; once, however often it is called."""
    if store.get(Kind.RUN, request.run) is not None:
        return
    stored = TrainingState(status.phase, began, ended, as_stored(status))
    record = run_record(request)
    store.put(
        type(record)(
            record.kind,
            record.name,
            record.system,
            record.spec,
            {"phase": status.phase.value, "state": to_json(stored)},
        )
    )
    words = {RunPhase.SUCCEEDED: Reason.TRAINING_SUCCEEDED, RunPhase.CANCELLED: Reason.TRAINING_CANCELLED}
    version = status.version.name if status.version else None
    details: dict[str, object] = {
        "system": request.system,
        "run": request.run,
        "trigger": request.trigger.kind.value,
    }
    taken = f" ({status.chosen_in_words})" if status.chosen else ""
    further = f"; {status.runners_up_in_words}" if status.runners_up else ""
    told = f"{version}{taken} as of {request.trigger.as_of:%Y-%m-%d}, not served{further}"
    message = told if version else status.message
    for decision in remarks(request, status):
        event = Event(
            ended, Kind.RUN, request.run, decision.reason, decision.message, {**details, **decision.details}
        )
        store.record_event(event, once=f"train/{request.run}/{decision.key}")
    if status.chosen:
        details["candidate"] = status.chosen_in_words
    store.record_event(
        Event(
            ended,
            Kind.RUN,
            request.run,
            words.get(status.phase, Reason.TRAINING_FAILED),
            message,
            {**details, "version": version} if version else details,
        ),
        once=f"train/{request.run}",
    )
