"""Runs each model version as a SeldonDeployment of its own.

What Seldon says of itself is not asked: its state may still be that of an earlier generation, which it does not name.
Its Deployments are, as with plain ones.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from capstan.adapters.kubernetes.pods import is_old
from capstan.adapters.kubernetes.readiness import readiness_of
from capstan.adapters.kubernetes.serving import (
    ID_LABEL,
    Artifact,
    VersionObjects,
    artifact_of,
    live,
    pods_of,
    refused,
    troubles,
)
from capstan.domain.versions import ModelVersion, Readiness, VersionName
from capstan.ports.kube import EXISTS, Kube, Object
from capstan.ports.serving import Endpoint

KIND = "SeldonDeployment"
_LONGEST_NAME = 63


class SeldonServing:
    """Serving port over Seldon Core v1."""

    def __init__(
        self,
        kube: Kube,
        objects: VersionObjects,
        container: str,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Predictors are named like their version, the graph's node and its container like `container`."""
        self._kube = kube
        self._objects = objects
        self._container = container
        self._now = now

    def deploy(self, version: ModelVersion) -> None:
        """Bring it up, or leave it alone if it is; returns at once, readiness is observed.

        Raises UntrustedArtifactError or NotFoundError of a version whose pod refused its Bento, as DeploymentServing.
        """
        refusal = refused(version.name, self._deployments(), self._pods)
        if refusal is not None:
            self.retire(version.name)
            raise refusal
        self.run(version.name, Artifact(version.bento_tag, version.digest))

    def run(self, name: VersionName, artifact: Artifact) -> None:
        """Bring it up as it is rendered now."""
        for document in self._objects.render(name, artifact):
            self._kube.apply(document)

    def artifacts(self) -> Mapping[VersionName, Artifact]:
        """What its versions serve."""
        return {name: artifact_of(wanted) for name, wanted in self._wanted().items()}

    def retire(self, name: VersionName) -> None:
        """Stop it gracefully, its payload log flushed; no error if it is not there."""
        self._kube.delete(KIND, self._objects.name(name), self._objects.namespace)

    def readiness(self) -> Mapping[VersionName, Readiness]:
        """Every version that has a SeldonDeployment."""
        deployments, pods = self._deployments(), self._pods()
        found = {}
        for name, wanted in self._wanted().items():
            if name in deployments:
                found[name] = readiness_of(deployments[name], pods.get(name, ()))
            else:
                # Without a Deployment only a failure matters: Seldon's operator could not make one.
                failed = wanted.get("status", {}).get("state") == "Failed"
                found[name] = Readiness.CRASHED if failed else Readiness.STARTING
        return found

    def endpoint(self, name: VersionName) -> Endpoint | None:
        """The Service that Seldon makes for the model's container, also before it is ready."""
        found = self._objects.name(name)
        if self._kube.get(KIND, found, self._objects.namespace) is None:
            return None
        service = container_service(found, name, self._container)
        return Endpoint(f"{service}.{self._objects.namespace}.svc", self._objects.port)

    def troubles(self) -> Mapping[VersionName, str]:
        """What is in the way of versions that do not start."""
        deployments = self._deployments()
        found = dict(troubles(deployments, self._pods()))
        for name, wanted in self._wanted().items():
            if name in deployments:
                continue
            status = wanted.get("status") or {}
            if status.get("state") == "Failed":
                found[name] = str(status.get("description") or "Seldon's operator cannot make its Deployment")
            elif is_old(wanted, self._now()):
                found[name] = (
                    f"nothing was made of SeldonDeployment {wanted['metadata']['name']} yet: is Seldon's operator "
                    "running, and does it watch this namespace? Without it, write serving.runtime: Deployment"
                )
        return found

    def settle(self) -> None:
        """Bring every version that runs to what the file asks for now; to be called when the file has changed."""
        for name, artifact in self.artifacts().items():
            self.run(name, artifact)

    def _wanted(self) -> Mapping[VersionName, Object]:
        return live(self._kube, KIND, self._objects)

    def _deployments(self) -> Mapping[VersionName, Object]:
        """Deployments, without those that Kubernetes has yet to remove after their SeldonDeployment."""
        labels = {**self._objects.labels, ID_LABEL: EXISTS}
        owners = {wanted["metadata"]["uid"] for wanted in self._wanted().values()}
        return {
            self._objects.version(found): found
            for found in self._kube.list("Deployment", self._objects.namespace, labels=labels)
            if owners & {owner.get("uid") for owner in found["metadata"].get("ownerReferences", ())}
        }

    def _pods(self) -> Mapping[VersionName, list[Object]]:
        return pods_of(self._kube, self._objects, seldon=True)


def container_service(deployment: str, predictor: str, container: str) -> str:
    """Name that Seldon's operator gives the Service of a container (GetContainerServiceName of its v1 types)."""
    return _fitting(f"{deployment}-{predictor}-{container}")


def predictor_service(deployment: str, predictor: str) -> str:
    """Name that Seldon's operator gives the Service of a predictor, which its executor answers (GetPredictorKey)."""
    return _fitting(f"{deployment}-{predictor}")


def _fitting(name: str) -> str:
    if len(name) <= _LONGEST_NAME:
        return name
    return f"seldon-{hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()}"
