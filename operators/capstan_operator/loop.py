"""One look at one system: its file, its fixed objects, its engine, and when to look again.

What follows from the file is remembered by generation, so a look at an idle system costs no call to the API server.
Present state alone decides: whether the operator was away for a second or a week makes no difference.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from capstan.adapters.kubernetes.compressed_state import state_of
from capstan.cluster.names import FINALIZER, SystemNames
from capstan.cluster.watching.cache import WatchedKube
from capstan.domain.reasons import Reason
from capstan.domain.versions import SystemName
from capstan.engine import Engine, Outcome
from capstan.engine.action_log import line, looking_at
from capstan.engine.policies import system_policy
from capstan.engine.standstill import Standstill
from capstan.errors import ConflictError, InvalidSpecError, NotFoundError, UnavailableError
from capstan.ports.kube import Object
from capstan.spec import MLSystem, parse
from capstan.spec.providers import PROVIDERS
from capstan_operator.announcements import Teller
from capstan_operator.fixed_objects import AppliedObjects, FixedObjects
from capstan_operator.kept_volumes import KeptVolumes, describe_kept, describe_taken
from capstan_operator.metrics import Metrics
from capstan_operator.versions import VersionMemory, VersionObjects
from capstan_operator.workers import Key

logger = logging.getLogger(__name__)

BUSY_SECONDS = 5.0
IDLE_SECONDS = 30.0
SUSPENDED_SECONDS = 300.0
REFUSED_SECONDS = 300.0
"""Seconds until a refused system is looked at again: what the cluster lacks may be installed meanwhile."""
WAITING_SECONDS = 15.0
"""Seconds until a waiting system is looked at again: the stack may be about to be installed."""
ENDING_SECONDS = 2.0
DRAIN_SECONDS = 300.0
"""Seconds for which a deletion waits for a part that does not answer. Then it goes on without that part."""
_MOST_PASSES = 20
_LONGEST_SECONDS = 20.0
"""Seconds of one look. A system that keeps changing then queues behind the others."""
_MOST_WIRED = 1000


class Wired(Protocol):
    """One system with its adapters."""

    @property
    def engine(self) -> Engine: ...

    def documents(self) -> Sequence[Object]:
        """Its fixed objects."""
        ...

    def settle(self) -> None:
        """Bring the versions that run to what the file asks for; called when the file, the settings or the release
        changed.
        """
        ...

    def move(self) -> bool:
        """One step of the versions to another runtime; whether any is still on its way. Cheap where none is."""
        ...


class Wiring(Protocol):
    """Constructs the adapters of systems; `capstan.cluster.wiring.systems` is the real one."""

    def wire(self, system: MLSystem, document: Object) -> Wired:
        """Raises InvalidSpecError if the file chooses what this cluster does not have.

        Raises UnavailableError while it lacks what is installed apart from the operator.
        """
        ...

    def clear(self, namespace: str, system: str) -> None:
        """Remove what no owner reference reaches; repeated, nothing happens."""
        ...


@dataclass
class _SystemMemory:
    """Memory of a system from one generation of its file to the next."""

    uid: str
    generation: int
    problem: tuple[Reason, str] | None = None
    """(reason, message) of a file that cannot be followed; None: it can."""
    is_suspended: bool = False
    has_gateway: bool = True
    """Whether pods of Capstan's gateway serve it; False: its traffic provider's ingress does."""
    applied: AppliedObjects = field(default_factory=AppliedObjects)
    versions: VersionMemory = field(default_factory=VersionMemory)
    is_new: bool = True
    """Whether the fixed objects of this generation have not been looked at yet."""
    is_cleared: bool = False
    standstill: Standstill | None = None
    """None: not looked at yet."""


class SystemLoop:
    """Looks at systems; several threads may, each at another system."""

    def __init__(
        self,
        kube: WatchedKube,
        wiring: Wiring,
        metrics: Metrics,
        *,
        release: str,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        most_wired: int = _MOST_WIRED,
    ) -> None:
        self._kube = kube
        self._wiring = wiring
        self._metrics = metrics
        self._fixed = FixedObjects(kube, release, clock=clock)
        self._volumes = KeptVolumes(kube)
        self._versions = VersionObjects(kube, clock=clock)
        self._teller = Teller(kube, now=now)
        self._clock = clock
        self._now = now
        self._most_wired = most_wired
        self._known: dict[Key, _SystemMemory] = {}
        self._wired: OrderedDict[Key, Wired] = OrderedDict()
        self._stale: set[Key] = set()
        """Systems at whose last look the API server did not answer."""
        self._lock = threading.Lock()

    def look(self, key: Key) -> float | None:
        """Look once. Returns the seconds until the next look; None: the next look comes when something happens.
        Raises CapstanError to be tried again.
        """
        try:
            with looking_at("/".join(key)):
                if key in self._stale:
                    # Services are not kept in memory: this one asks the API server, whether there is one or not.
                    self._kube.get("Service", key[1], key[0])
                    self._stale.discard(key)
                return self._look(key)
        except ConflictError:
            # Somebody wrote in between. The read after the conflict has seen what they wrote.
            return 0.0
        except UnavailableError:
            # What is watched may be as old as the outage: no deadline is missed by it.
            self._stale.add(key)
            with self._lock:
                wired = self._wired.get(key)
            if wired is not None:
                wired.engine.begin_watch_anew()
            raise

    def _look(self, key: Key) -> float | None:
        document = self._read(key)
        if document is None:
            self._forget(key)
            return None
        known = self._memory_of(key, document)
        if "deletionTimestamp" in document["metadata"]:
            return self._end(key, document, known)
        if known.problem is not None:
            return self._refuse(document, known.problem)
        if known.is_suspended and not _has_begun(document):
            self._drop(key)
            said = {"Ready": (False, "Suspended", "suspend: true; nothing has been started yet")}
            self._teller.conditions(document, "Suspended", said)
            return None
        return self._keep(key, document, known)

    def standstills(self) -> list[tuple[str, str, Standstill]]:
        """(namespace, system, standstill) of the systems that were looked at; may be asked by any thread."""
        return [
            (*key, known.standstill)
            for key, known in sorted(self._known.copy().items())
            if known.standstill is not None
        ]

    # -- a system that goes on

    def _keep(self, key: Key, document: Object, known: _SystemMemory) -> float:
        try:
            wired = self._wired_of(key, document)
        except InvalidSpecError as error:
            self._refuse(document, (Reason.NOT_ALLOWED, str(error)))
            return REFUSED_SECONDS
        except UnavailableError as error:
            return self._wait(document, str(error))
        if FINALIZER not in (document["metadata"].get("finalizers") or ()):
            document = self._set_finalizer(document, held=True)
        self._ensure(key, document, known, wired)
        is_moving = wired.move()
        try:
            outcome = self._settle(wired, key, known.applied.obstacle, until_deletion=True)
        except NotFoundError:
            return 0.0
        left = self._read(key)
        if left is None or "deletionTimestamp" in left["metadata"]:
            # A deletion that came during this look ends in order at the next one; should the engine have got through
            # with it already, what no owner reaches is left to do here.
            if left is None:
                self._clear(key, document, late=True)
            return 0.0
        known.standstill = outcome.standstill
        seconds = self._pause(key, known, outcome)
        return min(seconds, BUSY_SECONDS) if is_moving else seconds

    def _ensure(self, key: Key, document: Object, known: _SystemMemory, wired: Wired) -> None:
        ensured = self._fixed.ensure(
            key[0], known.applied, known.generation, wired.documents, is_new=known.is_new
        )
        if ensured.is_new:
            applied = {"generation": known.generation, "refused": len(known.applied.refused)}
            logger.info("%s", line("applied", key[1], applied))
            wired.settle()
            known.versions = VersionMemory()
        known.is_new = False
        names = SystemNames(key[0], SystemName(key[1]))
        for what in (*ensured.put_back, *self._versions.ensure(names, known.versions, wired.settle)):
            self._metrics.note_put_back()
            message = f"{what} was changed or deleted by somebody else and was put back"
            self._teller.event(document, Reason.OBJECT_RESTORED, message, once=self._now().isoformat())
        for why in ensured.refused:
            self._teller.event(document, Reason.OBJECT_REFUSED, why)
        if ensured.taken:
            message = describe_taken(ensured.taken)
            self._teller.event(document, Reason.VOLUMES_ADOPTED, message)
            self._volumes.take(key[0], ensured.taken)

    def _settle(self, wired: Wired, key: Key, obstacle: str = "", *, until_deletion: bool = False) -> Outcome:
        began = self._clock()
        for _ in range(_MOST_PASSES):
            outcome = wired.engine.reconcile(key[1], obstacle=obstacle)
            if outcome.is_settled or self._clock() - began > _LONGEST_SECONDS:
                break
            found = self._read(key) if until_deletion else None
            if found is not None and "deletionTimestamp" in found["metadata"]:
                break
        return outcome

    def _pause(self, key: Key, known: _SystemMemory, outcome: Outcome) -> float:
        if not outcome.is_settled:
            return 0.0
        document = self._read(key)
        if document is None:
            return 0.0
        seconds = BUSY_SECONDS if _is_busy(document) else IDLE_SECONDS
        if known.is_suspended:
            seconds = SUSPENDED_SECONDS
        if outcome.requeue_after is not None:
            seconds = min(seconds, max(outcome.requeue_after.total_seconds(), 0.1))
        return seconds

    def _wait(self, document: Object, message: str) -> float:
        """Wait for what is installed apart from the operator; the versions go on serving meanwhile."""
        said = {"Degraded": (True, Reason.PART_AWAY, message)}
        if not _has_begun(document):
            said["Ready"] = (False, Reason.PART_AWAY, message)
            said["Stalled"] = (True, Reason.PART_AWAY, message)
        phase = str((document.get("status") or {}).get("phase") or "Starting")
        self._teller.event(document, Reason.PART_AWAY, message)
        self._teller.conditions(document, phase, said)
        return WAITING_SECONDS

    # -- a system that can't be followed

    def _refuse(self, document: Object, problem: tuple[Reason, str]) -> float | None:
        reason, message = problem
        said = {"Ready": (False, reason, message), "Stalled": (True, reason, message)}
        self._teller.event(document, reason, message)
        self._teller.conditions(document, "Invalid", said)
        return None

    # -- a system that ends

    def _end(self, key: Key, document: Object, known: _SystemMemory) -> float | None:
        if FINALIZER not in (document["metadata"].get("finalizers") or ()):
            self._forget(key)
            return None
        late = self._is_late(document)
        if not known.is_cleared:
            self._clear(key, document, late=late)
            known.is_cleared = True
        if late:
            message = (
                f"parts did not answer for {DRAIN_SECONDS:.0f} s; the rest is left to garbage collection"
            )
            self._teller.event(document, Reason.DELETED_UNDRAINED, message)
        elif self._has_to_drain(key, document, known):
            try:
                self._settle(self._wired_of(key, document), key)
            except NotFoundError:
                pass
            except InvalidSpecError as error:
                logger.warning("%s/%s is deleted without draining: %s", *key, error)
            else:
                left = self._read(key)
                if left is not None and FINALIZER in (left["metadata"].get("finalizers") or ()):
                    return ENDING_SECONDS
        left = self._read(key)
        if left is not None and FINALIZER in (left["metadata"].get("finalizers") or ()):
            self._set_finalizer(left, held=False)
        self._forget(key)
        return None

    def _has_to_drain(self, key: Key, document: Object, known: _SystemMemory) -> bool:
        """Whether traffic or a training is in progress that should end in order."""
        if known.problem is not None or not _has_begun(document):
            return False
        if not known.has_gateway:
            return True
        gateway = SystemNames(key[0], SystemName(key[1])).gateway
        seen = self._kube.facts("Deployment", key[0], gateway)
        # Without a gateway nobody is served. The whole namespace, or everything in the foreground, is being deleted.
        return seen is not None and not seen.is_deleted

    def _is_late(self, document: Object) -> bool:
        asked = datetime.fromisoformat(document["metadata"]["deletionTimestamp"])
        return (self._now() - asked).total_seconds() > DRAIN_SECONDS

    def _clear(self, key: Key, document: Object, *, late: bool) -> None:
        try:
            self._wiring.clear(*key)
            if kept := self._volumes.part(document):
                self._teller.event(document, Reason.VOLUMES_KEPT, describe_kept(*key, kept))
        except Exception as error:
            if not late:
                raise
            logger.warning("%s/%s: left behind: %s", *key, error)

    # -- what is remembered

    def _memory_of(self, key: Key, document: Object) -> _SystemMemory:
        meta = document["metadata"]
        uid, generation = str(meta["uid"]), int(meta.get("generation", 1))
        known = self._known.get(key)
        if known is not None and known.uid == uid and known.generation == generation:
            return known
        self._drop(key)
        applied = known.applied if known is not None and known.uid == uid else AppliedObjects()
        versions = known.versions if known is not None and known.uid == uid else VersionMemory()
        fresh = _SystemMemory(uid, generation, applied=applied, versions=versions)
        if known is not None and known.uid == uid:
            fresh.standstill = known.standstill
        try:
            system = parsed(document)
            system_policy(system)
            fresh.is_suspended = system.spec.suspend
            fresh.has_gateway = PROVIDERS[system.spec.serving.traffic.provider].has_gateway
        except InvalidSpecError as error:
            fresh.problem = (Reason.INVALID_SPEC, str(error))
        self._known[key] = fresh
        return fresh

    def _wired_of(self, key: Key, document: Object) -> Wired:
        with self._lock:
            if key in self._wired:
                self._wired.move_to_end(key)
                return self._wired[key]
        wired = self._wiring.wire(parsed(document), document)
        with self._lock:
            self._wired[key] = wired
            if len(self._wired) > self._most_wired:
                self._wired.popitem(last=False)
        return wired

    def _drop(self, key: Key) -> None:
        with self._lock:
            self._wired.pop(key, None)

    def _forget(self, key: Key) -> None:
        self._drop(key)
        self._known.pop(key, None)
        self._stale.discard(key)

    # -- the API server

    def _read(self, key: Key) -> Object | None:
        return self._kube.get("MLSystem", key[1], key[0])

    def _set_finalizer(self, document: Object, *, held: bool) -> Object:
        meta = document["metadata"]
        others = [one for one in meta.get("finalizers") or () if one != FINALIZER]
        # The version that was read goes along, because a merge patch replaces the whole list.
        change = {
            "metadata": {
                "resourceVersion": meta["resourceVersion"],
                "finalizers": [*others, FINALIZER] if held else others,
            }
        }
        return self._kube.patch("MLSystem", meta["name"], meta["namespace"], change)


def parsed(document: Object) -> MLSystem:
    """The file in an MLSystem object; raises InvalidSpecError."""
    file = {
        "apiVersion": document["apiVersion"],
        "kind": document["kind"],
        "metadata": {"name": document["metadata"]["name"]},
        "spec": document.get("spec") or {},
    }
    return parse(file, base_dir=Path())


def _has_begun(document: Object) -> bool:
    """Whether there is anything that serves, trains or rolls out."""
    state = state_of(document)
    return any(state.get(part) is not None for part in ("champion", "run", "rollout"))


def _is_busy(document: Object) -> bool:
    """Whether anything is in progress that is to be followed closely."""
    state = state_of(document)
    return state.get("champion") is None or any(state.get(part) is not None for part in ("run", "rollout"))
