"""One model version as a Deployment: its Bento is checked before it starts, its traffic drained before it ends."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.adapters.kubernetes.serving import Artifact
from capstan.cluster.names import (
    COLLECTOR_PORT,
    MODEL_PORT,
    SECRETS_MOUNT,
    TOKENS_MOUNT,
    VERSION_LABEL,
    Owner,
    SystemNames,
)
from capstan.cluster.objects.artifacts import artifacts_place
from capstan.cluster.objects.pods import (
    TMP_MOUNT,
    container,
    disruption_budget,
    environment,
    http_probe,
    pod,
    resources,
    scraped,
    token_mount,
    token_volume,
    variables,
)
from capstan.cluster.objects.secrets import privacy_volumes
from capstan.cluster.settings import ClusterSettings
from capstan.domain.versions import VersionName
from capstan.ports.kube import Object
from capstan.spec.system import MLSystem

CONTAINER = "model"
FETCH = "fetch"
PORT_NAME = "http"
"""Name of a port that Seldon's operator leaves alone; it moves containers with other names to a port of its own."""
READY, LIVE = "/v2/health/ready", "/v2/health/live"
DRAIN_SECONDS = 5
"""Seconds between leaving the endpoints and SIGTERM; by then every node's rules and the gateways have followed."""
FLUSH_SECONDS = 40
"""Seconds for the last payloads. A drained node takes the collector away too, which must first start on another
node.
"""
GRACE_SECONDS = DRAIN_SECONDS + 5 + FLUSH_SECONDS + 10
"""Seconds for draining, 5 for requests to end, the flush of the payload log, and some to spare."""
HOME_MOUNT = "/bento"
"""Folder of the Bento, as `bentos/SYSTEM/LABEL`; only the init container may write there."""
_DEFAULT_REQUESTS = {"cpu": "100m", "memory": "256Mi"}
_START_SECONDS = 600
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def model(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    owner: Owner | None,
    version: VersionName,
    artifact: Artifact,
) -> list[Object]:
    """Deployment and Service of a version; a HorizontalPodAutoscaler where `max` is above `min`, a budget above one."""
    name, labels = names.model(version), names.version_labels(version)
    selector = {**names.selector("model"), VERSION_LABEL: str(version)}
    replicas = system.spec.serving.replicas
    deployment: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": names.metadata(name, labels, owner, annotations=artifact.annotations),
        "spec": {
            "selector": {"matchLabels": selector},
            # A new pod comes first: a version that answers is never removed for one that may not.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "revisionHistoryLimit": 1,
            "template": {
                "metadata": {"labels": labels, "annotations": scraped(MODEL_PORT)},
                "spec": model_pod(system, names, settings, version, artifact),
            },
        },
    }
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": names.metadata(name, labels, owner),
        "spec": {
            "selector": selector,
            "ports": [{"name": PORT_NAME, "port": MODEL_PORT, "targetPort": PORT_NAME, "protocol": "TCP"}],
        },
    }
    objects = [deployment, service]
    if replicas.max > replicas.min:
        objects.append(_autoscaler(system, names.metadata(name, labels, owner), name))
    else:
        # The number is applied only without an autoscaler, whose choice it would undo at every look.
        deployment["spec"]["replicas"] = replicas.min
    if replicas.max > 1:
        objects.append(disruption_budget(names.metadata(name, labels, owner), selector))
    return objects


