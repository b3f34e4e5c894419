"""All adapters of one system on one machine; the only place that constructs them."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson

from capstan.adapters.alertmanager import server as alerting
from capstan.adapters.alertmanager.server import AlertmanagerAlerts, AlertmanagerServer, AlertmanagerSettings
from capstan.adapters.alertmanager.webhook import WebhookReceiver
from capstan.adapters.bentoml.packager import BentoPackager
from capstan.adapters.bentoml.serving import BentoServing, ServiceOptions
from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.gateway import EnvoyGateway
from capstan.adapters.envoy.shared import SharedGateway
from capstan.adapters.kubeflow.local import KfpLocalPipelines, LocalPlaces
from capstan.adapters.mlflow.registry import MlflowRegistry
from capstan.adapters.own.collector import CollectorClient
from capstan.adapters.own.combiner import CombinerClient
from capstan.adapters.own.evidence import ParquetEvidence
from capstan.adapters.own.monitor import MonitorClient
from capstan.adapters.processes.children import ProcessSpec, ProcessSupervisor
from capstan.adapters.prometheus import server as measuring
from capstan.adapters.prometheus.operation import PrometheusOperation
from capstan.adapters.prometheus.server import PrometheusServer, PrometheusSettings
from capstan.adapters.sqlite.store import SqliteStore
from capstan.artifacts.content import MODEL_FOLDER
from capstan.domain.system import SystemPolicy
from capstan.domain.versions import SystemName, VersionName
from capstan.embedded.batch.processes import ProcessBatches
from capstan.embedded.clocks import ReplayClock, WallClock
from capstan.embedded.known_folders import remember
from capstan.embedded.layout import StateDir
from capstan.embedded.refusals import require_one_machine
from capstan.embedded.replay.fixed_durations import FixedDurations, FixedTimePipelines, FixedTimeServing
from capstan.embedded.shared_parts import SharedParts
from capstan.engine import Engine
from capstan.engine.policies import policy_of, replay_policy_of
from capstan.errors import NotFoundError
from capstan.files import write_whole
from capstan.monitoring.pace import BY_ROWS, live_pace
from capstan.online.stores import servers_of
from capstan.ports.combining import COMBINER
from capstan.ports.pipelines import Pipelines
from capstan.ports.serving import Endpoint
from capstan.ports.store import Record, Store
from capstan.spec import MLSystem
from capstan.training.job import Places

HOST = "127.0.0.1"
LIVE_FLUSH_SECONDS = 10.0
"""Seconds between two times at which a live collector stores what it has taken."""
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Addresses:
    """Where people and clients reach the system."""

    page_port: int = 7411
    gateway_port: int = 7480
    page_path: str = ""
    gateway_path: str = ""
    """Where several systems share a gateway: `/NAME`, or empty for the first of them."""

    @property
    def page_root(self) -> str:
        """The page of all systems there."""
        return f"http://{HOST}:{self.page_port}"

    @property
    def page(self) -> str:
        return f"{self.page_root}{self.page_path}"

    @property
    def gateway(self) -> str:
        return f"http://{HOST}:{self.gateway_port}{self.gateway_path}"


@dataclass(frozen=True)
class LocalSystem:
    """One system with everything it runs on."""

    system: MLSystem
    name: SystemName
    state: StateDir
    addresses: Addresses
    clock: WallClock | ReplayClock
    charges: FixedDurations
    processes: ProcessSupervisor
    store: SqliteStore
    registry: MlflowRegistry
    packager: BentoPackager
    pipelines: FixedTimePipelines
    runs: KfpLocalPipelines
    """What really trains; `pipelines` hides what event time has not reached."""
    serving: FixedTimeServing
    versions: BentoServing
    """What really runs; `serving` hides what event time has not reached."""
    gateway: EnvoyGateway | SharedGateway
    prometheus: PrometheusServer
    alertmanager: AlertmanagerServer
    alerts: AlertmanagerAlerts
    webhook: WebhookReceiver
    collector: CollectorClient
    combiner: CombinerClient | None
    """None: no step of the file interleaves."""
    monitor: MonitorClient
    evidence: ParquetEvidence
    engine: Engine
    policy: Callable[[Record], SystemPolicy]
    """How the engine reads the file."""
    helpers: tuple[ProcessSpec, ...]
    """The collector and the monitor, and the combiner where a step interleaves."""
    shared: SharedParts | None
    """What it shares with other systems of this machine; None: all parts are its own."""
    batches: ProcessBatches | None
    """None: it is a replay, which makes none."""

    def close(self) -> None:
        """Let go of files and connections; nothing is stopped."""
        for part in (self.evidence, self.collector, self.monitor, self.store):
            part.close()


def spec_document(system: MLSystem) -> dict[str, Any]:
    """The file as plain data, as stores and child processes get it."""
    document: dict[str, Any] = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {"apiVersion": system.api_version, "kind": system.kind, **document}


def wire(
    system: MLSystem,
    state: StateDir,
    *,
    addresses: Addresses,
    clock: WallClock | ReplayClock,
    charges: FixedDurations | None = None,
    shared: SharedParts | None = None,
) -> LocalSystem:
    """Construct every adapter; nothing is started yet. With `shared` those parts are taken from there."""
    require_one_machine(system)
    name = SystemName(system.metadata.name)
    state.prepare(name)
    remember(state)
    charges = charges or FixedDurations()
    replay = isinstance(clock, ReplayClock)
    write_whole(state.spec(name), orjson.dumps(spec_document(system)))
    processes = processes_of(state)
    collector_port, monitor_port = processes.port("collector"), processes.port("monitor")
    combiner = (
        CombinerClient(Endpoint(HOST, processes.port(COMBINER))) if system.spec.rollout.interleaves else None
    )
    collector = CollectorClient(
        f"http://{HOST}:{collector_port}",
        internal_token=state.token("internal"),
        feedback_token=state.token("feedback"),
    )
    store = SqliteStore(state.store)
    registry = MlflowRegistry(name, tracking_uri=state.tracking_uri, artifact_root=state.mlflow_artifacts)
    packager = BentoPackager(state.bentos)
    monitor = MonitorClient(
        f"http://{HOST}:{monitor_port}",
        folder=state.monitor(name),
        token=state.token("internal"),
        model_dir=lambda version: model_folder(registry, packager, version),
    )
    charged = system.spec.replay.charges if replay and system.spec.replay else None
    pipelines = KfpLocalPipelines(system, _places(state, name, registry), registry)
    servers = servers_of(system)
    serving = BentoServing(
        processes,
        packager,
        ServiceOptions(
            system=name,
            home=state.bentos,
            collector_url=collector.address,
            token_file=state.token_file("internal"),
            events_file=state.events(name) if system.spec.data.events else None,
            events_servers=servers,
            event_time_header=replay,
            secrets=state.secrets.resolve() if system.spec.data.privacy.columns or servers else None,
        ),
    )
    gateway_settings = GatewaySettings(
        port=addresses.gateway_port,
        collector=Endpoint(HOST, collector_port),
        combiner=combiner.endpoint if combiner is not None else None,
        keeps_request_ids=replay,
    )
    gateway: EnvoyGateway | SharedGateway
    if shared is None:
        gateway = EnvoyGateway(processes, state.run / "envoy", gateway_settings, port_of=processes.port)
    else:
        counters = state.run / "envoy" / "counters.json"
        gateway = SharedGateway(shared.envoy, name, counters, gateway_settings, port_of=processes.port)
    alertmanager = (
        shared.alertmanager
        if shared is not None
        else AlertmanagerServer(
            processes,
            state.run / "alertmanager",
            AlertmanagerSettings(
                webhook_url=f"{addresses.page}/alerts",
                webhook_token_file=state.token_file("webhook"),
                **(alerting.REPLAY if replay else {}),
            ),
        )
    )
    prometheus = (
        shared.prometheus
        if shared is not None
        else PrometheusServer(
            processes,
            state.run / "prometheus",
            replace(
                measuring.REPLAY if replay else PrometheusSettings(),
                envoy_admin=gateway.admin_address.removeprefix("http://"),
                alertmanager=alertmanager.address.removeprefix("http://"),
            ),
        )
    )
    alerts = AlertmanagerAlerts(alertmanager.address, name)
    evidence = ParquetEvidence(state.system(name), system)
    charged_pipelines = FixedTimePipelines(
        pipelines, clock, charges, charged.training if charged else timedelta(0)
    )
    charged_serving = FixedTimeServing(
        serving, clock, charges, charged.deployment if charged else timedelta(0)
    )
    policy = replay_policy_of if replay else policy_of
    batches = (
        None if replay else ProcessBatches(processes, state, system, spec_document(system), collector.address)
    )
    engine = Engine(
        store,
        charged_pipelines,
        registry,
        charged_serving,
        gateway,
        evidence,
        PrometheusOperation(prometheus.query, name, envoy_is_shared=shared is not None),
        alerts,
        monitor,
        clock,
        policy=policy,
        # A replay makes none.
        batches=batches,
    )
    return LocalSystem(
        system=system,
        name=name,
        state=state,
        addresses=addresses,
        clock=clock,
        charges=charges,
        processes=processes,
        store=store,
        registry=registry,
        packager=packager,
        pipelines=charged_pipelines,
        runs=pipelines,
        serving=charged_serving,
        versions=serving,
        gateway=gateway,
        prometheus=prometheus,
        alertmanager=alertmanager,
        alerts=alerts,
        webhook=shared.webhook if shared is not None else WebhookReceiver(state.token("webhook")),
        collector=collector,
        combiner=combiner,
        monitor=monitor,
        evidence=evidence,
        engine=engine,
        policy=policy,
        helpers=(
            *_helpers(state, system, collector_port, monitor_port, replay=replay),
            *([_combiner(state, name, combiner, collector, replay=replay)] if combiner is not None else []),
        ),
        shared=shared,
        batches=batches,
    )


def processes_of(state: StateDir) -> ProcessSupervisor:
    """The processes of a state directory, for a caller that only stops or adopts them."""
    return ProcessSupervisor(state.processes, state.logs)


@contextmanager
def open_store(state: StateDir) -> Iterator[Store]:
    """The store of a state directory, for a caller that looks into it before anything runs."""
    store = SqliteStore(state.store)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def recorded_evidence(system: MLSystem, state: StateDir) -> Iterator[ParquetEvidence]:
    """What the payloads and labels on disk say, while nothing runs or beside what runs."""
    evidence = ParquetEvidence(state.system(SystemName(system.metadata.name)), system)
    try:
        yield evidence
    finally:
        evidence.close()


@contextmanager
def wire_training(system: MLSystem, state: StateDir) -> Iterator[tuple[Pipelines, Store]]:
    """What one pipeline run without serving needs; the directory is prepared."""
    name = SystemName(system.metadata.name)
    with open_store(state) as store:
        registry = MlflowRegistry(name, tracking_uri=state.tracking_uri, artifact_root=state.mlflow_artifacts)
        yield KfpLocalPipelines(system, _places(state, name, registry), registry), store


def _places(state: StateDir, name: SystemName, registry: MlflowRegistry) -> LocalPlaces:
    return LocalPlaces(
        runs=state.runs(name),
        secrets=state.secrets,
        bentos=state.bentos,
        tracking_uri=registry.tracking_uri,
        artifact_root=state.mlflow_artifacts,
    )


def model_folder(registry: MlflowRegistry, packager: BentoPackager, name: VersionName) -> Path:
    """The model inside the version's verified Bento; raises NotFoundError, UntrustedArtifactError, UnavailableError."""
    version = registry.version(name)
    if version is None:
        raise NotFoundError(f"the registry knows no version {name!r}")
    return packager.verify(version.bento_tag, version.digest) / MODEL_FOLDER


