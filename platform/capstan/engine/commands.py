"""What people ask for: checked against the stored state, written into the system's record, followed by the loop.

So a command works from any process that can reach the store, and is neither lost nor followed twice.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from capstan.domain.actions import Command, Verb, Waiting
from capstan.domain.reasons import Reason
from capstan.domain.rollout import RolloutCause, RolloutPhase, RolloutState
from capstan.domain.system import SystemState
from capstan.domain.versions import VersionName
from capstan.engine.records import rollout_state, system_state
from capstan.errors import ConflictError, NotAllowedError, NotFoundError
from capstan.ports.codec import to_json
from capstan.ports.store import Kind, Record, Store

_ATTEMPTS = 20


def issue(
    store: Store,
    system: str,
    verb: Verb | str,
    *,
    version: str | None = None,
    note: str = "",
    by: str = "",
    at: datetime | None = None,
) -> Command:
    """Write the command and return it; raises NotFoundError, and NotAllowedError that says what is possible.

    `note` and `by` (why, and who) are told in the story.
    """
    verb = Verb(verb)
    for _ in range(_ATTEMPTS):
        record = store.get(Kind.SYSTEM, system)
        if record is None:
            raise NotFoundError(f"no system {system!r}; `capstan up FILE` creates it")
        state = system_state(record)
        target, named = _Check(record, state, _rollout(store, state), verb, version).target()
        number = state.command_count + 1
        command = Command(f"{verb}-{number}", verb, target, named, at, note, by)
        changed = replace(state, commands=(*state.commands, command), command_count=number)
        try:
            store.put(replace(record, status={**record.status, "state": to_json(changed)}))
        except ConflictError:
            continue
        return command
    raise ConflictError(f"{system} changes too often to write {verb}; try again")


def check(
    record: Record,
    state: SystemState,
    rollout: RolloutState | None,
    verb: Verb | str,
    version: str | None = None,
) -> None:
    """Raises NotAllowedError where the command is not possible now; it says why, and what is.

    `rollout`: the one in progress; None: it has no record yet, or there is none.
    """
    _Check(record, state, rollout, Verb(verb), version).target()


def delete(store: Store, system: str, *, at: datetime) -> None:
    """Ask for the system's deletion; the loop cleans up and removes the record. Raises NotFoundError."""
    for _ in range(_ATTEMPTS):
        record = store.get(Kind.SYSTEM, system)
        if record is None:
            raise NotFoundError(f"no system {system!r}")
        if record.deleted_at is not None:
            return
        try:
            store.put(replace(record, deleted_at=at))
        except ConflictError:
            continue
        return
    raise ConflictError(f"{system} changes too often to be deleted; try again")


def _rollout(store: Store, state: SystemState) -> RolloutState | None:
    found = store.get(Kind.ROLLOUT, state.rollout.name) if state.rollout else None
    return rollout_state(found) if found else None


class _Check:
    def __init__(
        self,
        record: Record,
        state: SystemState,
        rollout: RolloutState | None,
        verb: Verb,
        version: str | None,
    ) -> None:
        self._state, self._verb = state, verb
        self._version = VersionName(version) if version else None
        self._rollout = (rollout or RolloutState()) if state.rollout else None
        if record.deleted_at is not None:
            raise NotAllowedError(f"{verb}: {record.name} is being deleted")

    def target(self) -> tuple[str, VersionName | None]:
        """The object that the command is meant for (empty: the system) and the version it names."""
        match self._verb:
            case Verb.PAUSE:
                if self._state.will_be_paused:
                    raise self._refusal("it is paused already", "resume")
                return "", None
            case Verb.RESUME:
                return self._resume()
            case Verb.APPROVE:
                return self._approve()
            case Verb.ABORT:
                return self._abort()
            case Verb.ROLLBACK:
                return "", self._older_version()
            case Verb.PROMOTE:
                return self._promote()
            case Verb.RETRAIN:
                if self._state.retraining.circuit_open:
                    raise self._refusal("the circuit is open after failed trainings", "resume")
                return "", None

    @property
    def _is_stoppable(self) -> bool:
        return self._rollout is not None and self._rollout.phase in (
            RolloutPhase.DEPLOYING,
            RolloutPhase.PROGRESSING,
        )

    def _rollout_name(self) -> str:
        return self._state.rollout.name if self._state.rollout else ""

    def _resume(self) -> tuple[str, None]:
        if (
            self._state.will_be_paused
            or self._state.retraining.circuit_open
            or self._state.retraining.failures
        ):
            return "", None
        if self._rollout is not None and self._rollout.waiting == Waiting.APPROVAL:
            return self._rollout_name(), None
        raise self._refusal("nothing is paused", "pause")

    def _approve(self) -> tuple[str, None]:
        retraining = self._state.retraining
        if retraining.pending is not None and retraining.held in (
            Reason.APPROVAL_REQUIRED,
            Reason.LOOP_BROKEN,
            Reason.CIRCUIT_OPEN,
        ):
            return "", None
        if self._rollout is not None and self._rollout.waiting == Waiting.APPROVAL:
            return self._rollout_name(), None
        raise self._refusal("nothing waits for approval", "retrain")

    def _abort(self) -> tuple[str, None]:
        if self._is_stoppable:
            return self._rollout_name(), None
        if self._rollout is not None:
            raise self._refusal(f"the rollout is {self._rollout.phase}", "rollback --to when it is over")
        if self._state.run is not None:
            return self._state.run.run, None
        raise self._refusal("neither a training nor a rollout is in progress", "rollback --to")

    def _older_version(self) -> VersionName:
        if self._state.champion is None:
            raise self._refusal("there is no champion yet", "status")
        if self._state.rollout is not None or self._state.run is not None:
            raise self._refusal("a training or a rollout is in progress", "abort")
        former = [version.name for version in self._state.previous]
        wanted = self._version or (former[0] if former else None)
        if wanted is None:
            raise self._refusal("no older version is kept", "status")
        if wanted == self._state.champion.name:
            raise self._refusal(f"{wanted} is the champion", f"rollback --to {' | '.join(former) or 'v...'}")
        return wanted

    def _promote(self) -> tuple[str, VersionName | None]:
        challenger = self._state.rollout.challenger.name if self._state.rollout else None
        if self._state.rollout is not None and self._state.rollout.cause is RolloutCause.CHALLENGER:
            if self._version not in (None, challenger):
                raise self._refusal(f"{challenger} is being rolled out", f"promote {challenger}")
            if self._is_stoppable:
                return self._rollout_name(), None
            raise self._refusal("the rollout is nearly over", "status")
        if self._state.rollout is not None or self._state.run is not None:
            raise self._refusal("a training or a deployment is in progress", "abort")
        if self._version is None:
            raise self._refusal("no rollout is in progress; name a version", "promote v2")
        if self._state.champion is not None and self._version == self._state.champion.name:
            raise self._refusal(f"{self._version} is the champion already", "status")
        return "", self._version

    def _refusal(self, why: str, instead: str) -> NotAllowedError:
        return NotAllowedError(f"{self._verb}: {why}; possible now: `capstan {instead}`")