def model_pod(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, version: VersionName, artifact: Artifact
) -> Object:
    """The pod of a version, whoever makes the Deployment around it."""
    serving = system.spec.serving
    place = artifacts_place(names, settings)
    home = {"name": "bento", "mountPath": HOME_MOUNT}
    own_image = settings.images.of_version(names.system, artifact.digest)
    secrets, secret_mounts = privacy_volumes(system)
    fetch = container(
        FETCH,
        settings.images.operator,
        settings.images,
        (
            "python", "-m", "capstan.artifacts.fetch",
            "--tag", artifact.tag, "--digest", artifact.digest, "--home", HOME_MOUNT,
        ),
        env=variables(place.variables),
        envFrom=place.env_from,
        mounts=[home, *place.mounts(read_only=True)],
    )  # fmt: skip
    serve = container(
        CONTAINER,
        own_image or settings.images.serving,
        settings.images,
        (
            "python", "-m", "capstan.serving.start", f"{HOME_MOUNT}/bentos/{artifact.tag.replace(':', '/', 1)}",
            "--host", "0.0.0.0", "--port", str(MODEL_PORT),  # noqa: S104
        ),
        env=variables(
            {
                **_variables(names, version, artifact),
                **({"CAPSTAN_SECRETS": SECRETS_MOUNT} if secret_mounts else {}),
            },
            environment(serving.environment),
        ),
        ports={PORT_NAME: MODEL_PORT},
        mounts=[*([] if own_image else [{**home, "readOnly": True}]), token_mount(), *secret_mounts],
        resources=resources(serving.resources, _DEFAULT_REQUESTS),
        startupProbe=http_probe(READY, PORT_NAME, period_seconds=1, failures=_START_SECONDS),
        readinessProbe=http_probe(READY, PORT_NAME, period_seconds=2),
        # The probe is slow to fail: a model that computes for long is not dead, and the gateway asks another meanwhile.
        livenessProbe=http_probe(LIVE, PORT_NAME, period_seconds=10, timeout_seconds=5, failures=6),
        lifecycle={"preStop": {"exec": {"command": _sleep(DRAIN_SECONDS)}}},
    )  # fmt: skip
    return pod(
        names,
        settings,
        [serve],
        init_containers=[] if own_image else [fetch],
        volumes=[
            *([] if own_image else [{"name": home["name"], "emptyDir": {}}, *place.volumes]),
            token_volume(names, "internal"),
            *secrets,
        ],
        node_selector=serving.node_selector,
        grace_seconds=GRACE_SECONDS,
    )


def _variables(names: SystemNames, version: VersionName, artifact: Artifact) -> dict[str, str | None]:
    return {
        # The Bento itself cannot be written to; this is where BentoML puts what it needs while it runs.
        "BENTOML_HOME": f"{TMP_MOUNT}/bentoml",
        "BENTOML_DO_NOT_TRACK": "True",
        "CAPSTAN_SYSTEM": str(names.system),
        "CAPSTAN_VERSION": str(version),
        "CAPSTAN_DIGEST": str(artifact.digest),
        "CAPSTAN_COLLECTOR_URL": f"http://{names.host(names.collector)}:{COLLECTOR_PORT}",
        "CAPSTAN_INTERNAL_TOKEN_FILE": f"{TOKENS_MOUNT}/internal",
        "CAPSTAN_FLUSH_SECONDS": str(FLUSH_SECONDS),
        # Two arenas instead of eight per core: 20-40 MB less for the same speed, one thread does the work.
        "MALLOC_ARENA_MAX": "2",
        **_ONE_THREAD,
    }


def _sleep(seconds: int) -> list[str]:
    # An image need not have a shell or `sleep`, and the lifecycle's own `sleep` is younger than Seldon's CRD.
    return ["python", "-c", f"import time; time.sleep({seconds})"]


def autoscaling_metrics(system: MLSystem) -> list[Object]:
    """What replicas are added for: processors that are busier than the file wants, on average."""
    percent = round(system.spec.serving.target_cpu * 100)
    return [
        {
            "type": "Resource",
            "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}},
        }
    ]


def _autoscaler(system: MLSystem, metadata: Mapping[str, object], name: str) -> Object:
    replicas = system.spec.serving.replicas
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": dict(metadata),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": replicas.min,
            "maxReplicas": replicas.max,
            "metrics": autoscaling_metrics(system),
        },
    }
