"""Everything that the page reads of a system in a cluster; it writes nothing, and holds no token that could."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import httpx

from capstan.adapters.alertmanager.server import AlertmanagerAlerts, AlertPoller
from capstan.adapters.envoy.fleet import published_split
from capstan.adapters.kubernetes.conditions import holds
from capstan.adapters.kubernetes.pods import last_message, newest
from capstan.adapters.kubernetes.run_report import read_last_words, read_progress
from capstan.adapters.kubernetes.store import KubeStore
from capstan.adapters.mlflow.registry import MlflowRegistry
from capstan.adapters.own.monitor import HttpMonitor
from capstan.adapters.prometheus.query import PrometheusQuery
from capstan.cluster.names import COMPONENT_LABEL, MONITOR_PORT, SYSTEM_LABEL, VERSION_LABEL, SystemNames
from capstan.cluster.objects.recording import READING
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.tokens import TokenSource
from capstan.cluster.wiring.links import PublicAddresses, links_of, links_of_run
from capstan.cluster.wiring.serving import serving_of
from capstan.cluster.wiring.systems import WallClock, bento_of
from capstan.cluster.wiring.traffic import traffic_of, wire_traffic
from capstan.cluster.wiring.traffic.provider import Surroundings
from capstan.dashboard.fleet_numbers import FleetQuery, system_budgets, system_numbers, system_totals
from capstan.dashboard.observation import ObservedRun
from capstan.dashboard.page import LinkShown, Part
from capstan.dashboard.remembering import Patience, Remembered
from capstan.dashboard.view import Sources, StoreView
from capstan.domain.comparison import PredictionComparison
from capstan.domain.online_steps import OnlineStep
from capstan.domain.reasons import Tone
from capstan.domain.rollout import RolloutRequest, RolloutState
from capstan.domain.steps.questions import Arms, Interleaving
from capstan.domain.traffic import TrafficSplit
from capstan.domain.training import RunPhase, RunStatus
from capstan.domain.verdicts.evidence import ArmsEvidence, PairedEvidence
from capstan.domain.verdicts.preference import PreferenceEvidence
from capstan.domain.versions import Readiness, RunName, SystemName, VersionName
from capstan.engine.observe import ask_users
from capstan.engine.policies import document_of
from capstan.engine.records import training_state
from capstan.errors import CapstanError, NotFoundError
from capstan.ports.kube import Kube, Object
from capstan.ports.store import Kind
from capstan.spec import MLSystem, parse

LOG_LINES = 300
_SOON, _LATER, _RARELY = 5.0, 10.0, 30.0
"""Seconds for which answers are remembered: numbers and alerts, versions and windows, evidence that reads files."""


class ViewingWiring:
    """Wires what pages read; parts are asked in the background, each kind by threads of its own."""

    def __init__(
        self, kube: Kube, settings: ClusterSettings, addresses: PublicAddresses | None = None
    ) -> None:
        """`kube` answers from watches. Raises InvalidSpecError for settings that cannot be followed."""
        self._kube = kube
        self._settings = settings
        self._addresses = addresses or PublicAddresses()
        self._http = httpx.Client(timeout=10.0, trust_env=False)
        self._reading = TokenSource.read(settings.reading_key) if settings.reading_key is not None else None
        self._alerts = AlertPoller(settings.alertmanager_url, max_age_seconds=_SOON)
        self._pools = {
            part: ThreadPoolExecutor(threads, thread_name_prefix=part)
            for part, threads in (
                ("alerts", 2), ("numbers", 1), ("registry", 4), ("monitor", 8), ("gateway", 4), ("runs", 4),
            )
        }  # fmt: skip
        self._numbers = Remembered(
            "Prometheus",
            FleetQuery(PrometheusQuery(settings.prometheus_url)),
            self._pools["numbers"],
            seconds=_SOON,
        )

    def store(self, namespace: str) -> KubeStore:
        """Records of a namespace, by the watches."""
        return KubeStore(self._kube, namespace)

    def view(self, namespace: str, name: str, uid: str) -> StoreView:
        """The page's view of one system."""
        names = SystemNames(namespace, SystemName(name))
        store = self.store(namespace)
        registry = MlflowRegistry(
            names.system, tracking_uri=self._settings.tracking_uri, model=names.registry_model
        )
        alerts = AlertmanagerAlerts(self._alerts, names.system, namespace=namespace)
        seen = _Seen(self._kube, self._http, self._settings, names, store)
        token = self._reading.token(uid, READING) if self._reading is not None else ""
        monitor = HttpMonitor(
            self._http,
            f"http://{names.host(names.monitor)}:{MONITOR_PORT}",
            token=token,
            bento=lambda version: bento_of(registry, version),
        )
        pools, look = self._pools, Patience()
        versions = Remembered("registry", registry.versions, pools["registry"], seconds=_LATER, look=look)
        windows = Remembered("monitor", monitor.windows, pools["monitor"], seconds=_LATER, look=look)
        active = Remembered("Alertmanager", alerts.active, pools["alerts"], seconds=_SOON, look=look)
        operation = Remembered("Alertmanager", alerts.operation, pools["alerts"], seconds=_SOON, look=look)
        split = Remembered("gateway", seen.split, pools["gateway"], seconds=_SOON, look=look)

        def paired(request: RolloutRequest, state: RolloutState, metric: str) -> PairedEvidence | None:
            if request.champion is None or state.step_since is None:
                return None
            return monitor.paired(
                request.champion.name,
                request.challenger.name,
                metric=metric,
                since=state.step_since,
                as_of=datetime.now(UTC),
            )

        def users(step: OnlineStep, need: Arms | Interleaving) -> ArmsEvidence | PreferenceEvidence:
            return ask_users(monitor, need, step.champion, step.challenger, since=step.since, now=step.until)

        def compared(request: RolloutRequest, state: RolloutState) -> PredictionComparison | None:
            if request.champion is None or state.step_since is None:
                return None
            return monitor.compared(
                request.champion.name,
                request.challenger.name,
                since=state.step_since,
                as_of=datetime.now(UTC),
            )

        mlflow_pages = Remembered(
            "registry", registry.run_pages, pools["registry"], seconds=_RARELY, look=look
        )

        def run_links(runs: Sequence[ObservedRun]) -> Mapping[RunName, Sequence[LinkShown]]:
            pages: Mapping[RunName, str] = {}
            # A registry that is away is told where versions are asked for.
            with suppress(CapstanError):
                pages = mlflow_pages() if self._addresses.mlflow else {}
            return {run.request.run: links_of_run(self._addresses, run, pages) for run in runs}

        def begin() -> None:
            look.begin()
            if self._addresses.mlflow:
                mlflow_pages.begin()
            for source in (versions, windows, active, operation, split, self._numbers):
                source.begin()

        return StoreView(
            store,
            names.system,
            WallClock(),
            is_replay=False,
            namespace=namespace,
            sources=Sources(
                begin=begin,
                versions=versions,
                card=registry.artifact,
                readiness=seen.readiness,
                split=split,
                run=Remembered(
                    "pipelines", seen.run, pools["runs"], seconds=_SOON, look=look, key=lambda run: run
                ),
                alerts=active,
                operation_alerts=operation,
                evidence=Remembered(
                    "evidence",
                    paired,
                    pools["monitor"],
                    seconds=_RARELY,
                    look=look,
                    key=lambda request, state, metric: (request.name, state.step, state.step_since, metric),
                ),
                users=Remembered(
                    "users",
                    users,
                    pools["monitor"],
                    seconds=_RARELY,
                    look=look,
                    key=lambda step, need: (step.champion, step.challenger, step.since, repr(need)),
                ),
                comparison=Remembered(
                    "comparison",
                    compared,
                    pools["monitor"],
                    seconds=_RARELY,
                    look=look,
                    key=lambda request, state: (request.name, state.step),
                ),
                windows=windows,
                numbers=system_numbers(self._numbers, (namespace, name)),
                budgets=system_budgets(self._numbers, (namespace, name)),
                totals=system_totals(self._numbers, (namespace, name)),
                parts=seen.parts,
                links=lambda: links_of(self._addresses, names),
                run_links=run_links,
            ),
        )

    def log(self, namespace: str, run: RunName) -> str:
        """The end of the log of the run's newest pod; raises NotFoundError where none is left."""
        pods = self._kube.list("Pod", namespace, labels={SYSTEM_LABEL: "*", "job-name": str(run)})
        pod = newest(list(pods))
        if pod is None:
            raise NotFoundError(
                f"no pod of {run} is left in {namespace}, and its log went with it; with Kubeflow Pipelines look there"
            )
        return self._kube.pod_log(pod["metadata"]["name"], namespace, tail=LOG_LINES)


