"""Envoy as the gateway in a cluster: several pods that obey one split, each fed by its agent, with a ConfigMap behind.

A pod may start at any moment, and starts with what the ConfigMap says. So the ConfigMap is written before any pod is
told, step by step, and no state of it ever routes to a version that is gone or was not found ready:

1. ConfigMap, then pods: the clusters of the old and of the new split, the routes of the old one.
2. Wait until every pod finds the new versions ready.
3. ConfigMap, then pods: the routes of the new split. A pod that starts from here on obeys it.
4. Wait until nothing is under way to the versions that leave, on any pod; then ConfigMap and pods without them.

Each state of the ConfigMap has a number, and pods refuse what is older than what they obey. The number that the
ConfigMap says is compared with theirs: if it is lower, somebody has put back an old copy, and what the pods obey is
where the next change begins.

A pod whose volume was mounted before step 3 and that starts after it asks its peers, who have been told by then; one
that listens already is told with the others, ready or not. Only when every ready pod and the ConfigMap say the new
split does `read_back` say it, and only then may the caller take a version away.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx
import orjson

from capstan.adapters.envoy import config as envoy_config
from capstan.adapters.envoy import host as envoy_host
from capstan.adapters.envoy import order as envoy_order
from capstan.adapters.envoy import stats as envoy_stats
from capstan.adapters.envoy.config import GatewaySettings, Json, agreed
from capstan.adapters.envoy.host import PART, EnvoyHost, Kind, generation_of
from capstan.adapters.envoy.order import OrderedTraffic
from capstan.adapters.envoy.pod import AgentEnvoy
from capstan.adapters.envoy.stats import PredictionCounts
from capstan.adapters.kubernetes.conditions import holds
from capstan.domain.traffic import TrafficSplit
from capstan.domain.versions import VersionName
from capstan.errors import CapstanError, ConflictError, UnavailableError
from capstan.ports.kube import Kube, Object
from capstan.ports.serving import Endpoint

FIELD_MANAGER = "capstan-gateway"
"""Field manager that owns the ConfigMap's data only, so that whoever applies the ConfigMap itself never removes
the data.
"""
GENERATION_KEY = "generation"
_FILES: dict[Kind, str] = {"clusters": "clusters.json", "routes": "routes.json"}


class EnvoyFleet(OrderedTraffic):
    """The TrafficProvider of one system in a cluster, over all of its gateway pods that are ready."""

    _looks_seconds = 0.1

    def __init__(
        self,
        kube: Kube,
        http: httpx.Client,
        *,
        config_map: Object,
        labels: Mapping[str, str],
        agent_port: int,
        token: str,
        settings: GatewaySettings,
        ready_timeout_seconds: float = 15.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """config_map: its metadata, with namespace and name; labels: of the gateway pods; token: the internal one."""
        super().__init__(settings, ready_timeout_seconds=ready_timeout_seconds, sleep=sleep)
        self._kube = kube
        self._http = http
        self._metadata = config_map
        self._labels = labels
        self._agent_port = agent_port
        self._token = token
        self._clock = clock
        self._counted: dict[str, PredictionCounts] = {}

    def read_back(self) -> TrafficSplit | None:
        """The split that every ready pod obeys and the next one would; one that none was told where they differ."""
        return agreed([*(envoy_host.split(host) for host in self._hosts()), self._written().split])

    def endpoints(self) -> Mapping[VersionName, Endpoint | None]:
        """Where each version's requests go on every ready pod, and would on the next one; None where they differ."""
        lives = [envoy_host.live(host, "clusters") for host in self._hosts()]
        return envoy_order.agreed_endpoints([*lives, self._written().resources("clusters")])

    def predictions(self) -> PredictionCounts:
        """Answered, refused and failed predictions, summed over all lives of all Envoys that this object has read."""
        for host in self._hosts():
            self._counted[host.boot()] = envoy_stats.predictions(host.ask)
        counts = self._counted.values()
        return PredictionCounts(
            answered=sum(count.answered for count in counts),
            refused=sum(count.refused for count in counts),
            failed=sum(count.failed for count in counts),
        )

    def completed_predictions(self) -> int:
        """Predictions that a version answered; mirrors, retries and feedback not counted."""
        return self.predictions().completed

    def active_requests(self) -> int:
        """Requests, mirrored copies and retries that are not answered yet, on all pods."""
        return sum(envoy_stats.active(host.ask) for host in self._hosts())

    def assigned(self) -> Mapping[VersionName, int]:
        """Predictions that the split gave to each arm in the present lives of all Envoys."""
        found: Counter[VersionName] = Counter()
        for host in self._hosts():
            found += envoy_stats.assigned(host.ask)
        return found

    def _hosts(self) -> Sequence[EnvoyHost]:
        ready = [pod for pod in self._pods() if _is_ready(pod)]
        if not ready:
            raise UnavailableError(PART, f"no pod of {self._metadata['name']} is ready")
        generation = self._written().generation
        return [self._host(pod, generation) for pod in ready]

    def _host(self, pod: Object, generation: int) -> AgentEnvoy:
        address = f"http://{pod['status']['podIP']}:{self._agent_port}"
        name = str(pod["metadata"]["name"])
        return AgentEnvoy(self._http, address, self._token, pod=name, generation=generation)

    def _pods(self) -> list[Object]:
        """Pods that run, ready or not, including those that are about to end."""
        found = self._kube.list("Pod", self._metadata["namespace"], labels=self._labels)
        running = [pod for pod in found if pod.get("status", {}).get("phase") == "Running"]
        return sorted(
            (pod for pod in running if pod["status"].get("podIP")),
            key=lambda pod: str(pod["metadata"]["name"]),
        )

    def _live(self, kind: Kind) -> list[Json]:
        """What any pod obeys or the next one would obey, by name."""
        found = {resource["name"]: resource for resource in super()._live(kind)}
        for resource in self._newest(self._written()).resources(kind):
            found.setdefault(resource["name"], resource)
        return list(found.values())

    def _set(self, kind: Kind, content: bytes, taken: Callable[[EnvoyHost], bool]) -> None:
        self._write(kind, content)
        try:
            super()._set(kind, content, taken)
        except ConflictError as error:
            raise UnavailableError(PART, f"somebody else configures it: {error}") from error
        self._tell_others(kind, content)

    def _tell_others(self, kind: Kind, content: bytes) -> None:
        """Tell pods that are not ready yet or about to end; they may not listen yet, or no longer."""
        generation = self._written().generation
        for pod in self._pods():
            if not _is_ready(pod):
                with contextlib.suppress(CapstanError):
                    self._host(pod, generation).publish(kind, content)

    def _write(self, kind: Kind, content: bytes) -> None:
        written = self._written()
        newest = self._newest(written)
        is_so = written.data.get(_FILES[kind]) == content.decode() and written.generation > 0
        if is_so and newest is written:
            return
        data = {**self._empty(), **newest.data, _FILES[kind]: content.decode()}
        # Numbers come from the clock. They then rise even where the ConfigMap was deleted and no pod was left.
        self._put(data, max(newest.generation + 1, int(self._clock())), written.resource_version)

    def _put(self, data: Mapping[str, str], generation: int, resource_version: str | None) -> None:
        metadata = dict(self._metadata)
        if resource_version is not None:
            # For a moment two operators may believe that they lead. The second to write gets the conflict.
            metadata["resourceVersion"] = resource_version
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": {**{file: data[file] for file in _FILES.values()}, GENERATION_KEY: str(generation)},
        }
        try:
            self._kube.apply(document, manager=FIELD_MANAGER)
        except ConflictError as error:
            raise UnavailableError(
                PART, f"ConfigMap {self._metadata['name']} was changed meanwhile: {error}"
            ) from error

    def _empty(self) -> dict[str, str]:
        clusters = envoy_config.clusters(None, {}, self.settings)
        return {
            _FILES["clusters"]: envoy_config.document(clusters)[1].decode(),
            _FILES["routes"]: envoy_config.document([envoy_config.routes(None, self.settings)])[1].decode(),
        }

    def _written(self) -> _PublishedConfiguration:
        found = self._kube.get("ConfigMap", self._metadata["name"], self._metadata["namespace"]) or {}
        version = found.get("metadata", {}).get("resourceVersion")
        return _PublishedConfiguration(found.get("data") or {}, version)

    def _newest(self, written: _PublishedConfiguration) -> _PublishedConfiguration:
        """The ConfigMap's content, or that of a pod with a higher number."""
        newest = written
        for pod in self._pods():
            try:
                generation, documents = self._host(pod, newest.generation).configuration()
            except UnavailableError:
                # A pod that starts or ends is not waited for. A ready pod that does not answer stops the change.
                continue
            if generation > newest.generation:
                data = {_FILES[kind]: content for kind, content in documents.items()}
                newest = _PublishedConfiguration(
                    {**data, GENERATION_KEY: str(generation)}, written.resource_version
                )
        return newest