def stored_model(system: MLSystem, state: StateDir, name: VersionName) -> Path:
    """The model folder of a version of this directory, verified as `model_folder` does; nothing needs to run."""
    return model_folder(registry_of(system, state), BentoPackager(state.bentos), name)


def packager_of(state: StateDir) -> BentoPackager:
    """The Bentos of a state directory; nothing needs to run."""
    return BentoPackager(state.bentos)


def places_of(system: MLSystem, state: StateDir) -> Places:
    """Where a run of this directory finds and leaves things, as its folder says it."""
    return Places(
        base_dir=str(system.base_dir.resolve()),
        secrets=str(state.secrets.resolve()),
        tracking_uri=state.tracking_uri,
        artifact_root=str(state.mlflow_artifacts.resolve()),
        bentos=str(state.bentos.resolve()),
    )


def registry_of(system: MLSystem, state: StateDir) -> MlflowRegistry:
    """The versions of a system of this directory; nothing needs to run."""
    return registry_named(SystemName(system.metadata.name), state)


def registry_named(system: SystemName, state: StateDir) -> MlflowRegistry:
    """The same of a system by its name."""
    return MlflowRegistry(
        system,
        tracking_uri=state.tracking_uri,
        artifact_root=state.mlflow_artifacts,
    )


@contextmanager
def collector_behind(gateway: str, token: str) -> Iterator[CollectorClient]:
    """The collector behind a gateway elsewhere, which lets labels through by this token, and nothing else."""
    client = CollectorClient(gateway, internal_token="", feedback_token=token)
    try:
        yield client
    finally:
        client.close()


