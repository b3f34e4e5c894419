"""Stands in for Seldon Core's operator where it is not installed: makes of SeldonDeployments what operator 1.18.2 made.

`python seldon_stand_in.py NAMESPACE...` on the cluster of KUBECONFIG, until SIGTERM. It does what was observed of the
real one, and no more: a Deployment and a Service per container and predictor under their names and labels; ports named
`http`, `grpc` and `metrics` allotted where the container names none; autoscaler and budget; a VirtualService with
weights and mirror, which follows only while all Deployments are ready; a status whose state is that of the last look.

The executor is left out before a graph of one node. In its place the predictor's Service hands port 8000 to the
container's own port, so that requests reach the model, without the executor's metrics, payload events and time-out. A
graph of several pods is made as the operator's source says (1.19.0-rc.1), with `graph/executor.py` beside its root.
"""

from __future__ import annotations

import copy
import json
import signal
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.seldon.serving import container_service, predictor_service
from capstan.errors import CapstanError
from capstan.ports.kube import Object

MANAGER = "seldon-stand-in"
HERE = Path(__file__).parent
LOOK_SECONDS = 0.5
EXECUTOR_PORTS = {"http": 8000, "grpc": 5001}
FIRST_METRICS_PORT, HTTP_PORT, GRPC_PORT = 6000, 9000, 9500


def made_of(deployment: Object) -> list[Object]:
    """Everything but the VirtualService, predictor by predictor."""
    made: list[Object] = []
    next_metrics_port = FIRST_METRICS_PORT
    for predictor in deployment["spec"]["predictors"]:
        for index, component in enumerate(predictor["componentSpecs"]):
            of_component, next_metrics_port = _component(
                deployment, predictor, index, component, next_metrics_port
            )
            made += of_component
    return made


def _component(
    deployment: Object, predictor: Object, index: int, component: Object, next_metrics_port: int
) -> tuple[list[Object], int]:
    """One pod of a predictor and its Services; requests for the predictor go to the first, which has the executor."""
    name, predictor_name = deployment["metadata"]["name"], predictor["name"]
    service = predictor_service(name, predictor_name)
    spec = copy.deepcopy(component["spec"])
    [container] = spec["containers"]
    own = container_service(name, predictor_name, container["name"])
    ports = {port["name"]: port["containerPort"] for port in container.setdefault("ports", [])}
    for port_name, default in (("metrics", next_metrics_port), ("http", HTTP_PORT), ("grpc", GRPC_PORT)):
        if port_name not in ports:
            ports[port_name] = default
            container["ports"].append({"name": port_name, "containerPort": default, "protocol": "TCP"})
            next_metrics_port += port_name == "metrics"
    container["env"] = [*container.get("env", []), *_environment(deployment, predictor, container, ports)]
    selector = {
        **({"seldon-app": service} if index == 0 else {}),
        f"seldon-app-svc-{container['name']}": own,
        "seldon-deployment-id": name,
    }
    labels = {
        "app": _workload(name, predictor, index, container),
        "fluentd": "true",
        "version": predictor_name,
        **component.get("metadata", {}).get("labels", {}),
        **selector,
        "seldon.io/model": "true",
        "app.kubernetes.io/managed-by": "seldon-core",
        **({"seldon.io/shadow": "true"} if predictor.get("shadow") else {}),
    }
    annotations = {
        "prometheus.io/path": "/prometheus",
        "prometheus.io/scrape": "true",
        **deployment["spec"].get("annotations", {}),
        **component.get("metadata", {}).get("annotations", {}),
        **predictor.get("annotations", {}),
    }
    spec.setdefault("terminationGracePeriodSeconds", 20)
    if index == 0 and predictor["graph"].get("children"):
        spec["containers"].append(_executor(deployment, predictor, container))
    # Where there is no executor, the container answers in its place.
    answering = EXECUTOR_PORTS if predictor["graph"].get("children") else ports
    workload: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(deployment, labels["app"], labels),
        "spec": {
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}},
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec},
        },
    }
    if "hpaSpec" not in component:
        workload["spec"]["replicas"] = component.get("replicas", predictor.get("replicas", 1))
    made = [workload]
    if index == 0:
        made.append(
            _service(deployment, service, _entry(predictor, ports), answering, {"seldon-app": service})
        )
    made += [
        _service(deployment, own, {key: ports[key] for key in EXECUTOR_PORTS}, ports,
                 {f"seldon-app-svc-{container['name']}": own}),
        *_scaling(deployment, component, labels["app"]),
    ]  # fmt: skip
    return made, next_metrics_port


