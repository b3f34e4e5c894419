"""All adapters of one system in a cluster; the only place that constructs them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import httpx

from capstan.adapters.alertmanager.server import AlertmanagerAlerts, AlertPoller
from capstan.adapters.envoy.fleet import EnvoyFleet
from capstan.adapters.kubernetes.alerting import (
    Alerting,
    MountedAlerting,
    OperatorAlerting,
    RuleFile,
    RuleReloader,
    ToldPeople,
)
from capstan.adapters.kubernetes.store import KubeStore
from capstan.adapters.kubernetes.troubles import PodTroubles
from capstan.adapters.mlflow.registry import MlflowRegistry
from capstan.adapters.own.monitor import HttpMonitor
from capstan.adapters.prometheus.operation import PrometheusOperation
from capstan.adapters.prometheus.query import PrometheusQuery
from capstan.cluster.missing_files import AdvisedPipelines
from capstan.cluster.moving import MovingServing
from capstan.cluster.names import (
    MONITOR_PORT,
    SYSTEM_LABEL,
    Owner,
    SystemNames,
)
from capstan.cluster.objects.alerting import WEBHOOK_TOKEN, alerting, in_force, rule_file, rule_key
from capstan.cluster.objects.notifying import notifying, unwanted
from capstan.cluster.objects.recording import READING, TOKEN_NAMES
from capstan.cluster.render import fixed_objects, storage_keys
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.tokens import TokenSource, read_token
from capstan.cluster.troubles import SystemTroubles, part_of
from capstan.cluster.wiring.batches import batches_of
from capstan.cluster.wiring.events import require_no_store
from capstan.cluster.wiring.traffic import traffic_of, wire_traffic
from capstan.cluster.wiring.traffic.provider import Surroundings, Versions
from capstan.cluster.wiring.training import pipelines_of
from capstan.domain.versions import Digest, SystemName, VersionName
from capstan.engine import Engine
from capstan.errors import NotFoundError
from capstan.ports.kube import Kube, Object
from capstan.ports.pipelines import Pipelines
from capstan.ports.traffic import TrafficProvider
from capstan.spec import MLSystem

_ALERTS_SECONDS = 2.0


class WallClock:
    """In a cluster both clocks are real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def wall(self) -> datetime:
        return datetime.now(UTC)


@dataclass(frozen=True)
class Shared:
    """What the systems of one operator have in common: connections, and the keys to derive and copy."""

    http: httpx.Client
    tokens: TokenSource
    reading: TokenSource | None
    """Of the tokens that only read; None: there are none."""
    query: PrometheusQuery
    reloader: RuleReloader
    alerts: AlertPoller
    settings: ClusterSettings
    webhook_token: str

    @classmethod
    def of(cls, settings: ClusterSettings) -> Shared:
        """Raises InvalidSpecError for files of the settings that cannot be read."""
        query = PrometheusQuery(settings.prometheus_url)
        token = read_token(settings.webhook_token, "webhook_token")
        return cls(
            http=httpx.Client(timeout=10.0, trust_env=False),
            tokens=TokenSource.read(settings.master_key),
            reading=TokenSource.read(settings.reading_key) if settings.reading_key is not None else None,
            query=query,
            reloader=RuleReloader(query),
            alerts=AlertPoller(settings.alertmanager_url, max_age_seconds=_ALERTS_SECONDS),
            settings=settings,
            webhook_token=token,
        )

    def keys(self) -> Mapping[str, str] | None:
        """Of the object storage, read anew: the Secret may be made after the operator. Raises UnavailableError."""
        keys = storage_keys(self.settings)
        for name, value in (keys or {}).items():
            # pyarrow and fsspec read the keys from the environment only.
            os.environ.setdefault(name, value)
        return keys


@dataclass
class ClusterSystem:
    """One system with everything it runs on."""

    system: MLSystem
    names: SystemNames
    store: KubeStore
    registry: MlflowRegistry
    serving: Versions
    gateway: TrafficProvider
    """Of some providers the same object as `serving`."""
    pipelines: Pipelines
    monitor: HttpMonitor
    engine: Engine
    render: Callable[[], list[Object]]

    def documents(self) -> Sequence[Object]:
        """Its fixed objects."""
        return self.render()

    def settle(self) -> None:
        """Bring the versions that run to what the file asks for."""
        self.serving.settle()

    def move(self) -> bool:
        """One step of the versions to another runtime; whether any is still on its way."""
        if isinstance(self.serving, MovingServing) and isinstance(self.gateway, EnvoyFleet):
            return self.serving.move(self.gateway)
        return False