@contextmanager
def collector_of(state: StateDir) -> Iterator[CollectorClient]:
    """The collector of what runs in the directory; raises NotFoundError where nothing does."""
    try:
        ports = orjson.loads((state.processes / "ports.json").read_bytes()) if state.holder() else {}
    except (OSError, ValueError):
        ports = {}
    if "collector" not in ports:
        raise NotFoundError(
            f"{state.root}: nothing runs here that takes labels; `capstan up FILE` starts the system, --state names "
            "another directory"
        )
    client = CollectorClient(
        f"http://{HOST}:{ports['collector']}",
        internal_token=state.token("internal"),
        feedback_token=state.token("feedback"),
    )
    try:
        yield client
    finally:
        client.close()


def _helpers(
    state: StateDir, system: MLSystem, collector_port: int, monitor_port: int, *, replay: bool
) -> tuple[ProcessSpec, ...]:
    """The collector and the monitor. The monitor looks by itself when live, and only when told to in a replay."""
    name = SystemName(system.metadata.name)
    window = system.spec.monitoring.window
    pace = live_pace(
        window.step if window.rows is None else min(BY_ROWS, window.step), flush_seconds=LIVE_FLUSH_SECONDS
    )
    tokens = {token: str(state.token_file(token)) for token in ("internal", "feedback")}
    collector = {
        "port": collector_port,
        "directory": str(state.run / "collector"),
        "systems": str(state.root / "systems"),
        "tokens": tokens,
        "secrets": str(state.secrets.resolve()),
        "flush_seconds": 60.0 if replay else LIVE_FLUSH_SECONDS,
    }
    monitor = {
        "port": monitor_port,
        "system": name,
        "folder": str(state.system(name)),
        "token": tokens["internal"],
        "interval_seconds": None if replay else pace.interval_seconds,
        "grace_seconds": None if replay else pace.grace_seconds,
    }
    return (
        _python("collector", "capstan.recording.collector.server", collector, collector_port, state),
        _python("monitor", "capstan.monitoring.monitor", monitor, monitor_port, state),
    )


def _combiner(
    state: StateDir, system: SystemName, client: CombinerClient, collector: CollectorClient, *, replay: bool
) -> ProcessSpec:
    config = {
        "port": client.endpoint.port,
        "system": system,
        "collector_url": collector.address,
        "token": str(state.token_file("internal")),
        "event_time_header": replay,
    }
    return _python(COMBINER, "capstan.serving.combiner.process", config, client.endpoint.port, state)


def _python(name: str, module: str, config: dict[str, object], port: int, state: StateDir) -> ProcessSpec:
    file = state.run / name / "config.json"
    content = orjson.dumps(config, option=orjson.OPT_INDENT_2)
    write_whole(file, content)
    return ProcessSpec(
        name=name,
        argv=(sys.executable, "-m", module, "--config", str(file)),
        env={"CAPSTAN_CONFIG": hashlib.sha256(content).hexdigest(), **ONE_THREAD},
        health_url=f"http://{HOST}:{port}/healthz",
    )
