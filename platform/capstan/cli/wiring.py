"""All adapters that the command line uses itself; the only module here that constructs them.

Each is imported where it is made: a command loads only what it uses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capstan.adapters.prometheus.query import PrometheusQuery
    from capstan.adapters.sqlite.store import SqliteStore
    from capstan.domain.trouble import Trouble
    from capstan.ports.kube import Kube, Object


def local_store(file: Path) -> SqliteStore:
    """The store of a state directory; whoever opens it closes it."""
    from capstan.adapters.sqlite.store import SqliteStore

    return SqliteStore(file)


def pod_troubles(
    kube: Kube, namespace: str, labels: Mapping[str, str], part_of: Callable[[Object], str]
) -> Sequence[Trouble]:
    """What keeps pods of the namespace with these labels from starting; raises UnavailableError, NotAllowedError."""
    from capstan.adapters.kubernetes.troubles import PodTroubles

    return PodTroubles(kube, namespace, labels, part_of)()


def prometheus(port: int) -> PrometheusQuery:
    """The Prometheus of this machine that listens there."""
    from capstan.adapters.prometheus.query import PrometheusQuery

    return PrometheusQuery(f"http://127.0.0.1:{port}", timeout_seconds=2)
