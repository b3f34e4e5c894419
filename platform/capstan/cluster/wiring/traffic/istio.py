"""Serving and traffic of a system with `traffic.provider: Istio`: one SeldonDeployment, and how it is made."""

from __future__ import annotations

import httpx

from capstan.adapters.kubernetes.serving import ID_LABEL, Artifact, VersionObjects
from capstan.adapters.seldon.istio import RoutedGraph, SeldonIstio, SharedDeployment
from capstan.adapters.seldon.router import RouterPods
from capstan.adapters.seldon.serving import KIND
from capstan.cluster.names import (
    COLLECTOR_PORT,
    EXECUTOR_PORT,
    GRAPH_COMPONENT,
    MODEL_PORT,
    PART_LABEL,
    ROUTER_PORT,
    VERSION_LABEL,
    Owner,
    SystemNames,
)
from capstan.cluster.objects.access import policy, tcp
from capstan.cluster.objects.pods import disruption_budget
from capstan.cluster.objects.recording import executor_log_url
from capstan.cluster.objects.routed_graph import ROUTER, graph_policy, routed_graph
from capstan.cluster.objects.seldon import REST_TIMEOUT_MILLISECONDS, predictor
from capstan.cluster.settings import ClusterSettings
from capstan.cluster.wiring.traffic.provider import (
    Surroundings,
    TrafficProviderRow,
    Versions,
)
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.versions import VersionName
from capstan.engine.bandits import bandit_step
from capstan.ports.kube import Kube, Object
from capstan.ports.traffic import TrafficProvider
from capstan.spec.providers import PROVIDERS
from capstan.spec.rollout import Step
from capstan.spec.system import MLSystem

_PAYLOAD_LOG = "CAPSTAN_COLLECTOR_URL"


def istio_of(
    kube: Kube,
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    owner: Owner | None,
    executor_token: str,
    *,
    http: httpx.Client | None = None,
    internal_token: str = "",
) -> SeldonIstio:
    """Both ports of the system; `http` and the internal token are for the router of a bandit per Request."""

    def render(version: VersionName, artifact: Artifact, shadow: bool) -> Object:
        return shared_predictor(system, names, settings, version, artifact, executor_token, shadow=shadow)

    graph, step = None, _router_step(system)
    if step is not None and http is not None and settings.seldon_executor:
        logger = {"mode": "all", "url": executor_log_url(names, executor_token, shadow=False)}
        labels = names.selector(GRAPH_COMPONENT)
        graph = RoutedGraph(
            lambda artifacts: routed_graph(system, names, settings, step, artifacts, logger),
            labels,
            PART_LABEL,
            RouterPods(
                kube,
                http,
                namespace=names.namespace,
                labels={**labels, PART_LABEL: ROUTER},
                port=ROUTER_PORT,
                token=internal_token,
            ),
        )
    labels = names.selector("model")
    shared = SharedDeployment(
        metadata=names.metadata(str(names.system), names.labels("model"), owner),
        spec={
            "protocol": "v2",
            "annotations": {"seldon.io/rest-timeout": str(REST_TIMEOUT_MILLISECONDS)},
        },
        predictor=render,
        port=EXECUTOR_PORT if settings.seldon_executor else MODEL_PORT,
        graph=graph,
    )
    versions = VersionObjects(
        names.namespace, labels, VERSION_LABEL, lambda _: shared.name, lambda *_: (), shared.port
    )
    return SeldonIstio(
        kube,
        shared,
        versions,
        sticky=system.spec.data.keys.sticky_by is not None,
        hides_failures=system.spec.serving.traffic.failures == "Hidden",
    )


def _router_step(system: MLSystem) -> BanditStep | None:
    """The one step whose requests a router draws."""
    written = next((step.bandit for step in system.spec.rollout.steps if _is_drawn(step)), None)
    return bandit_step(written, system) if written is not None else None


def _is_drawn(step: Step) -> bool:
    return step.bandit is not None and step.bandit.per == "Request"


def shared_predictor(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    version: VersionName,
    artifact: Artifact,
    executor_token: str,
    *,
    shadow: bool,
) -> Object:
    """A version beside others.

    Behind an executor the executor logs the payloads, since it alone knows the request's id; without one the service
    does, as everywhere.
    """
    if not settings.seldon_executor:
        made = predictor(system, names, settings, version, artifact)
        # A client of the Istio ingress chooses the host, by which Envoy marks copies.
        made["componentSpecs"][0]["spec"]["containers"][0]["env"].append(
            {"name": "CAPSTAN_COPIES", "value": "1" if shadow else "0"}
        )
        return made
    logger = {"mode": "all", "url": executor_log_url(names, executor_token, shadow=shadow)}
    made = predictor(system, names, settings, version, artifact, logger=logger)
    model = made["componentSpecs"][0]["spec"]["containers"][0]
    model["env"] = [entry for entry in model["env"] if entry["name"] != _PAYLOAD_LOG]
    return made


def _wire(system: MLSystem, around: Surroundings) -> tuple[Versions, TrafficProvider]:
    both = istio_of(
        around.kube,
        system,
        around.names,
        around.settings,
        around.owner,
        around.tokens["executor"],
        # Who only looks, as the page does, has no token and can't reach the router: it believes the annotation.
        http=around.http if around.tokens["internal"] else None,
        internal_token=around.tokens["internal"],
    )
    return both, both


def _objects(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None
) -> list[Object]:
    """Anybody asks the predictors and tells the collector themselves, as they would at a gateway of Capstan's.

    One budget for the pods of all predictors: Seldon would make several over the same pods.
    """
    entry = EXECUTOR_PORT if settings.seldon_executor else MODEL_PORT
    models, collector = names.selector("model"), names.selector("collector")
    return [
        policy(names, "istio", models, owner, ingress=[{"ports": tcp(entry)}]),
        policy(names, "feedback", collector, owner, ingress=[{"ports": tcp(COLLECTOR_PORT)}]),
        disruption_budget(
            names.metadata(f"{names.system}-models", names.labels("model"), owner),
            {ID_LABEL: str(names.system)},
        ),
        *([graph_policy(names, settings, owner)] if _router_step(system) is not None else ()),
    ]


def _has_versions(kube: Kube, names: SystemNames) -> bool:
    return kube.serves(KIND) and kube.get(KIND, str(names.system), names.namespace) is not None


ISTIO = TrafficProviderRow(PROVIDERS["Istio"], _wire, _objects, _has_versions)
