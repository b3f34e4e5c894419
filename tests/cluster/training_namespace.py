"""A namespace in which trainings run for real: data on a claim, artifacts on another, and an MLflow server."""

from __future__ import annotations

import base64
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from cluster.access import reached
from cluster.charts.installed import image
from contract.training_system import write_system

from capstan.adapters.kubernetes.client import RESOURCES, KubeClient
from capstan.adapters.kubernetes.jobs import JobPipelines
from capstan.adapters.mlflow.registry import MlflowRegistry
from capstan.cluster.names import DATA_MOUNT, SystemNames
from capstan.cluster.objects.access import access
from capstan.cluster.objects.artifacts import artifacts_place
from capstan.cluster.objects.pods import container, pod, variables
from capstan.cluster.objects.training import training
from capstan.cluster.settings import ClusterSettings, Images
from capstan.cluster.wiring.training import pipelines_of
from capstan.domain.training import RunPhase, RunStatus
from capstan.domain.versions import RunName, SystemName
from capstan.errors import ConflictError
from capstan.ports.kube import Object
from capstan.spec import MLSystem

SYSTEM = SystemName("deliveries")
QUICK = [{"name": "baseline", "mostFrequent": {}}, {"name": "logistic", "logisticRegression": {}}]
PORT = 5000
KEPT = "capstan.dev/kept-by-a-test"
"""A finalizer."""


@dataclass
class TrainingNamespace:
    """Everything of one system that a training needs."""

    kube: KubeClient
    namespace: str
    folder: Path
    registry: MlflowRegistry

    @property
    def names(self) -> SystemNames:
        return SystemNames(self.namespace, SYSTEM)

    @property
    def settings(self) -> ClusterSettings:
        images = Images(python=image("python"), operator=image("operator"))
        return ClusterSettings(images=images, tracking_uri=f"http://{self.names.host('mlflow')}:{PORT}")

    def system(self, candidates: Sequence[dict[str, Any]] = QUICK, **training: Any) -> MLSystem:
        found = write_system(self.folder, candidates=list(candidates))
        more = {"resources": {"requests": {"cpu": "50m", "memory": "256Mi"}}, **training}
        document = found.model_dump(mode="json", by_alias=True, exclude_unset=True)
        document["spec"]["training"] |= more
        return MLSystem.model_validate(document)

    def pipelines(self, system: MLSystem | None = None) -> JobPipelines:
        made = pipelines_of(
            system or self.system(), self.names, self.settings, None, self.kube, self.registry
        )
        assert isinstance(made, JobPipelines)
        return made

    def prepare(self) -> None:
        """The system's fixed objects that matter here, with the data on its claim."""
        system = self.system()
        for document in [
            *access(system, self.names, self.settings, None),
            *training(system, self.names, self.settings, None),
        ]:
            self.kube.apply(document)
        self._fill()

    def _fill(self) -> None:
        files = {path.name: path.read_bytes() for path in self.folder.iterdir() if path.is_file()}
        self.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": self.names.metadata("files", {}, None),
                "binaryData": {name: base64.b64encode(content).decode() for name, content in files.items()},
            }
        )
        script = "import glob, shutil\nfor file in glob.glob('/files/[!.]*'): shutil.copy(file, '/data')"
        self.run(
            ("python", "-c", script),
            mounts=[{"name": "files", "mountPath": "/files"}, {"name": "data", "mountPath": DATA_MOUNT}],
            volumes=[
                {"name": "files", "configMap": {"name": "files"}},
                {"name": "data", "persistentVolumeClaim": {"claimName": self.names.data_claim}},
            ],
        )

    def fetch(self, tag: str, digest: str) -> str:
        """What a version's pod does before it starts, on another machine than the one that trained."""
        place = artifacts_place(self.names, self.settings)
        return self.run(
            ("python", "-m", "capstan.artifacts.fetch", "--tag", tag, "--digest", digest, "--home", "/tmp/b"),
            env=variables(place.variables),
            mounts=place.mounts(read_only=True),
            volumes=place.volumes,
        )

    def run(
        self, argv: Sequence[str], *, mounts: Sequence[Object], volumes: Sequence[Object], env: Any = ()
    ) -> str:
        """What a pod said before it ended well."""
        name = f"once-{secrets.token_hex(3)}"
        main = container(
            "main", self.settings.images.operator, self.settings.images, argv, mounts=mounts, env=env
        )
        spec = {**pod(self.names, self.settings, [main], volumes=volumes), "restartPolicy": "Never"}
        metadata = self.names.metadata(name, self.names.labels("training"), None)
        self.kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
        found = self.until(
            lambda: self.kube.get("Pod", name, self.namespace) or {},
            lambda one: one.get("status", {}).get("phase") in ("Succeeded", "Failed"),
        )
        said = self.kube.pod_log(name, self.namespace, tail=1000)
        assert found["status"]["phase"] == "Succeeded", said
        self.kube.delete("Pod", name, self.namespace)
        return said

    def until(self, look: Callable[[], Any], holds: Callable[[Any], bool], seconds: float = 300) -> Any:
        deadline = time.monotonic() + seconds
        while not holds(found := look()):
            assert time.monotonic() < deadline, f"{found}\n{self.story()}"
            time.sleep(0.5)
        return found

    def ended(self, pipelines: JobPipelines, run: RunName) -> RunStatus:
        status: RunStatus = self.until(
            lambda: pipelines.status(run), lambda status: status.phase is not RunPhase.RUNNING
        )
        return status

    def pods(self, run: RunName) -> Sequence[Object]:
        return self.kube.list("Pod", self.namespace, labels={"job-name": str(run)})

    @contextmanager
    def evicted(self, name: str) -> Iterator[None]:
        """Evict a pod as a drain does it, with a second to end, and keep its object listed until this ends.

        Else it would be gone within a second of its end, before a busy machine has looked at it.
        """
        pods = RESOURCES["Pod"]
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": self.namespace},
            "deleteOptions": {"gracePeriodSeconds": 1},
        }
        self._keep(name, kept=True)
        try:
            self.kube._call("POST", pods, pods.path(self.namespace, name, "eviction"), body=body)
            yield
        finally:
            self._keep(name, kept=False)

    def _keep(self, name: str, *, kept: bool) -> None:
        while True:
            pod = self.kube.get("Pod", name, self.namespace)
            assert pod is not None
            others = [one for one in pod["metadata"].get("finalizers", []) if one != KEPT]
            finalizers = [*others, *([KEPT] if kept else [])]
            version = pod["metadata"]["resourceVersion"]
            change = {"metadata": {"finalizers": finalizers, "resourceVersion": version}}
            # The Job takes its own finalizer away meanwhile.
            with suppress(ConflictError):
                self.kube.patch("Pod", name, self.namespace, change)
                return

    def story(self) -> str:
        pods = self.kube.list("Pod", self.namespace)
        return yaml.safe_dump({pod["metadata"]["name"]: pod.get("status") for pod in pods})


