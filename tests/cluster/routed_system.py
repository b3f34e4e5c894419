"""A system whose router draws each request, in a real cluster: the loop here, and everything that it looks at there.

Real are the API server, the router's image, collector and monitor as rendered, and of the loop the engine with its
planners and its adapters for Seldon, router and monitor. Seldon's operator and executor are stood in for, and so are
the versions, by programs of a few lines. What a bandit does not look at (registry, training, counters) is in memory.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from cluster.access import forwarded, reached
from cluster.toy_versions import INFER, toy_system, wait_until

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.kubernetes.serving import Artifact, VersionObjects
from capstan.adapters.kubernetes.troubles import PodTroubles
from capstan.adapters.memory.loop import (
    MemoryAlerts,
    MemoryEvidence,
    MemoryMonitoring,
    MemoryOperation,
    MemoryPipelines,
    MemoryRegistry,
    MemoryStore,
)
from capstan.adapters.own.monitor import HttpMonitor
from capstan.adapters.seldon.istio import GRAPH, RoutedGraph, SeldonIstio, SharedDeployment
from capstan.adapters.seldon.router import RouterPods
from capstan.adapters.seldon.serving import container_service, predictor_service
from capstan.cluster.names import (
    COLLECTOR_PORT,
    EXECUTOR_PORT,
    GRAPH_COMPONENT,
    MODEL_PORT,
    MONITOR_PORT,
    PART_LABEL,
    ROUTER_PORT,
    VERSION_LABEL,
    SystemNames,
)
from capstan.cluster.objects.access import access
from capstan.cluster.objects.pods import container, http_probe, pod
from capstan.cluster.objects.recording import TOKEN_NAMES, executor_log_url, recording, tokens
from capstan.cluster.objects.routed_graph import ROUTER, routed_graph
from capstan.cluster.objects.seldon import METRICS_PORT
from capstan.cluster.settings import ClusterSettings, Images
from capstan.cluster.troubles import part_of
from capstan.cluster.wiring.traffic import TRAFFIC
from capstan.domain.rollout import RolloutCause, RolloutRequest, RolloutState, rollout_name
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.system import SystemPolicy, SystemState
from capstan.domain.verdicts.evidence import OperationEvidence, PairedEvidence, VersionOperation
from capstan.domain.versions import Digest, ModelVersion, RunName, VersionName
from capstan.engine import Engine
from capstan.engine.policies import retraining_policy, rollout_policy
from capstan.engine.records import rollout_record, rollout_state
from capstan.ports.codec import to_json
from capstan.ports.kube import Object
from capstan.ports.store import Kind, Record
from capstan.spec import MLSystem, parse

HERE = Path(__file__).parent
V1, V2, V3 = (VersionName(name) for name in ("v1", "v2", "v3"))
CLICKS = {V1: 0.15, V2: 0.7, V3: 0.1}
"""How likely who asked a version clicks."""
TOKENS = {name: f"secret-{name}" for name in TOKEN_NAMES}
LEAST_UNITS = 200
"""Fewer than a file may say, since a test may not take so long; the versions differ by all the more."""
ONLINE = {
    "name": "clicked",
    "event": "click",
    "aggregate": "Rate",
    "per": "Request",
    "window": "1s",
    "maximumDelay": "1s",
    "better": "Higher",
}
BANDIT = {
    "per": "Request",
    "metric": "clicked",
    "arms": ["v3"],
    "floor": 10,
    "batch": "2s",
    "deadline": "1h",
}


def routed_system() -> MLSystem:
    """A bandit per Request between champion, challenger and one version more."""
    toy = toy_system(traffic={"provider": "Istio", "failures": "Bounded"})
    document = toy.model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"] |= {
        "evaluation": {"online": [ONLINE]},
        "rollout": {"steps": [{"bandit": BANDIT}]},
        "monitoring": {"volume": {"size": "1Gi"}},
    }
    return parse(document, base_dir=Path())


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)

    def wall(self) -> datetime:
        return datetime.now(UTC)


class Forwarding(httpx.BaseTransport):
    """Reaches pods by their addresses, as the operator does in a cluster, from a machine that may not."""

    def __init__(self, kube: KubeClient, namespace: str, port: int) -> None:
        self._kube, self._namespace, self._port = kube, namespace, port
        self._ways = ExitStack()
        self._known: dict[str, int] = {}
        self._below = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        if host not in self._known:
            [name] = [
                one["metadata"]["name"]
                for one in self._kube.list("Pod", self._namespace)
                if one["status"].get("podIP") == host
            ]
            self._known[host] = self._ways.enter_context(
                forwarded(self._namespace, f"pod/{name}", self._port)
            )
        request.url = request.url.copy_with(host="127.0.0.1", port=self._known[host])
        return self._below.handle_request(request)

    def close(self) -> None:
        self._ways.close()
        self._below.close()


@dataclass
class RoutedSystem:
    """The loop, and who asks and clicks."""

    kube: KubeClient
    namespace: str
    http: httpx.Client
    system: MLSystem = field(default_factory=routed_system)
    store: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        self.traffic = self._istio()

    @property
    def names(self) -> SystemNames:
        return SystemNames(self.namespace, self.system.metadata.name)

    @property
    def settings(self) -> ClusterSettings:
        python = os.environ.get("CAPSTAN_TEST_PYTHON_IMAGE", "capstan-python:test")
        router = os.environ.get("CAPSTAN_TEST_ROUTER_IMAGE", "capstan-bandit-router:test")
        return ClusterSettings(
            namespace=self.namespace, images=Images(python=python, operator=python, router=router)
        )

    # -- what is in the cluster

    def start(self) -> None:
        documents = [
            *access(self.system, self.names, self.settings, None),
            tokens(self.names, None, TOKENS),
            *recording(self.system, self.names, self.settings, None),
            *TRAFFIC["Istio"].objects(self.system, self.names, self.settings, None),
        ]
        for document in documents:
            if document["kind"] == "ConfigMap":
                config = json.loads(document["data"]["collector.json"])
                document["data"]["collector.json"] = json.dumps(config | {"flush_seconds": 1})
            self.kube.apply(document)
        for name in (V1, V2, V3):
            self.traffic.deploy(version(name))
        parts = (self.names.collector, self.names.monitor)
        wait_until(lambda: all(map(self._is_available, parts)), self.story)

    def _is_available(self, deployment: str) -> bool:
        found = self.kube.get("Deployment", deployment, self.namespace) or {}
        return bool(found.get("status", {}).get("readyReplicas"))

    def _istio(self) -> SeldonIstio:
        names, labels = self.names, self.names.selector(GRAPH_COMPONENT)
        router = RouterPods(
            self.kube,
            self.http,
            namespace=names.namespace,
            labels={**labels, PART_LABEL: ROUTER},
            port=ROUTER_PORT,
            token=TOKENS["internal"],
        )
        versions = VersionObjects(
            names.namespace,
            names.selector("model"),
            VERSION_LABEL,
            lambda _: str(names.system),
            lambda *_: (),
        )
        shared = SharedDeployment(
            names.metadata(str(names.system), names.labels("model"), None),
            {"protocol": "v2"},
            self._alone,
            EXECUTOR_PORT,
            RoutedGraph(self._graph, labels, PART_LABEL, router),
        )
        return SeldonIstio(
            self.kube, shared, versions, sticky=False, hides_failures=False, settles_seconds=60
        )

    def _alone(self, name: VersionName, artifact: Artifact, shadow: bool) -> Object:
        del shadow
        component = {
            "metadata": {"labels": self.names.version_labels(name), "annotations": artifact.annotations},
            "spec": self._arm(name, "model"),
            "replicas": 1,
        }
        graph = {"name": "model", "type": "MODEL", "implementation": "UNKNOWN_IMPLEMENTATION"}
        annotations = {"version": str(name), "seldon.io/no-engine": "true"}
        return {"name": str(name), "annotations": annotations, "graph": graph, "componentSpecs": [component]}

    def _graph(self, artifacts: Mapping[VersionName, Artifact]) -> Object:
        """As it is rendered, with small versions in it."""
        url = executor_log_url(self.names, TOKENS["executor"], shadow=False)
        made = routed_graph(
            self.system, self.names, self.settings, self.step, artifacts, {"mode": "all", "url": url}
        )
        for name, component in zip(artifacts, made["componentSpecs"][1:], strict=True):
            component["spec"] = self._arm(name, str(name))
        return made

    def _arm(self, name: VersionName, container_name: str) -> Object:
        """With a named port for metrics, as rendered: without one Seldon numbers it by predictor, and the graph's pods
        are made anew when a version before them is retired.
        """
        images = self.settings.images
        serve = container(
            container_name,
            images.python,
            images,
            ("python", "-c", (HERE / "graph" / "arm.py").read_text()),
            env=[{"name": "CAPSTAN_VERSION", "value": str(name)}],
            ports={"http": MODEL_PORT},
            resources={"requests": {"cpu": "10m", "memory": "32Mi"}},
            readinessProbe=http_probe("/v2/health/ready", "http", period_seconds=1),
        )
        serve["ports"].append(dict(METRICS_PORT))
        return pod(self.names, self.settings, [serve], grace_seconds=1)

    # -- the loop

    @property
    def step(self) -> BanditStep:
        [step] = rollout_policy(self.system).steps
        assert isinstance(step, BanditStep)
        return replace(step, min_units=LEAST_UNITS)

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """The loop at the beginning of a rollout of v2 against v1."""
        registry = MemoryRegistry()
        for name in (V1, V2, V3):
            registry.register(version(name), tags={}, metrics={})
        registry.set_alias("champion", V1)
        system, clock = self.names.system, SystemClock()
        request = RolloutRequest(
            rollout_name(system, V1, V2, 1),
            system,
            RolloutCause.CHALLENGER,
            version(V2),
            version(V1),
            others=(version(V3),),
        )
        state = SystemState(version(V1), clock.now(), rollout=request, rollouts=1)
        self.store.put(Record(Kind.SYSTEM, system, system, {}, {"state": to_json(state)}))
        self.store.put(rollout_record(request))
        rollout = replace(rollout_policy(self.system), steps=(self.step,), look_interval=timedelta(seconds=1))
        policy = SystemPolicy(rollout, retraining_policy(self.system))
        with (
            reached(self.kube, self.namespace, self.names.monitor, MONITOR_PORT) as address,
            httpx.Client(trust_env=False) as client,
        ):
            monitor = HttpMonitor(
                client, address, token=TOKENS["internal"], bento=lambda _: ("toy:0", Digest("sha256:0"))
            )
            evidence = MemoryEvidence(
                lambda *_: PairedEvidence(),
                lambda need, since, as_of: monitor.arms(need, since=since, as_of=as_of),
            )
            yield Engine(
                self.store,
                MemoryPipelines(None, registry, None),  # type: ignore[arg-type]
                registry,
                self.traffic,
                self.traffic,
                evidence,
                MemoryOperation(lambda champion, other, *_: OperationEvidence(alike(champion), alike(other))),
                MemoryAlerts(),
                MemoryMonitoring(),
                clock,
                policy=lambda _: policy,
                troubles=self.troubles,
            )

    @property
    def troubles(self) -> PodTroubles:
        labels = self.names.selector(GRAPH_COMPONENT)
        return PodTroubles(self.kube, self.namespace, labels, part_of)

    def told(self) -> list[str]:
        """Reasons of the story so far."""
        return [event.reason for _, event in self.store.events(self.names.system)]

    def rollout(self) -> RolloutState:
        [record] = self.store.list(Kind.ROLLOUT)
        return rollout_state(record)

    def status(self) -> str:
        record = self.store.get(Kind.SYSTEM, self.names.system)
        return json.dumps(record.status if record else None)[:6000]

    def story(self) -> str:
        events = [f"{event.at:%X} {event.reason}: {event.message}" for _, event in self.store.events(None)]
        pods = [
            f"{one['metadata']['name']}: {one['status'].get('phase')} "
            f"{json.dumps(one['status'].get('containerStatuses'))[:400]}"
            for one in self.kube.list("Pod", self.namespace)
        ]
        return "\n".join([*events, *pods, self.status()])

    # -- who asks

    @contextmanager
    def users(self, asked: int = 0) -> Iterator[Users]:
        """Who asks the graph as it is now, after so many that did before."""
        service = predictor_service(str(self.names.system), GRAPH)
        with (
            reached(self.kube, self.namespace, service, EXECUTOR_PORT) as executor,
            reached(self.kube, self.namespace, self.names.collector, COLLECTOR_PORT) as collector,
            httpx.Client(trust_env=False, timeout=20) as http,
        ):
            yield Users(http, executor, collector, asked)

    def way(self) -> dict[str, int]:
        """Where requests go by the VirtualService: predictors with their weights."""
        found = self.kube.get("VirtualService", str(self.names.system), self.namespace) or {}
        rules = found.get("spec", {}).get("http", [])
        return {
            each["destination"]["subset"]: each["weight"]
            for rule in rules
            for each in rule["route"]
            if each["weight"]
        }

    def is_graph_available(self) -> bool:
        """Whether every Deployment of the graph is, and with that of the router the executor."""
        found = self.kube.list("Deployment", self.namespace, labels=self.names.selector(GRAPH_COMPONENT))
        return bool(found) and all(one["status"].get("availableReplicas") for one in found)

    def kill(self, name: VersionName) -> None:
        """Its container in the graph ends, now and whenever it starts again."""
        service = container_service(str(self.names.system), GRAPH, name)
        body = {**INFER, "parameters": {"die": str(name)}}
        with reached(self.kube, self.namespace, service, MODEL_PORT) as address:
            try:
                httpx.post(f"{address}/v2/models/toy/infer", json=body, trust_env=False, timeout=5)
            except httpx.TransportError:
                return
        raise AssertionError(f"{name} did not die")


@dataclass
class Users:
    """Each asks once and may click."""

    http: httpx.Client
    executor: str
    collector: str
    asked: int = 0
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    def visit(self, count: int) -> list[tuple[VersionName, str]]:
        """Who answered each, and by which shares it was drawn."""
        found, clicks = [], []
        for _ in range(count):
            self.asked += 1
            request = f"r{self.asked}"
            answer = self.http.post(
                f"{self.executor}/v2/models/toy/infer", json=INFER, headers={"Seldon-Puid": request}
            )
            assert answer.status_code == 200, answer.text
            document: Any = answer.json()
            assert "model_name" in document, document
            name = VersionName(document["model_name"])
            assert document["parameters"]["capstan_arm"] == name
            found.append((name, str(document["parameters"]["capstan_shares"])))
            if self.chance.random() < CLICKS[name]:
                clicks.append({"eventId": f"click-{request}", "event": "click", "requestId": request})
        if clicks:
            headers = {"authorization": f"Bearer {TOKENS['feedback']}"}
            taken = self.http.post(f"{self.collector}/events", json={"events": clicks}, headers=headers)
            assert taken.status_code == 200, taken.text
        return found


def alike(name: VersionName) -> VersionOperation:
    return VersionOperation(name, 1000, 0, {0.01: 990, float("inf"): 1000})


def version(name: VersionName) -> ModelVersion:
    digest = Digest(f"sha256:{'a' * 64}")
    return ModelVersion(name, digest, RunName(f"run-{name}"), "toy:0123", datetime(2013, 2, 1, tzinfo=UTC))