class _Seen:
    """What the watched objects of one system say."""

    def __init__(
        self,
        kube: Kube,
        http: httpx.Client,
        settings: ClusterSettings,
        names: SystemNames,
        store: KubeStore,
    ) -> None:
        self._kube = kube
        self._http = http
        self._settings = settings
        self._names = names
        self._store = store
        self._parsed: tuple[int, MLSystem] | None = None

    def _system(self) -> MLSystem:
        record = self._store.get(Kind.SYSTEM, self._names.system)
        if record is None:
            raise NotFoundError(f"no system {self._names.system} in {self._names.namespace}")
        if self._parsed is None or self._parsed[0] != record.generation:
            self._parsed = (record.generation, parse(document_of(record), base_dir=Path()))
        return self._parsed[1]

    def readiness(self) -> Mapping[VersionName, Readiness]:
        return serving_of(self._kube, self._system(), self._names, self._settings, None).readiness()

    def split(self) -> TrafficSplit | None:
        """Of Capstan's gateway what each of its pods is to obey; of another provider what it says itself."""
        system = self._system()
        if traffic_of(system).facts.has_gateway:
            names = self._names
            return published_split(
                self._kube, names.namespace, names.gateway, {SYSTEM_LABEL: str(names.system)}
            )
        around = Surroundings(
            self._kube, self._http, self._names, self._settings, None, {"internal": "", "executor": ""}
        )
        return wire_traffic(system, around)[1].read_back()

    def run(self, run: RunName) -> RunStatus:
        """What the run's pod says, while there is one; else what the loop has written of it."""
        labels = {SYSTEM_LABEL: str(self._names.system), "job-name": str(run)}
        pods = self._kube.list("Pod", self._names.namespace, labels=labels)
        record = self._store.get(Kind.RUN, str(run))
        state = training_state(record) if record is not None else None
        for pod in sorted(pods, key=_made, reverse=True):
            words = read_last_words(last_message(pod))
            if words is not None and (state is None or not state.is_final or words.phase is state.phase):
                return words
            if words is None and pod["status"].get("phase") == "Running":
                log = self._kube.pod_log(pod["metadata"]["name"], self._names.namespace, tail=LOG_LINES)
                heard = read_progress(log)
                if heard is not None:
                    return heard
        if state is None or state.result is None:
            return RunStatus(RunPhase.ABSENT)
        return state.result

    def parts(self) -> Sequence[Part]:
        """The Deployments of the system."""
        labels = {SYSTEM_LABEL: str(self._names.system)}
        deployments = self._kube.list("Deployment", self._names.namespace, labels=labels)
        return [_part(one) for one in sorted(deployments, key=lambda one: str(one["metadata"]["name"]))]


def _made(pod: Object) -> str:
    return str(pod["metadata"].get("creationTimestamp", ""))


def _part(deployment: Object) -> Part:
    labels = deployment["metadata"].get("labels") or {}
    name = str(labels.get(VERSION_LABEL) or labels.get(COMPONENT_LABEL) or deployment["metadata"]["name"])
    wanted = int((deployment.get("spec") or {}).get("replicas") or 0)
    ready = int((deployment.get("status") or {}).get("readyReplicas") or 0)
    message = f"{ready} of {wanted} ready"
    if ready >= wanted:
        return Part(name, Tone.GOOD, "up", message)
    if holds(deployment, "Available"):
        return Part(name, Tone.WARN, "degraded", message)
    return Part(name, Tone.BAD, "down", message)
