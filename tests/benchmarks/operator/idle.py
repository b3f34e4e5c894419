"""The operator with everything it imports; its systems do nothing: models, gateways and registry are in memory."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import mlflow  # noqa: F401  the real operator's registry imports it

from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.adapters.kubernetes.client import KubeClient
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
from capstan.cluster.objects.recording import TOKEN_NAMES
from capstan.cluster.render import fixed_objects
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.wiring.systems import WallClock
from capstan.domain.traffic import champion_only
from capstan.domain.training import RunPhase, RunStatus
from capstan.domain.verdicts.evidence import OperationEvidence, PairedEvidence, VersionOperation
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.engine import Engine
from capstan.ports.kube import Kube, Object
from capstan.ports.serving import Endpoint
from capstan.spec import MLSystem
from capstan_operator import main as real
from capstan_operator.app import App, Options, new_identity

SINCE = datetime(2026, 1, 1, tzinfo=UTC)
V1 = VersionName("v1")
assert real.main is not None


def champion(system: str) -> ModelVersion:
    """The version that has served since long ago."""
    return ModelVersion(
        name=V1,
        digest=Digest("sha256:" + "0" * 64),
        run=RunName(f"{system}-0123456789"),
        bento_tag=f"{system}:0123456789",
        as_of=SINCE,
        metrics={},
    )


class IdleSystem:
    """One system that serves v1 and wants nothing."""

    def __init__(self, kube: Kube, settings: ClusterSettings, system: MLSystem, document: Object) -> None:
        meta, clock = document["metadata"], WallClock()
        name = SystemName(system.metadata.name)
        self._system, self._settings = system, settings
        self._names = SystemNames(str(meta["namespace"]), name)
        self._owner = Owner(str(name), str(meta["uid"]))
        registry, serving, traffic = MemoryRegistry(), MemoryServing(clock), MemoryTraffic()  # type: ignore[arg-type]
        version = champion(name)
        registry.register(version, tags={}, metrics={})
        registry.set_alias("champion", V1)
        serving.deploy(version)
        traffic.apply(champion_only(V1), {V1: Endpoint("none", 1)})
        nothing = VersionOperation(V1, 0, 0, {})
        self.engine = Engine(
            KubeStore(kube, self._names.namespace),
            MemoryPipelines(clock, registry, lambda _: Training(RunStatus(RunPhase.RUNNING))),  # type: ignore[arg-type]
            registry,
            serving,
            traffic,
            MemoryEvidence(lambda *_: PairedEvidence()),
            MemoryOperation(lambda *_: OperationEvidence(nothing, nothing, {})),
            MemoryAlerts(),
            MemoryMonitoring(),
            clock,
        )

    def documents(self) -> Sequence[Object]:
        """The real ones, but that nothing is started."""
        tokens = dict.fromkeys(TOKEN_NAMES, "0" * 64)
        documents = fixed_objects(self._system, self._names, self._settings, self._owner, tokens)
        return [_without_pods(document) for document in documents]

    def settle(self) -> None:
        return

    def move(self) -> bool:
        return False


def _without_pods(document: Object) -> Object:
    if document["kind"] != "Deployment":
        return document
    spec: dict[str, Any] = {**document["spec"], "replicas": 0}
    return {**document, "spec": spec}


class IdleWiring:
    """Wires systems that do nothing."""

    def __init__(self, kube: Kube, settings: ClusterSettings) -> None:
        self._kube, self._settings = kube, settings

    def wire(self, system: MLSystem, document: Object) -> IdleSystem:
        return IdleSystem(self._kube, self._settings, system, document)

    def clear(self, namespace: str, system: str) -> None:
        return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--namespace", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--context")
    options = parser.parse_args()
    app = App(
        KubeClient.from_kubeconfig(options.context),
        ClusterSettings(namespace=options.namespace, watch_namespaces=(options.namespace,)),
        IdleWiring,
        Options(new_identity("benchmark"), host="127.0.0.1", port=options.port),
        WebhookReceiver(""),
    )
    signal.signal(signal.SIGTERM, lambda *_: app.stop())
    return app.run()


if __name__ == "__main__":
    sys.exit(main())
