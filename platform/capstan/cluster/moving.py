"""A system's versions on their way from one runtime to another: both run a version until the gateway sends to the new.

Each version by itself, in this order, so that no request is lost: it is brought up in the new runtime; once it is ready
there the gateway is told its new address; when every gateway pod uses that, and requests that were under way have had
time to end, it is taken from the old runtime. All of it is read from the cluster at every look, so an operator that
starts afresh goes on.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Protocol

from capstan.adapters.envoy.config import DIFFERING
from capstan.adapters.kubernetes.serving import Artifact
from capstan.domain.traffic import TrafficSplit
from capstan.domain.versions import ModelVersion, Readiness, VersionName
from capstan.errors import CapstanError, UnavailableError
from capstan.ports.serving import Endpoint

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 6.0
"""Seconds until the old runtime is dropped: longer than any request that was under way to the old address."""


class Runtime(Protocol):
    """A Serving port of a cluster."""

    def deploy(self, version: ModelVersion) -> None: ...

    def retire(self, name: VersionName) -> None: ...

    def readiness(self) -> Mapping[VersionName, Readiness]: ...

    def endpoint(self, name: VersionName) -> Endpoint | None: ...

    def troubles(self) -> Mapping[VersionName, str]: ...

    def settle(self) -> None: ...

    def artifacts(self) -> Mapping[VersionName, Artifact]:
        """What its versions serve."""
        ...

    def run(self, name: VersionName, artifact: Artifact) -> None:
        """Bring a version up that is known to be trusted."""
        ...


class Gateway(Protocol):
    """The gateway that sends requests to the versions."""

    def apply(self, split: TrafficSplit, endpoints: Mapping[VersionName, Endpoint]) -> None: ...

    def read_back(self) -> TrafficSplit | None: ...

    def endpoints(self) -> Mapping[VersionName, Endpoint | None]:
        """Where each version's requests go; None where pods differ."""
        ...


class MovingServing:
    """The Serving port of a system whose runtime was changed while versions ran."""

    def __init__(self, new: Runtime, old: Runtime, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.new = new
        self.old = old
        self._clock = clock
        self._moved: dict[VersionName, float] = {}
        """Time at which the gateway was first seen to send all requests of a version to the new runtime."""
        self._refused: dict[VersionName, str] = {}
        """Why the cluster does not take a version's objects in the new runtime."""

    # -- the Serving port

    def deploy(self, version: ModelVersion) -> None:
        """Deploy in the new runtime; raises as its `deploy` does."""
        self.new.deploy(version)

    def retire(self, name: VersionName) -> None:
        """Retire in both runtimes."""
        self.new.retire(name)
        self.old.retire(name)

    def readiness(self) -> Mapping[VersionName, Readiness]:
        """Readiness in the runtime to whose address requests go."""
        new, old = self.new.readiness(), self.old.readiness()
        return {
            name: new[name] if name not in old or _is_ready(new, name) else old[name] for name in {*new, *old}
        }

    def endpoint(self, name: VersionName) -> Endpoint | None:
        """Endpoint in the new runtime once the version is ready there; until then the old one."""
        if _is_ready(self.new.readiness(), name):
            return self.new.endpoint(name)
        return self.old.endpoint(name) or self.new.endpoint(name)

    def troubles(self) -> Mapping[VersionName, str]:
        """What keeps versions from starting, in either runtime."""
        return {**self.old.troubles(), **self.new.troubles(), **self._refused}

    def settle(self) -> None:
        """Bring what runs in the new runtime to what the file asks for; what is about to leave stays as it is."""
        self.new.settle()

    # -- the move

    def move(self, gateway: Gateway) -> bool:
        """Take one step; returns whether anything is left in the old runtime. Obstacles are among the troubles."""
        leaving = self.old.artifacts()
        new = self.new.readiness()
        self._refused = {}
        for name in sorted(leaving.keys() - new.keys()):
            logger.info("%s is brought up in the new runtime", name)
            try:
                self.new.run(name, leaving[name])
            except CapstanError as error:
                # It goes on in the old one.
                self._refused[name] = f"it cannot move to the runtime that the file asks for: {error}"
        ready = [name for name in sorted(leaving) if _is_ready(new, name)]
        if ready:
            try:
                self._hand_over(ready, gateway)
            except UnavailableError as error:
                logger.warning("the move of %s waits: %s", ", ".join(ready), error)
        return bool(self.old.artifacts())

    def _hand_over(self, ready: list[VersionName], gateway: Gateway) -> None:
        split = gateway.read_back()
        if split is not None and split.salt == DIFFERING:
            # Pods disagree, or somebody edited the split. The loop applies it again, with the new addresses.
            return
        used = gateway.endpoints()
        staying = [name for name in ready if name in used and used[name] != self.new.endpoint(name)]
        for name in ready:
            if name in staying:
                self._moved.pop(name, None)
            elif self._clock() - self._moved.setdefault(name, self._clock()) >= DRAIN_SECONDS:
                logger.info("%s is taken from the old runtime", name)
                self.old.retire(name)
                self._moved.pop(name)
        if staying and split is not None:
            endpoints = {name: self.endpoint(name) for name in split.versions}
            gateway.apply(split, {name: found for name, found in endpoints.items() if found is not None})


def _is_ready(readiness: Mapping[VersionName, Readiness], name: VersionName) -> bool:
    return readiness.get(name) is Readiness.READY
