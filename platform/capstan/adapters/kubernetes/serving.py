"""Runs each model version as a Deployment with a Service of its own.

What runs is read from the cluster at every look, by label, so that an operator that starts afresh knows all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from capstan.adapters.kubernetes.readiness import readiness_of, refusal_of, trouble_of
from capstan.domain.versions import Digest, ModelVersion, Readiness, VersionName
from capstan.errors import CapstanError
from capstan.ports.kube import Kube, Object
from capstan.ports.serving import Endpoint

TAG_ANNOTATION = "capstan.dev/bento"
DIGEST_ANNOTATION = "capstan.dev/digest"
ID_LABEL = "seldon-deployment-id"
"""Label of what Seldon's operator makes, pods included."""
_KINDS = ("PodDisruptionBudget", "HorizontalPodAutoscaler", "Service", "Deployment")
"""Kinds of a version's objects, in the order in which they are removed."""


@dataclass(frozen=True)
class Artifact:
    """The Bento that a version serves."""

    tag: str
    digest: Digest

    @property
    def annotations(self) -> dict[str, str]:
        return {TAG_ANNOTATION: self.tag, DIGEST_ANNOTATION: str(self.digest)}


@dataclass(frozen=True)
class VersionObjects:
    """What the objects of a system's versions are called, how they are found, and how they are made."""

    namespace: str
    labels: Mapping[str, str]
    """Labels of all objects, pods included."""
    version_label: str
    """Key of the label that holds the version's name."""
    name: Callable[[VersionName], str]
    """Name that all objects of a version share."""
    render: Callable[[VersionName, Artifact], Sequence[Object]]
    """Function that makes all objects of a version."""
    port: int = 3000

    def version(self, document: Object) -> VersionName:
        return VersionName(document["metadata"]["labels"][self.version_label])


class DeploymentServing:
    """Serving port over plain Deployments."""

    def __init__(self, kube: Kube, objects: VersionObjects) -> None:
        self._kube = kube
        self._objects = objects

    def deploy(self, version: ModelVersion) -> None:
        """Bring it up, or leave it alone if it is; returns at once, readiness is observed.

        The digest is checked where the Bento is fetched, so a version that is not to be trusted turns ABSENT; deploying
        it again then takes its objects away and raises UntrustedArtifactError or NotFoundError in the pod's words.
        """
        refusal = refused(version.name, self._deployments(), self._pods)
        if refusal is not None:
            self.retire(version.name)
            raise refusal
        self.run(version.name, Artifact(version.bento_tag, version.digest))

    def run(self, name: VersionName, artifact: Artifact) -> None:
        """Bring it up as it is rendered now."""
        documents = self._objects.render(name, artifact)
        for document in documents:
            self._kube.apply(document)
        for kind in set(_KINDS) - {document["kind"] for document in documents}:
            self._kube.delete(kind, self._objects.name(name), self._objects.namespace)

    def artifacts(self) -> Mapping[VersionName, Artifact]:
        """What its versions serve."""
        return {name: artifact_of(deployment) for name, deployment in self._deployments().items()}

    def retire(self, name: VersionName) -> None:
        """Stop it gracefully, its payload log flushed; no error if it is not there."""
        for kind in _KINDS:
            self._kube.delete(kind, self._objects.name(name), self._objects.namespace)

    def readiness(self) -> Mapping[VersionName, Readiness]:
        """Every version that has a Deployment."""
        pods = self._pods()
        return {
            name: readiness_of(deployment, pods.get(name, ()))
            for name, deployment in self._deployments().items()
        }

    def endpoint(self, name: VersionName) -> Endpoint | None:
        """Endpoint of its Service, also before it is ready."""
        found = self._objects.name(name)
        if self._kube.get("Deployment", found, self._objects.namespace) is None:
            return None
        return Endpoint(f"{found}.{self._objects.namespace}.svc", self._objects.port)

    def troubles(self) -> Mapping[VersionName, str]:
        """What is in the way of versions that do not start."""
        return troubles(self._deployments(), self._pods())

    def settle(self) -> None:
        """Bring every version that runs to what the file asks for now; to be called when the file has changed."""
        for name, artifact in self.artifacts().items():
            self.run(name, artifact)

    def _deployments(self) -> Mapping[VersionName, Object]:
        return live(self._kube, "Deployment", self._objects)

    def _pods(self) -> Mapping[VersionName, list[Object]]:
        return pods_of(self._kube, self._objects)


def live(kube: Kube, kind: str, objects: VersionObjects) -> Mapping[VersionName, Object]:
    """One object per version, without those that are being deleted and those that Seldon's operator made."""
    found = kube.list(kind, objects.namespace, labels=objects.labels)
    return {
        objects.version(document): document
        for document in found
        if objects.version_label in document["metadata"]["labels"]
        and not is_of_seldon(document)
        and not document["metadata"].get("deletionTimestamp")
    }


def pods_of(
    kube: Kube, objects: VersionObjects, *, seldon: bool = False
) -> Mapping[VersionName, list[Object]]:
    """Pods that Seldon's operator made, or those of plain Deployments."""
    pods: dict[VersionName, list[Object]] = {}
    for pod in kube.list("Pod", objects.namespace, labels=objects.labels):
        if is_of_seldon(pod) is seldon:
            pods.setdefault(objects.version(pod), []).append(pod)
    return pods


def is_of_seldon(document: Object) -> bool:
    """Whether Seldon's operator made the object and looks after it."""
    return ID_LABEL in (document["metadata"].get("labels") or {})


def refused(
    name: VersionName,
    deployments: Mapping[VersionName, Object],
    pods: Callable[[], Mapping[VersionName, Sequence[Object]]],
) -> CapstanError | None:
    """Why the version's Bento was not loaded; None: it was, or the version does not run. Asks for pods if it must."""
    present = deployments.get(name)
    return refusal_of(present, pods().get(name, ())) if present is not None else None


def troubles(
    deployments: Mapping[VersionName, Object], pods: Mapping[VersionName, Sequence[Object]]
) -> Mapping[VersionName, str]:
    """Why versions that are not ready do not start."""
    found = {}
    for name, deployment in deployments.items():
        own = pods.get(name, ())
        trouble = trouble_of(deployment, own)
        if trouble is not None and readiness_of(deployment, own) is not Readiness.READY:
            found[name] = trouble
    return found


def artifact_of(document: Object) -> Artifact:
    """The Bento that the object's annotations name."""
    annotations = document["metadata"]["annotations"]
    return Artifact(annotations[TAG_ANNOTATION], Digest(annotations[DIGEST_ANNOTATION]))