def _executor(deployment: Object, predictor: Object, root: Object) -> Object:
    """In the image of the root, of which only Python is used; unlike the real one it meets "restricted"."""
    name = deployment["metadata"]["name"]
    ports = {
        container["name"]: next(
            port["containerPort"] for port in container["ports"] if port["name"] == "http"
        )
        for component in predictor["componentSpecs"]
        for container in component["spec"]["containers"]
    }

    def placed(node: Object, host: str) -> Object:
        return {**node, "endpoint": {"service_host": host, "httpPort": ports[node["name"]]}}

    graph = predictor["graph"]
    children = [
        placed(child, container_service(name, predictor["name"], child["name"]))
        for child in graph["children"]
    ]
    values = {
        "GRAPH": json.dumps({**placed(graph, "localhost"), "children": children}),
        "DEPLOYMENT": name,
        "PREDICTOR": predictor["name"],
    }
    return {
        "name": "seldon-container-engine",
        "image": root["image"],
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", (HERE / "graph" / "executor.py").read_text()],
        "env": [{"name": key, "value": value} for key, value in values.items()],
        "ports": [{"name": "http", "containerPort": EXECUTOR_PORTS["http"], "protocol": "TCP"}],
        "readinessProbe": {
            "httpGet": {"path": "/ready", "port": EXECUTOR_PORTS["http"]},
            "initialDelaySeconds": 20,
            "periodSeconds": 5,
            "failureThreshold": 3,
            "timeoutSeconds": 60,
        },
        "resources": predictor["svcOrchSpec"]["resources"],
        "securityContext": root["securityContext"],
    }


def virtual_service(deployment: Object) -> Object:
    """Weights of the live predictors and the shadow's mirror."""
    name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
    rule: Object = {
        "match": [{"uri": {"prefix": f"/seldon/{namespace}/{name}/"}}],
        "rewrite": {"uri": "/"},
        "route": [],
    }
    for predictor in deployment["spec"]["predictors"]:
        destination = {
            "host": f"{predictor_service(name, predictor['name'])}.{namespace}.svc.cluster.local",
            "port": {"number": EXECUTOR_PORTS["http"]},
            "subset": predictor["name"],
        }
        if predictor.get("shadow"):
            rule["mirror"] = destination
            if predictor.get("traffic"):
                rule["mirrorPercentage"] = {"value": predictor["traffic"]}
        else:
            rule["route"].append({"destination": destination, "weight": predictor.get("traffic", 0)})
    return {
        "apiVersion": "networking.istio.io/v1beta1",
        "kind": "VirtualService",
        "metadata": _metadata(deployment, name, {}),
        "spec": {"gateways": ["istio-system/seldon-gateway"], "hosts": ["*"], "http": [rule]},
    }


class StandIn:
    """One look at a namespace makes what is missing and takes away what is no longer asked for."""

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._applied: dict[str, Any] = {}
        self._has_istio = kube.serves("VirtualService")

    def look(self, namespace: str) -> None:
        for deployment in self._kube.list("SeldonDeployment", namespace):
            if not deployment["metadata"].get("deletionTimestamp"):
                self._reconcile(deployment)

    def _reconcile(self, deployment: Object) -> None:
        namespace, uid = deployment["metadata"]["namespace"], deployment["metadata"]["uid"]
        made = made_of(deployment)
        for document in made:
            key = f"{uid}/{document['kind']}/{document['metadata']['name']}"
            if self._applied.get(key) != document:
                self._kube.apply(document, manager=MANAGER)
                self._applied[key] = document
        wanted = {document["metadata"]["name"] for document in made if document["kind"] == "Deployment"}
        labels = {"seldon-deployment-id": deployment["metadata"]["name"]}
        found = {
            workload["metadata"]["name"]: workload
            for workload in self._kube.list("Deployment", namespace, labels=labels)
        }
        ready = all(name in found and _is_ready(found[name]) for name in wanted)
        if ready:
            # Not before: a Deployment that is not ready freezes the weights of all predictors.
            if self._has_istio:
                self._kube.apply(virtual_service(deployment), manager=MANAGER)
            for name in set(found) - wanted:
                self._kube.delete("Deployment", name, namespace)
                self._applied.pop(f"{uid}/Deployment/{name}", None)
        self._tell(deployment, {name: found[name] for name in wanted & set(found)}, ready)

    def _tell(self, deployment: Object, found: Mapping[str, Object], ready: bool) -> None:
        name, namespace = deployment["metadata"]["name"], deployment["metadata"]["namespace"]
        first = deployment["spec"]["predictors"][0]
        host = f"{predictor_service(name, first['name'])}.{namespace}.svc.cluster.local"
        path = f"/v2/models/{first['graph']['name']}/infer"
        [container] = first["componentSpecs"][0]["spec"]["containers"]
        own = {port["name"]: port["containerPort"] for port in container.get("ports", [])}
        port = _entry(first, {"http": HTTP_PORT, "grpc": GRPC_PORT, **own})["http"]
        status = {
            "state": "Available" if ready else "Creating",
            "address": {"url": f"http://{host}:{port}{path}"},
            "deploymentStatus": {
                workload: {
                    key: document.get("status", {}).get(key, 0) for key in ("replicas", "availableReplicas")
                }
                for workload, document in found.items()
            },
        }
        if self._applied.get(f"{deployment['metadata']['uid']}/status") != status:
            self._kube.patch("SeldonDeployment", name, namespace, {"status": status}, sub="status")
            self._applied[f"{deployment['metadata']['uid']}/status"] = status


