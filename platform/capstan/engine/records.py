"""How the loop's states are kept in records: the state itself, its outbox of decisions, and a summary for readers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Generic, TypeVar

from capstan.domain.actions import Decision, Plan
from capstan.domain.rollout import RolloutRequest, RolloutState
from capstan.domain.system import SystemState, TrainingState
from capstan.domain.training import TrainingRequest
from capstan.engine.action_log import log_decisions
from capstan.ports.codec import from_json, to_json
from capstan.ports.store import Event, Kind, Record, Store

S = TypeVar("S")


def system_state(record: Record) -> SystemState:
    """The state in an MLSystem record; a new record has the first state."""
    return from_json(SystemState, record.status.get("state", {}))


def training_state(record: Record) -> TrainingState:
    return from_json(TrainingState, record.status.get("state", {}))


def rollout_state(record: Record) -> RolloutState:
    return from_json(RolloutState, record.status.get("state", {}))


def training_request(record: Record) -> TrainingRequest:
    return from_json(TrainingRequest, record.spec)


def rollout_request(record: Record) -> RolloutRequest:
    return from_json(RolloutRequest, record.spec)


def run_record(request: TrainingRequest) -> Record:
    return Record(Kind.RUN, request.run, request.system, spec=to_json(request))


def rollout_record(request: RolloutRequest) -> Record:
    return Record(Kind.ROLLOUT, request.name, request.system, spec=to_json(request))


@dataclass
class StoredState(Generic[S]):
    """A record with its state, as one pass of the loop reads and writes it."""

    store: Store
    record: Record
    state: S
    incarnation: str
    """Part of the keys of its events that tells it from a deleted system of the same name."""

    def tell(self) -> None:
        """Append the outbox to the story. After a crash it is appended again, and each event counts once."""
        for entry in self.record.status.get("outbox", ()):
            event = Event(
                at=datetime.fromisoformat(entry["at"]),
                kind=self.record.kind,
                name=self.record.name,
                reason=entry["reason"],
                message=entry["message"],
                details={"system": self.record.system, **entry["details"]},
            )
            once = f"{self.incarnation}/{self.record.kind}/{self.record.name}/{entry['key']}"
            self.store.record_event(event, once=once)

    def commit(self, plan: Plan[S], summary: Mapping[str, Any], now: datetime) -> bool:
        """Store the plan's state and decisions in one write, then tell them; False if nothing is new."""
        state = to_json(plan.status)
        status = {**self.record.status, **summary, "state": state}
        if plan.decisions:
            status["outbox"] = _outbox(plan.decisions, now)
        self.state = plan.status
        if status == self.record.status:
            return False
        if not plan.decisions:
            status["outbox"] = []
        self.record = self.store.put(replace(self.record, status=status))
        log_decisions(self.record, plan.decisions)
        self.tell()
        return True


def _outbox(decisions: Sequence[Decision], now: datetime) -> list[dict[str, Any]]:
    return [
        {
            "at": now.isoformat(),
            "reason": decision.reason,
            "message": decision.message,
            "key": decision.key,
            "details": to_json(dict(decision.details)),
        }
        for decision in decisions
    ]
