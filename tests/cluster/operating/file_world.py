"""Everything but Kubernetes, in files: it stays as it is when the operator is killed, and counts what was done.

The store is the real one. Trainings end at once, versions are ready at once, the gateway obeys, and each version gets
as many requests as its share says.
"""

from __future__ import annotations

import fcntl
import pickle
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from capstan.adapters.kubernetes.store import KubeStore
from capstan.adapters.memory.loop import (
    MemoryAlerts,
    MemoryEvidence,
    MemoryMonitoring,
    MemoryOperation,
    MemoryPipelines,
    MemoryRegistry,
    MemoryServing,
    MemoryTraffic,
    Training,
)
from capstan.cluster.names import Owner, SystemNames
from capstan.cluster.objects.volumes import claim
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.wiring.systems import WallClock
from capstan.domain.traffic import TrafficSplit
from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.triggers import Alert
from capstan.domain.verdicts.evidence import OperationEvidence, PairedEvidence, VersionOperation
from capstan.domain.versions import Digest, ModelVersion, SystemName, VersionName
from capstan.engine import Engine
from capstan.ports.kube import Kube, Object
from capstan.spec import MLSystem
from capstan.spec.units import format_bytes

REQUESTS_PER_SECOND = 1000


def train(request: TrainingRequest) -> Training:
    """A run that succeeds at once."""
    version = ModelVersion(
        name=VersionName(""),
        digest=Digest("sha256:" + "0" * 64),
        run=request.run,
        bento_tag=f"{request.system}:{request.run}",
        as_of=request.trigger.as_of,
        metrics={},
    )
    return Training(RunStatus(RunPhase.SUCCEEDED, version=version))


def nothing(_: TrafficSplit) -> None:
    """A gateway that refuses nothing."""


@dataclass
class Parts:
    """What one system's parts keep."""

    registry: MemoryRegistry
    serving: MemoryServing
    traffic: MemoryTraffic
    pipelines: MemoryPipelines
    alerts: MemoryAlerts
    monitoring: MemoryMonitoring

    @classmethod
    def new(cls) -> Parts:
        clock: Any = WallClock()
        registry, traffic = MemoryRegistry(), MemoryTraffic()
        traffic.refuses = nothing
        return cls(
            registry,
            MemoryServing(clock),
            traffic,
            MemoryPipelines(clock, registry, train),
            MemoryAlerts(),
            MemoryMonitoring(),
        )


class WorldFile:
    """The parts of one system in a file, for one process at a time."""

    def __init__(self, folder: Path, namespace: str, system: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / f"{namespace}.{system}.pickle"
        self._lock = folder / f"{namespace}.{system}.lock"

    @contextmanager
    def open(self) -> Iterator[Parts]:
        """The parts, kept as they are left."""
        with self._lock.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            parts = pickle.loads(self._file.read_bytes()) if self._file.exists() else Parts.new()
            yield parts
            scratch = self._file.with_suffix(".new")
            scratch.write_bytes(pickle.dumps(parts))
            scratch.replace(self._file)

    def fire(self, version: str, mark: str) -> None:
        """A drift alert about the version."""
        now = WallClock().now()
        with self.open() as parts:
            parts.alerts.firing = [
                Alert(
                    "DriftDetected",
                    VersionName(version),
                    fingerprint=mark,
                    as_of=now,
                    summary="it drifts",
                    trigger="drift",
                )
            ]

    def resolve(self) -> None:
        with self.open() as parts:
            parts.alerts.firing = []


class _Kept:
    """A port whose every call is one visit to the file."""

    def __init__(self, world: WorldFile, name: str) -> None:
        self._world, self._name = world, name

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            with self._world.open() as parts:
                return getattr(getattr(parts, self._name), method)(*arguments, **named)

        return call


class FileSystem:
    """One system of a `FileWiring`."""

    def __init__(self, kube: Kube, folder: Path, system: MLSystem, names: SystemNames, owner: Owner) -> None:
        self._system, self._names, self._owner = system, names, owner
        self._world = WorldFile(folder, names.namespace, names.system)
        parts: dict[str, Any] = {
            name: _Kept(self._world, name)
            for name in ("pipelines", "registry", "serving", "traffic", "alerts", "monitoring")
        }
        self.engine = Engine(
            KubeStore(kube, names.namespace),
            evidence=MemoryEvidence(lambda *_: PairedEvidence()),
            operation=MemoryOperation(self._operation),
            clock=WallClock(),
            **parts,
        )

    def _operation(
        self, champion: VersionName, challenger: VersionName, since: datetime, now: datetime, shadow: bool
    ) -> OperationEvidence:
        total = int((now - since).total_seconds() * REQUESTS_PER_SECOND)
        with self._world.open() as parts:
            split = parts.traffic.read_back()
        shares = {arm.version: int(total * arm.weight / 100) for arm in split.arms} if split else {}
        asked = total if shadow else shares.get(challenger, 0)
        return OperationEvidence(
            champion=_fine(champion, shares.get(champion, 0)),
            challenger=_fine(challenger, asked),
            assigned=shares,
        )

    def documents(self) -> Sequence[Object]:
        """Objects that need no image to be there."""
        names = self._names
        selector, labels = names.selector("gateway"), names.labels("gateway")
        meta = names.metadata(names.gateway, labels, self._owner)
        container = {
            "name": "none",
            "image": "registry.k8s.io/pause:3.10",
            "ports": [{"containerPort": 8080}],
        }
        return [
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": meta,
                "spec": {
                    "replicas": 0,
                    "selector": {"matchLabels": selector},
                    "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
                },
            },
            {
                "apiVersion": "v1",
                "kind": "Service",
                "metadata": meta,
                "spec": {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
            },
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": {"some": "thing"}},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": names.metadata(names.tokens, labels, self._owner),
                "data": {"internal": "c2VjcmV0"},
            },
            *(
                claim(
                    self._system,
                    names,
                    ClusterSettings(),
                    self._owner,
                    name=name,
                    component="volume",
                    size=format_bytes(self._system.spec.monitoring.volume.size),
                    storage_class=self._system.spec.monitoring.volume.storage_class,
                )
                for name in (names.record_claim, names.data_claim)
            ),
        ]

    def settle(self) -> None:
        return

    def move(self) -> bool:
        return False


class FileWiring:
    """Wires systems to a folder of files."""

    def __init__(self, kube: Kube, settings: ClusterSettings, folder: Path) -> None:
        del settings
        self._kube = kube
        self._folder = folder

    def wire(self, system: MLSystem, document: Object) -> FileSystem:
        meta = document["metadata"]
        name = SystemName(system.metadata.name)
        names = SystemNames(str(meta["namespace"]), name)
        return FileSystem(self._kube, self._folder, system, names, Owner(str(name), str(meta["uid"])))

    def clear(self, namespace: str, system: str) -> None:
        (self._folder / f"{namespace}.{system}.cleared").touch()


def _fine(version: VersionName, requests: int) -> VersionOperation:
    return VersionOperation(version, requests, 0, {0.005: requests, 0.02: requests, float("inf"): requests})