def _is_ready(workload: Object) -> bool:
    status = workload.get("status", {})
    return (
        status.get("observedGeneration") == workload["metadata"]["generation"]
        and status.get("readyReplicas", 0) > 0
        and not status.get("unavailableReplicas", 0)
    )


def _entry(predictor: Object, ports: Mapping[str, int]) -> Mapping[str, int]:
    """Ports of the predictor's Service: the executor's, or the container's own where it is to be left out."""
    without_executor = predictor.get("annotations", {}).get("seldon.io/no-engine") == "true"
    return {key: ports[key] for key in EXECUTOR_PORTS} if without_executor else EXECUTOR_PORTS


def _workload(name: str, predictor: Object, index: int, container: Object) -> str:
    return container_service(name, f"{predictor['name']}-{index}", container["name"])


def _environment(
    deployment: Object, predictor: Object, container: Object, ports: Mapping[str, int]
) -> list[Object]:
    values = {
        "PREDICTIVE_UNIT_SERVICE_PORT": str(ports["http"]),
        "PREDICTIVE_UNIT_HTTP_SERVICE_PORT": str(ports["http"]),
        "PREDICTIVE_UNIT_GRPC_SERVICE_PORT": str(ports["grpc"]),
        "PREDICTIVE_UNIT_ID": container["name"],
        "PREDICTIVE_UNIT_IMAGE": container["image"],
        "PREDICTOR_ID": predictor["name"],
        "SELDON_DEPLOYMENT_ID": deployment["metadata"]["name"],
        "PREDICTIVE_UNIT_METRICS_SERVICE_PORT": str(ports["metrics"]),
        "PREDICTIVE_UNIT_METRICS_ENDPOINT": "/prometheus",
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def _service(
    deployment: Object,
    name: str,
    ports: Mapping[str, int],
    targets: Mapping[str, int],
    selector: Mapping[str, str],
) -> Object:
    labels = {
        **selector,
        "app.kubernetes.io/managed-by": "seldon-core",
        "seldon-deployment-id": deployment["metadata"]["name"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(deployment, name, labels),
        "spec": {
            "selector": dict(selector),
            "ports": [
                {"name": key, "port": port, "targetPort": targets[key], "protocol": "TCP"}
                for key, port in ports.items()
            ],
        },
    }


def _scaling(deployment: Object, component: Object, workload: str) -> list[Object]:
    made: list[Object] = []
    labels = {"seldon-deployment-id": deployment["metadata"]["name"]}
    if wanted := component.get("hpaSpec"):
        made.append(
            {
                "apiVersion": "autoscaling/v2",
                "kind": "HorizontalPodAutoscaler",
                "metadata": _metadata(deployment, workload, labels),
                "spec": {
                    "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload},
                    "minReplicas": wanted["minReplicas"],
                    "maxReplicas": wanted["maxReplicas"],
                    "metrics": wanted["metricsv2"],
                },
            }
        )
    if wanted := component.get("pdbSpec"):
        made.append(
            {
                "apiVersion": "policy/v1",
                "kind": "PodDisruptionBudget",
                "metadata": _metadata(deployment, workload, labels),
                "spec": {**wanted, "selector": {"matchLabels": labels}},
            }
        )
    return made


def _metadata(deployment: Object, name: str, labels: Mapping[str, str]) -> Object:
    owner = {
        "apiVersion": deployment["apiVersion"],
        "kind": deployment["kind"],
        "name": deployment["metadata"]["name"],
        "uid": deployment["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    return {
        "name": name,
        "namespace": deployment["metadata"]["namespace"],
        "labels": dict(labels),
        "ownerReferences": [owner],
    }


def main(namespaces: list[str]) -> None:
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    stand_in = StandIn(KubeClient.from_kubeconfig())
    while not stopped.wait(LOOK_SECONDS):
        for namespace in namespaces:
            try:
                stand_in.look(namespace)
            except CapstanError as error:
                print(f"{type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
