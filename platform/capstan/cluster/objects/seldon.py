"""One model version as a SeldonDeployment: the same pod as a plain Deployment's, in a graph of one node."""

from __future__ import annotations

from capstan.adapters.kubernetes.serving import Artifact
from capstan.cluster.names import MODEL_PORT, Owner, SystemNames
from capstan.cluster.objects.model import autoscaling_metrics, model_pod
from capstan.cluster.objects.pods import scraped
from capstan.cluster.settings import ClusterSettings
from capstan.domain.versions import VersionName
from capstan.ports.kube import Object
from capstan.spec.system import MLSystem

EXECUTOR_RESOURCES = {
    "requests": {"cpu": "50m", "memory": "64Mi"},
    "limits": {"memory": "256Mi"},
}
"""Resources of Seldon's executor, which otherwise asks for half a processor per pod."""
REST_TIMEOUT_MILLISECONDS = 5000
METRICS_PORT = {"name": "metrics", "containerPort": 6000, "protocol": "TCP"}
"""Port on which nothing listens. Without a name Seldon numbers it by predictor, and removing one restarts the
next.
"""


def seldon(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    owner: Owner | None,
    version: VersionName,
    artifact: Artifact,
) -> list[Object]:
    """The SeldonDeployment of a version; Seldon makes Deployment, Services, autoscaler and budget from it."""
    made = predictor(system, names, settings, version, artifact)
    if system.spec.serving.replicas.max > 1:
        made["componentSpecs"][0]["pdbSpec"] = {"maxUnavailable": 1}
    return [
        {
            "apiVersion": "machinelearning.seldon.io/v1",
            "kind": "SeldonDeployment",
            "metadata": names.metadata(
                names.model(version), names.version_labels(version), owner, annotations=artifact.annotations
            ),
            "spec": {
                "protocol": "v2",
                "annotations": {"seldon.io/rest-timeout": str(REST_TIMEOUT_MILLISECONDS)},
                "predictors": [made],
            },
        }
    ]


def node_of(names: SystemNames) -> str:
    """Name of the graph's node and of its container: Seldon puts it in the place of the model's name in addresses."""
    return str(names.system)


def predictor(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    version: VersionName,
    artifact: Artifact,
    *,
    logger: Object | None = None,
) -> Object:
    """A version as one predictor, named like it: that name is on Seldon's metrics and payload events.

    It has no budget: Seldon's budget of a component covers all pods of the SeldonDeployment, and nobody may evict a pod
    that two budgets cover.

    logger None: the service logs its payloads itself, which is right unless all requests come through the executor.
    """
    pod = model_pod(system, names, settings, version, artifact)
    [container] = pod["containers"]
    container["name"] = node_of(names)
    container["ports"].append(dict(METRICS_PORT))
    # MODEL has to be said: without a type, and with an implementation, the executor answers with the request itself.
    graph: Object = {"name": node_of(names), "type": "MODEL", "implementation": "UNKNOWN_IMPLEMENTATION"}
    if logger is not None:
        graph["logger"] = dict(logger)
    component: Object = {
        "metadata": {
            "labels": names.version_labels(version),
            # These replace Seldon's own probes, which point at its executor.
            "annotations": {**scraped(MODEL_PORT), **artifact.annotations},
        },
        "spec": pod,
        **scaling(system),
    }
    return {
        "name": str(version),
        "annotations": {
            "version": str(version),
            **({} if settings.seldon_executor else {"seldon.io/no-engine": "true"}),
        },
        "graph": graph,
        "componentSpecs": [component],
        "svcOrchSpec": {"resources": EXECUTOR_RESOURCES},
    }


def scaling(system: MLSystem) -> Object:
    """How many pods a component has, as a field of it: an autoscaler where `max` is above `min`."""
    replicas = system.spec.serving.replicas
    if replicas.max == replicas.min:
        return {"replicas": replicas.min}
    return {
        "hpaSpec": {
            "minReplicas": replicas.min,
            "maxReplicas": replicas.max,
            "metricsv2": autoscaling_metrics(system),
        }
    }
