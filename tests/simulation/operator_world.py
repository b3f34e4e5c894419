"""The operator's loop on an API server in memory, with the parts and models of `simulation.world`."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from simulation.world import SPEC, SYSTEM, World

from capstan.adapters.kubernetes.compressed_state import state_of
from capstan.adapters.kubernetes.store import KubeStore
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.objects.volumes import claim
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.watching.cache import WatchedKube
from capstan.domain.trouble import Trouble
from capstan.domain.versions import SystemName
from capstan.engine import Engine
from capstan.engine.policies import policy_of
from capstan.errors import InvalidSpecError, Mistake, UnavailableError
from capstan.ports.kube import Object
from capstan.spec import MLSystem
from capstan_operator.loop import SystemLoop
from capstan_operator.metrics import Metrics

NAMESPACE = "shop"
KEY = (NAMESPACE, SYSTEM)
NAMES = SystemNames(NAMESPACE, SystemName(SYSTEM))


def fixed(system: MLSystem, owner: Owner) -> list[Object]:
    """Two fixed objects, enough to be put back and for a gateway to be there, and a volume."""
    labels = NAMES.labels("gateway")
    meta = NAMES.metadata(NAMES.gateway, labels, owner)
    return [
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": {"replicas": 0}},
        {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"ports": [{"port": 80}]}},
        claim(
            system, NAMES, ClusterSettings(), owner, name=NAMES.record_claim, component="record", size="1Gi"
        ),
    ]


class MemoryWired:
    """One system whose every part but the store is in memory."""

    def __init__(self, outer: OperatorWorld, system: MLSystem, document: Object) -> None:
        self._system = system
        parts = outer.parts
        self._owner = Owner(SYSTEM, document["metadata"]["uid"])
        self.engine = Engine(
            KubeStore(outer.cache, NAMESPACE),
            parts.pipelines,
            parts.registry,
            parts.serving,
            parts.traffic,
            parts.evidence,
            parts.operation,
            parts.alerts,
            parts.monitoring,
            parts.clock,
            policy=policy_of,
            troubles=lambda: outer.troubles,
            batches=parts.batches,
        )

    def documents(self) -> Sequence[Object]:
        return fixed(self._system, self._owner)

    def settle(self) -> None:
        return

    def move(self) -> bool:
        return False


class OperatorWorld:
    """An operator process that can be thrown away, and everything that stays."""

    def __init__(self) -> None:
        self.parts = World()
        self.clock = self.parts.clock
        self.server = MemoryKube()
        self.server.watchers.append(self._watch)
        self.lacks = ""
        """What the cluster does not have that the file asks for; empty: nothing."""
        self.awaited: UnavailableError | None = None
        """What is not installed yet; None: everything is."""
        self.troubles: list[Trouble] = []
        """Of parts that do not start."""
        self.cleared: list[str] = []
        self.start()

    def start(self) -> None:
        """A new operator process."""
        self.cache = WatchedKube(self.server, clock=self._seconds)
        for kind in self.cache.unlisted:
            self.cache.resync(kind)
        self.metrics = Metrics()
        self.loop = SystemLoop(
            self.cache, self, self.metrics, release="1", clock=self._seconds, now=self.clock.wall
        )

    # -- Wiring

    def wire(self, system: MLSystem, document: Object) -> MemoryWired:
        if self.awaited is not None:
            raise self.awaited
        if self.lacks:
            raise InvalidSpecError([Mistake("spec.serving.runtime", self.lacks)])
        return MemoryWired(self, system, document)

    def clear(self, namespace: str, system: str) -> None:
        self.cleared.append(f"{namespace}/{system}")

    # -- what people do

    def apply(self, **changes: Any) -> None:
        """The file, with some fields of its spec replaced; None removes one."""
        spec = {**copy.deepcopy(SPEC), **changes}
        spec = {key: value for key, value in spec.items() if value is not None}
        document = self.document
        if document is None:
            meta = {"name": SYSTEM, "namespace": NAMESPACE}
            self.server.create(
                {"apiVersion": "capstan.dev/v1alpha1", "kind": "MLSystem", "metadata": meta, "spec": spec}
            )
        else:
            self.server.replace({**document, "spec": spec})

    def delete(self) -> None:
        document = self.document
        assert document is not None
        if document["metadata"].get("finalizers"):
            self.server.mark_deleted("MLSystem", SYSTEM, NAMESPACE, self.clock.wall().isoformat())
        else:
            self.server.delete("MLSystem", SYSTEM, NAMESPACE)

    # -- time

    def look(self) -> float | None:
        return self.loop.look(KEY)

    def settle(self, most: int = 100) -> float | None:
        """Look until there is nothing to do at once."""
        for _ in range(most):
            after = self.look()
            if after is None or after > 0:
                return after
        raise AssertionError("does not settle")

    def follow(self, duration: timedelta, *, step: timedelta = timedelta(hours=6)) -> None:
        """Time passes, and the loop looks."""
        end = self.clock.now() + duration
        while self.clock.now() < end:
            self.clock.advance(min(step, end - self.clock.now()))
            if self.settle() is None:
                return

    def until_serving(self) -> None:
        """Apply the file and have v1 serve."""
        self.apply()
        self.settle()
        self.follow(timedelta(minutes=1), step=timedelta(seconds=5))
        assert self.champion == "v1", self.status

    def until_canary(self) -> None:
        """v2 has a quarter of the traffic."""
        self.until_serving()
        self.follow(timedelta(days=15))
        self.parts.fire(version="v1")
        for _ in range(40):
            self.follow(timedelta(days=1))
            split = self.parts.traffic.read_back()
            if split is not None and len(split.arms) == 2:
                return
        raise AssertionError(f"no canary: {self.status}")

    # -- what is seen

    @property
    def document(self) -> Object | None:
        found = [place for place in self.server.objects("MLSystem") if place[2] == SYSTEM]
        return self.server.get("MLSystem", SYSTEM, NAMESPACE) if found else None

    @property
    def status(self) -> dict[str, Any]:
        document = self.document
        assert document is not None
        status: dict[str, Any] = document.get("status") or {}
        return status

    @property
    def state(self) -> dict[str, Any]:
        document = self.document
        return state_of(document) if document is not None else {}

    @property
    def champion(self) -> str:
        return str((self.state.get("champion") or {}).get("name", ""))

    def condition(self, kind: str) -> tuple[str, str, str]:
        """(status, reason, message); empty if there is none."""
        for one in self.status.get("conditions", ()):
            if one["type"] == kind:
                return one["status"], one["reason"], one["message"]
        return "", "", ""

    def events(self) -> list[str]:
        return [f"{event['reason']}: {event['message']}" for event in self.server.list("Event")]

    def warnings(self) -> list[str]:
        """What `kubectl describe` of the system shows as Warnings."""
        return [
            f"{event['reason']}: {event['message']}"
            for event in self.server.list("Event")
            if event["type"] == "Warning" and event["involvedObject"]["kind"] == "MLSystem"
        ]

    def _watch(self, kind: str, event: str, document: Object) -> None:
        if self.cache.is_watched(kind):
            self.cache.observe(kind, event, document)

    def _seconds(self) -> float:
        return self.clock.wall().timestamp()
