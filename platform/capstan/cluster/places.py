"""A namespace of a cluster, as a context of the kubeconfig reaches it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capstan.cluster.wiring.contexts import cluster_store, connect
from capstan.errors import CapstanError, NotAllowedError, NotFoundError

if TYPE_CHECKING:
    from capstan.ports.kube import Kube, Object
    from capstan.ports.store import Store

LEASE = "capstan-operator"
OPERATOR_NAMESPACE = "capstan-system"
_LEASE_SECONDS = 60.0
"""A Lease that was renewed longer ago than this is held by nobody."""
UNSEEN = "an operator that you may not look at"


@dataclass(frozen=True)
class Cluster:
    """A namespace of a cluster."""

    kube: Kube
    context: str
    namespace: str
    start: str = "`helm install capstan charts/capstan`"

    def __str__(self) -> str:
        return f"namespace {self.namespace} of {self.context}"

    def runner(self) -> str | None:
        """The operator that holds the Lease; None: none does."""
        try:
            lease = self.kube.get("Lease", LEASE, OPERATOR_NAMESPACE)
            leases = [lease] if lease is not None else self.kube.list("Lease")
        except NotAllowedError:
            return UNSEEN
        holders = [_holder(found) for found in leases if found["metadata"]["name"] == LEASE]
        return next((holder for holder in holders if holder), None)

    def person(self) -> str:
        """Who asks, as the cluster knows them; empty where it does not say."""
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {}}
        try:
            answer = self.kube.create(review)
        except CapstanError:
            return ""
        return str(((answer.get("status") or {}).get("userInfo") or {}).get("username") or "")

    @contextmanager
    def store(self) -> Iterator[Store]:
        """Raises NotFoundError where the cluster does not know Capstan."""
        self.require_capstan()
        yield cluster_store(self.kube, self.namespace)

    def require_capstan(self) -> None:
        """Raises NotFoundError where the cluster does not know Capstan."""
        if not self.kube.serves("MLSystem"):
            raise NotFoundError(
                f"{self.context}: the cluster does not know MLSystem; {self.start} installs Capstan, "
                "`capstan doctor --context` looks"
            )


def cluster_of(context: str, namespace: str | None) -> Cluster:
    """Raises NotFoundError for a context that the kubeconfig does not have."""
    name, default = _context(None if context == "." else context)
    return Cluster(connect(name), name, namespace or default)


def _context(name: str | None) -> tuple[str, str]:
    """Its name and its namespace."""
    from kubernetes import config

    try:
        contexts, current = config.list_kube_config_contexts()
    except config.ConfigException as error:
        raise NotFoundError(f"kubeconfig: {error}; set KUBECONFIG, or name a state directory") from error
    found = current if name is None else next((one for one in contexts if one["name"] == name), None)
    if found is None:
        there = ", ".join(one["name"] for one in contexts) or "none"
        raise NotFoundError(f"no context {name!r} in the kubeconfig; contexts: {there}")
    return str(found["name"]), str(found["context"].get("namespace") or "default")


def _holder(lease: Object) -> str:
    from datetime import UTC, datetime

    spec = lease.get("spec") or {}
    holder, renewed = str(spec.get("holderIdentity") or ""), spec.get("renewTime")
    if not holder or not renewed:
        return ""
    age = (datetime.now(UTC) - datetime.fromisoformat(str(renewed))).total_seconds()
    return holder if age < max(_LEASE_SECONDS, float(spec.get("leaseDurationSeconds") or 0)) else ""
