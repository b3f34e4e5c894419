"""Several model versions behind one router, as one predictor of Seldon whose graph has pods of each for itself."""

from __future__ import annotations

import json
from collections.abc import Mapping

from capstan.adapters.kubernetes.serving import Artifact
from capstan.adapters.seldon.istio import GRAPH
from capstan.cluster.names import (
    COLLECTOR_PORT,
    EXECUTOR_PORT,
    GRAPH_COMPONENT,
    MODEL_PORT,
    PART_LABEL,
    ROUTER_PORT,
    TOKENS_MOUNT,
    VERSION_LABEL,
    Owner,
    SystemNames,
)
from capstan.cluster.objects.access import operator_namespace, peer, policy, scraper, storage_egress, tcp
from capstan.cluster.objects.model import PORT_NAME, model_pod
from capstan.cluster.objects.pods import (
    TMP_MOUNT,
    container,
    http_probe,
    pod,
    scraped,
    token_mount,
    token_volume,
)
from capstan.cluster.objects.seldon import EXECUTOR_RESOURCES, METRICS_PORT, scaling
from capstan.cluster.settings import ClusterSettings
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.versions import VersionName
from capstan.ports.kube import Object
from capstan.spec.system import MLSystem

ROUTER = "router"
"""Name of the graph's root and of its container."""
_PING = "/health/ping"
_REQUESTS = {"cpu": "100m", "memory": "192Mi"}


def routed_graph(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    step: BanditStep,
    artifacts: Mapping[VersionName, Artifact],
    logger: Object,
) -> Object:
    """The predictor; `logger` is where the executor tells what each version was asked and answered.

    Requests go to the executor in the pod of the router, which Seldon puts into the first of the predictor's pods.
    """
    return {
        "name": str(GRAPH),
        "graph": {
            "name": ROUTER,
            "type": "ROUTER",
            "implementation": "UNKNOWN_IMPLEMENTATION",
            # As transformer it tells the version its arm and shares, as router the executor its number.
            "methods": ["TRANSFORM_INPUT", "ROUTE"],
            "children": [
                {
                    "name": str(version),
                    "type": "MODEL",
                    "implementation": "UNKNOWN_IMPLEMENTATION",
                    "logger": dict(logger),
                }
                for version in artifacts
            ],
        },
        "componentSpecs": [
            _router(system, names, settings, step, list(artifacts)),
            *(_arm(system, names, settings, version, artifact) for version, artifact in artifacts.items()),
        ],
        "svcOrchSpec": {"resources": EXECUTOR_RESOURCES},
    }


def parameters_of(step: BanditStep, arms: list[VersionName], salt: str) -> list[dict[str, str]]:
    """Of platform/images/bandit-router, by the step's policy."""
    rule = step.shares
    found: dict[str, object] = {
        "arms": ",".join(arms),
        "policy": rule.policy.value,
        "floor": rule.floor,
        "epsilon": float(rule.epsilon),
        "binary": rule.is_binary,
        "reach": float(rule.reach),
        "least_rewards": rule.least_rewards,
        "salt": salt,
        # Until it is told, a pod knows no rewards.
        "untold_arm": arms[0],
        "state": f"{TMP_MOUNT}/bandit.db",
        "token_file": f"{TOKENS_MOUNT}/internal",
    }
    kinds = {bool: "BOOL", int: "INT", float: "FLOAT", str: "STRING"}
    return [{"name": name, "value": str(value), "type": kinds[type(value)]} for name, value in found.items()]


def graph_policy(names: SystemNames, settings: ClusterSettings, owner: Owner | None) -> Object:
    """Anybody asks the executor, the operator tells the router, and the executor asks the versions."""
    own = peer(names, GRAPH_COMPONENT)
    return policy(
        names,
        GRAPH_COMPONENT,
        names.selector(GRAPH_COMPONENT),
        owner,
        ingress=[
            {"ports": tcp(EXECUTOR_PORT)},
            {"from": [operator_namespace(settings), scraper()], "ports": tcp(ROUTER_PORT)},
            {"from": [own, scraper()], "ports": tcp(MODEL_PORT)},
        ],
        egress=[
            {"to": [own], "ports": tcp(MODEL_PORT)},
            {"to": [peer(names, "collector")], "ports": tcp(COLLECTOR_PORT)},
            *storage_egress(names, settings),
        ],
    )


def _router(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    step: BanditStep,
    arms: list[VersionName],
) -> Object:
    serve = container(
        ROUTER,
        settings.images.router,
        settings.images,
        (
            "seldon-core-microservice", "capstan_bandit_router.router.BanditRouter", "--service-type=ROUTER",
            "--http-port", str(ROUTER_PORT), "--grpc-workers=0",
            "--parameters", json.dumps(parameters_of(step, arms, str(names.system))),
        ),
        ports={PORT_NAME: ROUTER_PORT},
        mounts=[token_mount()],
        resources={"requests": dict(_REQUESTS)},
        startupProbe=http_probe(_PING, PORT_NAME, period_seconds=2, failures=60),
        readinessProbe=http_probe(_PING, PORT_NAME, period_seconds=2),
        livenessProbe=http_probe(_PING, PORT_NAME, period_seconds=10, timeout_seconds=5, failures=6),
        lifecycle={"preStop": {"exec": {"command": ["python", "-c", "import time; time.sleep(5)"]}}},
    )  # fmt: skip
    serve["ports"].append(dict(METRICS_PORT))
    return {
        "metadata": {
            "labels": {**names.labels(GRAPH_COMPONENT), PART_LABEL: ROUTER},
            "annotations": scraped(ROUTER_PORT),
        },
        "spec": pod(names, settings, [serve], volumes=[token_volume(names, "internal")]),
        **scaling(system),
    }


def _arm(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    version: VersionName,
    artifact: Artifact,
) -> Object:
    made = model_pod(system, names, settings, version, artifact)
    [serve] = made["containers"]
    serve["name"] = str(version)
    serve["ports"].append(dict(METRICS_PORT))
    # The executor logs the payloads: it alone sees what the router told.
    serve["env"] = [entry for entry in serve["env"] if entry["name"] != "CAPSTAN_COLLECTOR_URL"]
    return {
        "metadata": {
            "labels": {
                **names.labels(GRAPH_COMPONENT),
                PART_LABEL: str(version),
                VERSION_LABEL: str(version),
            },
            "annotations": {**scraped(MODEL_PORT), **artifact.annotations},
        },
        "spec": made,
        **scaling(system),
    }