class ClusterWiring:
    """Wires the systems of one operator."""

    def __init__(self, kube: Kube, settings: ClusterSettings, shared: Shared | None = None) -> None:
        """Raises InvalidSpecError for settings that cannot be followed."""
        self._kube = kube
        self._settings = settings
        self._shared = shared or Shared.of(settings)

    def wire(self, system: MLSystem, document: Object) -> ClusterSystem:
        """Construct every adapter; no call but to the API server.

        Raises InvalidSpecError for what this cluster does not have, UnavailableError for what it does not have yet.
        """
        require_no_store(system)
        meta, settings = document["metadata"], self._settings
        name = SystemName(system.metadata.name)
        owner = Owner(str(name), str(meta["uid"]))
        values, keys, tokens = self._tokens(owner), self._shared.keys(), self._shared.tokens
        names = SystemNames(
            str(meta["namespace"]),
            name,
            tokens_mark=tokens.mark(owner.uid, values),
            keys_mark=tokens.mark(owner.uid, keys) if keys is not None else "",
        )
        registry = MlflowRegistry(name, tracking_uri=settings.tracking_uri, model=names.registry_model)
        monitor = HttpMonitor(
            self._shared.http,
            f"http://{names.host(names.monitor)}:{MONITOR_PORT}",
            token=values["internal"],
            bento=lambda version: bento_of(registry, version),
        )
        store = KubeStore(self._kube, names.namespace)
        provider = traffic_of(system)
        around = Surroundings(self._kube, self._shared.http, names, settings, owner, values)
        serving, gateway = wire_traffic(system, around)
        runner = pipelines_of(system, names, settings, owner, self._kube, registry)
        pipelines = AdvisedPipelines(runner, names)
        troubles = SystemTroubles(
            PodTroubles(self._kube, names.namespace, {SYSTEM_LABEL: str(name)}, part_of),
            serving.troubles,
            self._alerting(system, names, owner),
        )
        engine = Engine(
            store,
            pipelines,
            registry,
            serving,
            gateway,
            monitor,
            PrometheusOperation(
                self._shared.query, name, namespace=names.namespace, behind_envoy=provider.facts.has_gateway
            ),
            AlertmanagerAlerts(self._shared.alerts, name, namespace=names.namespace),
            monitor,
            WallClock(),
            troubles=troubles,
            batches=batches_of(system, names, settings, owner, self._kube),
        )
        return ClusterSystem(
            system=system,
            names=names,
            store=store,
            registry=registry,
            serving=serving,
            gateway=gateway,
            pipelines=pipelines,
            monitor=monitor,
            engine=engine,
            render=lambda: fixed_objects(system, names, settings, owner, values, keys),
        )

    def clear(self, namespace: str, system: str) -> None:
        """Take the system's rules from the ConfigMap that it does not own; nothing happens where they are owned."""
        rules = self._settings.rules
        if rules is not None:
            names = SystemNames(namespace, SystemName(system))
            file = RuleFile(rules.namespace, rules.name, rule_key(names), "", "")
            MountedAlerting(self._kube, file, self._shared.reloader).remove()

    def _tokens(self, owner: Owner) -> Mapping[str, str]:
        values = dict(self._shared.tokens.tokens(owner.uid, TOKEN_NAMES))
        if self._shared.reading is not None:
            values[READING] = self._shared.reading.token(owner.uid, READING)
        if self._settings.rules is None and self._shared.webhook_token:
            # An AlertmanagerConfig reads it from the system's own namespace; what it opens is a hint and no more.
            values[WEBHOOK_TOKEN] = self._shared.webhook_token
        return values

    def _alerting(self, system: MLSystem, names: SystemNames, owner: Owner) -> Alerting:
        rules = self._settings.rules
        if rules is None:
            return OperatorAlerting(self._kube, alerting(system, names, self._settings, owner))
        content, asked = rule_file(system, names), in_force(system, names)
        file = RuleFile(rules.namespace, rules.name, rule_key(names), content, asked)
        people = notifying(system, names, self._settings, owner)
        return ToldPeople(
            MountedAlerting(self._kube, file, self._shared.reloader),
            self._kube,
            names.namespace,
            people,
            () if people else unwanted(names),
        )


def bento_of(registry: MlflowRegistry, name: VersionName) -> tuple[str, Digest]:
    """Tag and digest of a version's Bento; raises NotFoundError, UnavailableError."""
    version = registry.version(name)
    if version is None:
        raise NotFoundError(f"the registry knows no version {name!r}")
    return version.bento_tag, version.digest