def published_split(kube: Kube, namespace: str, name: str, labels: Mapping[str, str]) -> TrafficSplit | None:
    """The split in the ConfigMap of a gateway, which each of its pods is to obey; None: none was told yet."""
    for found in kube.list("ConfigMap", namespace, labels=labels):
        if found["metadata"]["name"] == name:
            return _PublishedConfiguration(found.get("data") or {}, None).split
    return None


class _PublishedConfiguration:
    """Content of the ConfigMap, which the next pod would obey."""

    def __init__(self, data: Mapping[str, str], resource_version: str | None) -> None:
        self.data = data
        self.resource_version = resource_version
        """Version of the ConfigMap that was read; None: it does not exist yet."""

    @property
    def generation(self) -> int:
        return generation_of(self.data.get(GENERATION_KEY, "")) or 0

    @property
    def split(self) -> TrafficSplit | None:
        tables = self.resources("routes")
        return envoy_config.split_of(tables[0]) if tables else None

    def resources(self, kind: Kind) -> list[Json]:
        """Resources of the document; None if it is broken: no pod would start with it."""
        try:
            found: Any = orjson.loads(self.data.get(_FILES[kind], ""))["resources"]
        except (ValueError, KeyError, TypeError):
            return []
        return [resource for resource in found if isinstance(resource, dict) and "name" in resource]


def _is_ready(pod: Object) -> bool:
    """Whether requests are sent to it now."""
    return holds(pod, "Ready") and "deletionTimestamp" not in pod["metadata"]
