"""All adapters that the command line uses itself; the only module here that constructs them.

Each is imported where it is made: a command loads only what it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capstan.adapters.kubernetes.client import KubeClient
    from capstan.adapters.sqlite.store import SqliteStore
    from capstan.domain.trouble import Trouble
    from capstan.ports.kube import Kube, Object
    from capstan.ports.store import Store


def local_store(file: Path) -> SqliteStore:
    """The store of a state directory; whoever opens it closes it."""
    from capstan.adapters.sqlite.store import SqliteStore

    return SqliteStore(file)


def cluster_store(kube: Kube, namespace: str) -> Store:
    """The store that is a namespace of a cluster."""
    from capstan.adapters.kubernetes.store import KubeStore

    return KubeStore(kube, namespace)


def connect(context: str) -> KubeClient:
    """The API server of a context; raises NotFoundError for one that the kubeconfig does not have."""
    from capstan.adapters.kubernetes.client import KubeClient

    return KubeClient.from_kubeconfig(context)


def pod_troubles(
    kube: Kube, namespace: str, labels: Mapping[str, str], part_of: Callable[[Object], str]
) -> Sequence[Trouble]:
    """What keeps pods of the namespace with these labels from starting; raises UnavailableError, NotAllowedError."""
    from capstan.adapters.kubernetes.troubles import PodTroubles

    return PodTroubles(kube, namespace, labels, part_of)()