@contextmanager
def training_namespace(kube: KubeClient, namespace: str, folder: Path) -> Iterator[TrainingNamespace]:
    """With an MLflow server that answers here and in the cluster."""
    names = SystemNames(namespace, SYSTEM)
    for document in _mlflow(names):
        kube.apply(document)

    def is_ready() -> bool:
        found = kube.get("Deployment", "mlflow", namespace) or {}
        return bool(found.get("status", {}).get("readyReplicas"))

    deadline = time.monotonic() + 300
    while not is_ready():
        assert time.monotonic() < deadline, yaml.safe_dump_all(kube.list("Pod", namespace))
        time.sleep(0.5)
    with reached(kube, namespace, "mlflow", PORT) as url:
        registry = MlflowRegistry(SYSTEM, tracking_uri=url, model=names.registry_model)
        ready = TrainingNamespace(kube, namespace, folder, registry)
        ready.prepare()
        yield ready


def _mlflow(names: SystemNames) -> list[Object]:
    settings = ClusterSettings(images=Images(python=image("python")))
    labels = {"app": "mlflow"}
    server = container(
        "mlflow",
        settings.images.python,
        settings.images,
        (
            "python", "-m", "mlflow", "server", "--host", "0.0.0.0", "--port", str(PORT), "--workers", "1",
            "--backend-store-uri", "sqlite:////tmp/mlflow.db", "--artifacts-destination", "/tmp/artifacts",
            "--allowed-hosts", "*",
        ),
        env=variables({"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "HOME": "/tmp"}),
        ports={"http": PORT},
        readinessProbe={"httpGet": {"path": "/health", "port": "http"}, "periodSeconds": 2, "timeoutSeconds": 5},
        resources={"requests": {"cpu": "50m", "memory": "256Mi"}},
    )  # fmt: skip
    spec = pod(names, settings, [server])
    # The system's account comes later.
    del spec["serviceAccountName"]
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": names.metadata("mlflow", labels, None),
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": names.metadata("mlflow", labels, None),
            "spec": {"selector": labels, "ports": [{"name": "http", "port": PORT, "targetPort": "http"}]},
        },
    ]
