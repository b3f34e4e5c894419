"""How the pods of a system reach its artifacts: object storage with keys, or a volume."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from capstan.cluster.names import ARTIFACTS_MOUNT, SystemNames
from capstan.cluster.settings import ClusterSettings
from capstan.ports.kube import Object

VARIABLE = "CAPSTAN_ARTIFACTS"
"""Environment variable with the address of the system's artifacts."""
_VOLUME = "artifacts"
_HTTP_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class ArtifactsPlace:
    """The system's own part of the artifacts."""

    uri: str
    """Address that `capstan.artifacts.store.ArtifactStore` opens inside a pod."""
    keys: str | None
    """Secret with the keys of the object storage; None: they are on a volume, or it asks for no keys."""
    claim: str | None
    """Claim of the volume with the artifacts; None: they are in object storage."""

    @property
    def variables(self) -> dict[str, str]:
        return {VARIABLE: self.uri}

    @property
    def env_from(self) -> list[Object] | None:
        return [{"secretRef": {"name": self.keys}}] if self.keys is not None else None

    @property
    def volumes(self) -> list[Object]:
        if self.claim is None:
            return []
        return [{"name": _VOLUME, "persistentVolumeClaim": {"claimName": self.claim}}]

    def mounts(self, *, read_only: bool) -> list[Object]:
        if self.claim is None:
            return []
        return [{"name": _VOLUME, "mountPath": ARTIFACTS_MOUNT, "readOnly": read_only}]


def artifacts_place(names: SystemNames, settings: ClusterSettings) -> ArtifactsPlace:
    """Where this system's Bentos and runs are kept."""
    if not settings.artifacts:
        return ArtifactsPlace(f"file://{ARTIFACTS_MOUNT}", None, names.artifacts_claim)
    address, mark, options = settings.artifacts.partition("?")
    uri = f"{address.rstrip('/')}/{names.namespace}/{names.system}{mark}{options}"
    keys = names.artifact_keys if settings.artifact_keys is not None else None
    return ArtifactsPlace(uri, keys, None)


def storage_port(uri: str) -> int | None:
    """TCP port of the object storage; None for a volume."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return None
    options = parse_qs(parts.query)
    scheme = options.get("scheme", ["https"])[0]
    endpoint = options.get("endpoint_override", [""])[0]
    found = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    return found.port or _HTTP_PORTS.get(found.scheme or scheme, 443)
