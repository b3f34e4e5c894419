"""The gateway of a system: Envoy pods behind one Service, fed by the operator, with a ConfigMap for when it is away.

Where a step of the file interleaves, each pod has the combiner beside Envoy.
"""

from __future__ import annotations

import orjson

from capstan.cluster.names import (
    AGENT_PORT,
    COLLECTOR_PORT,
    COMBINER_PORT,
    GATEWAY_PORT,
    MODEL_PORT,
    TOKENS_MOUNT,
    Owner,
    SystemNames,
)
from capstan.cluster.objects.access import operator_namespace, peer, policy, scraper, tcp
from capstan.cluster.objects.pods import (
    TMP_MOUNT,
    container,
    disruption_budget,
    http_probe,
    pod,
    scraped,
    token_mount,
    token_volume,
    variables,
)
from capstan.cluster.settings import ClusterSettings
from capstan.ports.combining import COMBINER
from capstan.ports.kube import Object
from capstan.spec.system import MLSystem

COMPONENT = "gateway"
REPLICAS = 2
SERVICE_PORT = 80
GRACE_SECONDS = 40
"""Seconds of 5 until no new request is sent here, up to 25 for requests under way, and some to spare."""
CONFIG_MOUNT = "/config"
_REQUESTS = {"cpu": "50m", "memory": "96Mi"}
_LIMITS = {"memory": "512Mi"}
_START_SECONDS = 60
"""Seconds that the combiner may take to listen."""


def gateway(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None
) -> list[Object]:
    """Deployment, Services, budget, ConfigMap and NetworkPolicy."""
    labels, selector = names.labels(COMPONENT), names.selector(COMPONENT)
    metadata = names.metadata(names.gateway, labels, owner)
    deployment: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": metadata,
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "revisionHistoryLimit": 1,
            "template": {
                "metadata": {"labels": labels, "annotations": scraped(AGENT_PORT, "/stats/prometheus")},
                "spec": {
                    **pod(
                        names,
                        settings,
                        [_envoy(system, names, settings)],
                        init_containers=[_combiner(names, settings)]
                        if system.spec.rollout.interleaves
                        else (),
                        volumes=[_config(names), token_volume(names, "internal")],
                        grace_seconds=GRACE_SECONDS,
                    ),
                    "topologySpreadConstraints": [
                        {
                            "maxSkew": 1,
                            "topologyKey": key,
                            # In a cluster with one node or one zone, both pods run there.
                            "whenUnsatisfiable": "ScheduleAnyway",
                            "labelSelector": {"matchLabels": selector},
                        }
                        for key in ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
                    ],
                },
            },
        },
    }
    return [
        config_map(names, owner),
        deployment,
        _service(metadata, selector),
        _agents(names, owner, selector),
        disruption_budget(metadata, selector),
        _policy(names, settings, owner),
    ]


def config_map(names: SystemNames, owner: Owner | None) -> Object:
    """The ConfigMap without its data, which `capstan.adapters.envoy.fleet` writes and owns under a field manager
    of its own.

    Applying this never takes the data away, since it never owned any.
    """
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": names.metadata(names.gateway, names.labels(COMPONENT), owner),
    }


def _envoy(system: MLSystem, names: SystemNames, settings: ClusterSettings) -> Object:
    combiner = ("--combiner-port", str(COMBINER_PORT)) if system.spec.rollout.interleaves else ()
    return container(
        COMPONENT,
        settings.images.gateway,
        settings.images,
        (
            "python", "-m", "capstan.gateway.agent",
            "--config", CONFIG_MOUNT, "--folder", f"{TMP_MOUNT}/envoy", "--token-file", f"{TOKENS_MOUNT}/internal",
            "--port", str(GATEWAY_PORT), "--agent-port", str(AGENT_PORT),
            "--peers", f"http://{names.host(names.gateway_agents)}:{AGENT_PORT}", *combiner,
        ),
        ports={"http": GATEWAY_PORT, "agent": AGENT_PORT},
        mounts=[{"name": "config", "mountPath": CONFIG_MOUNT, "readOnly": True}, token_mount()],
        resources={"requests": dict(_REQUESTS), "limits": dict(_LIMITS)},
        readinessProbe=http_probe("/ready", "agent", period_seconds=2),
        # The probe is slow to fail, since a killed pod drops the requests that are under way.
        livenessProbe=http_probe("/live", "agent", period_seconds=10, timeout_seconds=5, failures=6),
    )  # fmt: skip


def _combiner(names: SystemNames, settings: ClusterSettings) -> Object:
    """The combiner, as a sidecar: it listens before Envoy starts, and ends after Envoy has answered everybody.

    It runs from the image of the versions, which has what it imports; the gateway's own stays small.
    """
    config = {
        "host": "0.0.0.0",  # noqa: S104
        "port": COMBINER_PORT,
        "system": str(names.system),
        "collector_url": f"http://{names.host(names.collector)}:{COLLECTOR_PORT}",
        "token": f"{TOKENS_MOUNT}/internal",
    }
    return container(
        COMBINER,
        settings.images.serving,
        settings.images,
        ("python", "-m", "capstan.serving.combiner.process", "--json", orjson.dumps(config).decode()),
        env=variables({"HOME": TMP_MOUNT}),
        ports={COMBINER: COMBINER_PORT},
        mounts=[token_mount()],
        resources={"requests": dict(_REQUESTS), "limits": dict(_LIMITS)},
        restartPolicy="Always",
        startupProbe=http_probe("/v2/health/ready", COMBINER, period_seconds=1, failures=_START_SECONDS),
        # There is no readiness probe: without the combiner Envoy asks the champion, so the pod still takes requests.
        livenessProbe=http_probe(
            "/v2/health/ready", COMBINER, period_seconds=10, timeout_seconds=5, failures=6
        ),
    )


def _config(names: SystemNames) -> Object:
    # The volume is optional: without the ConfigMap a pod starts and answers 503 until the operator writes it anew.
    return {"name": "config", "configMap": {"name": names.gateway, "optional": True}}


def _service(metadata: Object, selector: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "selector": selector,
            "ports": [{"name": "http", "port": SERVICE_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }


def _agents(names: SystemNames, owner: Owner | None, selector: dict[str, str]) -> Object:
    """Headless Service with the addresses of the ready pods, which a starting pod asks what they obey."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": names.metadata(names.gateway_agents, names.labels(COMPONENT), owner),
        "spec": {
            "clusterIP": "None",
            "selector": selector,
            "ports": [{"name": "agent", "port": AGENT_PORT, "targetPort": "agent", "protocol": "TCP"}],
        },
    }


def _policy(names: SystemNames, settings: ClusterSettings, owner: Owner | None) -> Object:
    """Anybody may ask for predictions; the agent is for the operator, its peers and Prometheus."""
    return policy(
        names,
        COMPONENT,
        names.selector(COMPONENT),
        owner,
        ingress=[
            {"ports": tcp(GATEWAY_PORT)},
            {
                "from": [operator_namespace(settings), scraper(), peer(names, COMPONENT)],
                "ports": tcp(AGENT_PORT),
            },
        ],
        egress=[
            {"to": [peer(names, "model")], "ports": tcp(MODEL_PORT)},
            {"to": [peer(names, "collector")], "ports": tcp(COLLECTOR_PORT)},
            {"to": [peer(names, COMPONENT)], "ports": tcp(AGENT_PORT)},
        ],
    )
