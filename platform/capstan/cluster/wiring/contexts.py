"""What reaches a cluster from a person's machine; adapters are imported where they are made, so starts are light."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capstan.adapters.kubernetes.client import KubeClient
    from capstan.ports.kube import Kube
    from capstan.ports.store import Store


def cluster_store(kube: Kube, namespace: str) -> Store:
    """The store that is a namespace of a cluster."""
    from capstan.adapters.kubernetes.store import KubeStore

    return KubeStore(kube, namespace)


def connect(context: str) -> KubeClient:
    """The API server of a context; raises NotFoundError for one that the kubeconfig does not have."""
    from capstan.adapters.kubernetes.client import KubeClient

    return KubeClient.from_kubeconfig(context)
