"""One operator acts at a time: the one that holds the Lease.

Judged as client-go does: by how long ago *this* process saw the Lease change, never by the times written in it, so that
a wrong clock elsewhere changes nothing. The holder counts from before its last successful renewal and gives up some
seconds before anybody else may take over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from capstan.errors import CapstanError, ConflictError, NotFoundError, UnavailableError
from capstan.ports.kube import Kube, Object

logger = logging.getLogger(__name__)

LEASE = "capstan-operator"
_WATCHDOG_SECONDS = 0.25


@dataclass(frozen=True)
class Timing:
    """Seconds. `renew_deadline` is well below `duration`, so that a holder stops before its Lease ends."""

    duration: float = 15.0
    """Seconds without a renewal after which another candidate may take the Lease."""
    renew_deadline: float = 12.0
    """Seconds without a successful renewal after which the holder stops."""
    renew: float = 5.0
    retry: float = 2.0
    """Seconds between two looks of a candidate, and after a failed renewal."""


class LeaseLock:
    """One candidate's view of the Lease; every step is one call and may be taken at any time."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        identity: str,
        *,
        name: str = LEASE,
        timing: Timing | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`clock` is monotonic and decides; `now` is only written down for people."""
        self.identity = identity
        self.timing = timing or Timing()
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._clock = clock
        self._now = now
        self._seen: tuple[Any, ...] | None = None
        """Content of the Lease at its last change, as far as this candidate saw."""
        self._seen_at = 0.0
        self._kept: Object | None = None
        """The Lease as it was last written here."""
        self._held_from: float | None = None
        """Time at which the last successful renewal began; None: the Lease is not held."""
        self.holder = ""
        """Name of the holder, as far as is known."""

    @property
    def is_held(self) -> bool:
        """Whether this process may act now; also False if the process stood still for too long."""
        return self._held_from is not None and self._clock() - self._held_from < self.timing.renew_deadline

    def try_to_hold(self) -> bool:
        """Take or renew the Lease if that is allowed now; True if it is held. Raises CapstanError if nobody answers."""
        began = self._clock()
        # A renewal starts from this candidate's own last write. If somebody wrote since, the API server refuses it.
        lease = self._kept if self._held_from is not None else None
        self._kept = None
        lease = lease or self._kube.get("Lease", self._name, self._namespace)
        try:
            if lease is None:
                self._keep(self._kube.create(self._document(None)), began)
                return True
            self._look_at(lease)
            if not self._may_take(lease):
                self._held_from = None
                return False
            self._keep(self._kube.replace(self._document(lease)), began)
        except (ConflictError, NotFoundError):
            # Somebody was faster; the next step sees who.
            return False
        return True

    def release(self) -> None:
        """Let the next one take it at once; errors are left, since the Lease ends by itself."""
        if self._held_from is None:
            return
        self._held_from = None
        try:
            lease = self._kube.get("Lease", self._name, self._namespace)
            if lease is None or _spec(lease).get("holderIdentity") != self.identity:
                return
            document = self._document(lease)
            document["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
            self._kube.replace(document)
        except CapstanError as error:
            logger.warning("the Lease was not released: %s", error)

    def _look_at(self, lease: Object) -> None:
        spec = _spec(lease)
        said = (spec.get("holderIdentity"), spec.get("renewTime"), lease["metadata"].get("resourceVersion"))
        if said != self._seen:
            self._seen, self._seen_at = said, self._clock()
        self.holder = str(spec.get("holderIdentity") or "")

    def _may_take(self, lease: Object) -> bool:
        if self.holder in ("", self.identity):
            return True
        duration = float(_spec(lease).get("leaseDurationSeconds") or self.timing.duration)
        return self._clock() - self._seen_at >= duration

    def _keep(self, stored: Object, began: float) -> None:
        self._held_from, self._kept = began, stored
        self._look_at(stored)

    def _document(self, lease: Object | None) -> Object:
        """The Lease as held by this process."""
        moment = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = _spec(lease) if lease is not None else {}
        held = spec.get("holderIdentity") == self.identity
        transitions = int(spec.get("leaseTransitions") or 0)
        metadata: Object = {"name": self._name, "namespace": self._namespace}
        if lease is not None:
            # The resourceVersion makes the API server refuse it if anybody was faster.
            metadata = dict(lease["metadata"])
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": int(self.timing.duration),
                "acquireTime": spec.get("acquireTime") if held else moment,
                "renewTime": moment,
                "leaseTransitions": transitions if held or lease is None else transitions + 1,
            },
        }


class Leadership:
    """Waits for the Lease, then keeps it; `lost` is called from a thread of its own the moment it can't be kept."""

    def __init__(
        self,
        lock: LeaseLock,
        lost: Callable[[str], None],
        *,
        wait: Callable[[threading.Event, float], bool] = threading.Event.wait,
    ) -> None:
        self._lock = lock
        self._lost = lost
        self._wait = wait
        self._giving_up = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    @property
    def is_held(self) -> bool:
        return self._lock.is_held

    @property
    def holder(self) -> str:
        return self._lock.holder

    def acquire(self) -> bool:
        """Wait until the Lease is held; False if given up meanwhile."""
        while not self._giving_up.is_set():
            try:
                if self._lock.try_to_hold():
                    return True
            except UnavailableError as error:
                logger.warning("waiting for the Lease: %s", error)
            self._wait(self._giving_up, self._lock.timing.retry)
        return False

    def keep(self) -> None:
        """Renew in the background from now on.

        A second thread watches the first: a renewal that hangs must not keep a process acting whose Lease has ended.
        """
        for target in (self._renew, self._watch):
            thread = threading.Thread(target=target, name=f"lease{target.__name__}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def give_up(self) -> None:
        """Wait no longer, if it is not held; a held one is kept until `release`."""
        self._giving_up.set()

    def release(self) -> None:
        """Stop renewing and give the Lease away."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(timeout=2.0)
        self._lock.release()

    def _renew(self) -> None:
        timing = self._lock.timing
        pause = timing.renew
        while not self._wait(self._stopping, pause):
            try:
                pause = timing.renew if self._lock.try_to_hold() else 0.1
            except CapstanError as error:
                logger.warning("the Lease was not renewed: %s", error)
                pause = timing.retry / 4

    def _watch(self) -> None:
        while not self._wait(self._stopping, _WATCHDOG_SECONDS):
            if not self._lock.is_held:
                self._lost(f"the Lease is lost (held by {self._lock.holder or 'nobody'})")
                return


def _spec(lease: Object) -> Object:
    spec: Object = lease.get("spec") or {}
    return spec
