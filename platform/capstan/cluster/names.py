"""What the objects of a system are called, how they are labelled, and on which ports they listen."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from capstan.domain.batch_calendar import BatchOrder
from capstan.domain.versions import RunName, SystemName, VersionName

GROUP = "capstan.dev"
SYSTEM_LABEL = f"{GROUP}/system"
VERSION_LABEL = f"{GROUP}/version"
RUN_LABEL = f"{GROUP}/run"
COMPONENT_LABEL = "app.kubernetes.io/name"
GRAPH_COMPONENT = "graph"
"""The component of all pods of a graph with a router between versions."""
PART_LABEL = f"{GROUP}/part"
"""Key of the label that tells these apart: `router`, or the version."""
PART_OF = {"app.kubernetes.io/part-of": "capstan", "app.kubernetes.io/managed-by": "capstan-operator"}
FINALIZER = f"{GROUP}/loop"

GATEWAY_PORT = 8080
AGENT_PORT = 9902
"""Port of the gateway's agent: configuration, read-back, counters. All but `/ready` and `/stats/prometheus` need a
token.
"""
COMBINER_PORT = 9903
"""Port of the combiner in a gateway's pod, on loopback and for the kubelet."""
ROUTER_PORT = 9904
"""Port of the router between versions in one graph of Seldon."""
MODEL_PORT = 3000
EXECUTOR_PORT = 8000
"""Port of Seldon's executor beside a model."""
COLLECTOR_PORT = 8081
MONITOR_PORT = 8082
ALERTMANAGER_PORT = 9093

DATA_MOUNT = "/data"
"""Folder that relative paths of the file are relative to."""
RECORD_MOUNT = "/record"
"""Folder of payloads, labels and the monitor's state, laid out as `.capstan/` is on one machine."""
PREDICTIONS_MOUNT = "/predictions"
"""Folder that `batch.output` is relative to."""
ARTIFACTS_MOUNT = "/artifacts"
"""Folder of artifacts, where they are kept on a volume."""
SECRETS_MOUNT = "/secrets"
"""Folder with a file NAME/KEY for each `secretKeyRef`."""
TOKENS_MOUNT = "/tokens"


@dataclass(frozen=True)
class Owner:
    """The MLSystem that all objects belong to, and with which they go."""

    name: str
    uid: str

    def reference(self) -> dict[str, object]:
        return {
            "apiVersion": f"{GROUP}/v1alpha1",
            "kind": "MLSystem",
            "name": self.name,
            "uid": self.uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }


@dataclass(frozen=True)
class SystemNames:
    """All names of one system in its namespace; nothing outside this class joins them by hand."""

    namespace: str
    system: SystemName
    tokens_mark: str = ""
    """Mark of the tokens' content, with which their Secret's name ends; empty: it is not known, as in `capstan
    render`.
    """
    keys_mark: str = ""
    """Mark of the object storage's keys, likewise."""

    @property
    def registry_model(self) -> str:
        """Name of the system in MLflow, which knows no namespaces."""
        return f"{self.namespace}.{self.system}"

    @property
    def service_account(self) -> str:
        """ServiceAccount of every pod of the system; it has no rights."""
        return f"{self.system}-capstan"

    @property
    def tokens(self) -> str:
        """Secret with the keys `internal` and `feedback`; other tokens are in one of another name."""
        return _marked(f"{self.system}-tokens", self.tokens_mark)

    @property
    def artifact_keys(self) -> str:
        """Secret with the keys of the object storage, named like `tokens`; absent where artifacts are on a volume."""
        return _marked(f"{self.system}-artifact-keys", self.keys_mark)

    @property
    def data_claim(self) -> str:
        return f"{self.system}-data"

    @property
    def record_claim(self) -> str:
        return f"{self.system}-record"

    @property
    def artifacts_claim(self) -> str:
        return f"{self.system}-artifacts"

    @property
    def predictions_claim(self) -> str:
        return f"{self.system}-predictions"

    @property
    def gateway(self) -> str:
        """Name of the Deployment, Service, PodDisruptionBudget and ConfigMap of the gateway."""
        return f"{self.system}-gateway"

    @property
    def gateway_agents(self) -> str:
        """Headless Service: the addresses of the ready gateway pods."""
        return f"{self.system}-gateway-agents"

    @property
    def collector(self) -> str:
        return f"{self.system}-collector"

    @property
    def monitor(self) -> str:
        return f"{self.system}-monitor"

    @property
    def alertmanager(self) -> str:
        """Name of the Deployment and ConfigMap of the Alertmanager that tells the people of the file."""
        return f"{self.system}-alertmanager"

    @property
    def rules(self) -> str:
        """Name of the PrometheusRule, PodMonitor and AlertmanagerConfig."""
        return f"{self.system}-capstan"

    def model(self, version: VersionName) -> str:
        """Name of the Deployment, Service, HorizontalPodAutoscaler or SeldonDeployment of one version."""
        return f"{self.system}-{version}"

    def batch(self, order: BatchOrder) -> str:
        """Name of the Job and the ConfigMap of one try of a batch; the mark tells batches of one day apart."""
        mark = hashlib.sha256(order.key.encode()).hexdigest()[:8]
        return f"{self.system}-batch-{order.stretch.end:%y%m%d}-{mark}"

    def story(self, number: int) -> str:
        """Name of the ConfigMap with one chapter of the story, from 1."""
        return f"{self.system}-story-{number}"

    def host(self, service: str) -> str:
        """Name of a Service in the cluster's DNS."""
        return f"{service}.{self.namespace}.svc"

    def labels(self, component: str) -> dict[str, str]:
        """component: `gateway`, `collector`, `monitor`, `model`, `training`, ..."""
        return {**PART_OF, **self.selector(component)}

    def selector(self, component: str) -> dict[str, str]:
        return {
            COMPONENT_LABEL: component,
            "app.kubernetes.io/instance": str(self.system),
            SYSTEM_LABEL: str(self.system),
        }

    def version_labels(self, version: VersionName) -> dict[str, str]:
        return {**self.labels("model"), VERSION_LABEL: str(version)}

    def run_labels(self, run: RunName) -> dict[str, str]:
        return {**self.labels("training"), RUN_LABEL: str(run)}

    def metadata(
        self, name: str, labels: Mapping[str, str], owner: Owner | None, **more: object
    ) -> dict[str, object]:
        """Metadata of an object of the system; owner None: it is printed by `capstan render` and not applied."""
        document: dict[str, object] = {
            "name": name,
            "namespace": self.namespace,
            "labels": dict(labels),
            **more,
        }
        if owner is not None:
            document["ownerReferences"] = [owner.reference()]
        return document


def _marked(name: str, mark: str) -> str:
    return f"{name}-{mark}" if mark else name
