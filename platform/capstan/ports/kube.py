"""A cluster's API: plain objects, read, created, applied server-side, deleted.

Objects are JSON as `kubectl get -o json` shows it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias

Object: TypeAlias = dict[str, Any]
"""One object of the API."""
FIELD_MANAGER = "capstan"
"""Field manager under which Capstan applies what it owns."""
EXISTS = "*"
"""Value of a label in a query that stands for any value."""


class Kube(Protocol):
    """A cluster as adapters need it; the operator's cache reads from memory and writes through."""

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None: ...

    def list(
        self, kind: str, namespace: str | None = None, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        """All of the kind that carry these labels (`EXISTS`: with any value); in all namespaces where none is named."""
        ...

    def create(self, document: Object) -> Object:
        """Raises ExistsError if it exists."""
        ...

    def replace(self, document: Object, *, sub: str | None = None) -> Object:
        """The whole object, or its `status`; raises ConflictError if metadata.resourceVersion is not the newest."""
        ...

    def apply(self, document: Object, *, manager: str = FIELD_MANAGER) -> Object:
        """Server-side apply: own just the fields that are written here, and take them from whoever has them."""
        ...

    def patch(
        self, kind: str, name: str, namespace: str | None, change: Object, *, sub: str | None = None
    ) -> Object:
        """A JSON merge patch."""
        ...

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        """Delete it with all that it owns, in the background; no error if it does not exist."""
        ...

    def pod_log(self, name: str, namespace: str, *, container: str | None = None, tail: int = 100) -> str: ...

    def serves(self, kind: str) -> bool:
        """Whether the cluster knows the kind: a CustomResourceDefinition may be missing."""
        ...
