"""What the operator is told by its chart: images, addresses and where artifacts are kept; one JSON file."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from capstan.errors import InvalidSpecError, Mistake

REPOSITORY = "ghcr.io/capstan-mlops"
RELEASE = version("capstan-mlops")


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Images(_Settings):
    """Images of everything that Capstan runs."""

    operator: str = f"{REPOSITORY}/capstan-operator:{RELEASE}"
    """Also fetches Bentos before a version starts."""
    serving: str = f"{REPOSITORY}/capstan-serving:{RELEASE}"
    python: str = f"{REPOSITORY}/capstan-python:{RELEASE}"
    """Training, collector, monitor, MLflow."""
    gateway: str = f"{REPOSITORY}/capstan-gateway:{RELEASE}"
    router: str = f"{REPOSITORY}/capstan-bandit-router:{RELEASE}"
    """The router of a bandit that draws each request; only systems with such a step need it."""
    alertmanager: str = "docker.io/prom/alertmanager:v0.28.1"
    """Tells the people of `monitoring.receivers` where the Prometheus operator is not installed."""
    version: str = ""
    """Image that `capstan image` made of a version, such as `ghcr.io/me/{system}:{digest}`, filled in by name and first
    12 digits of the Bento's digest; empty: the generic serving image, which fetches the Bento."""
    pull_policy: str = "IfNotPresent"
    pull_secrets: tuple[str, ...] = ()
    """Names of Secrets in the systems' namespaces."""

    @field_validator("version")
    @classmethod
    def _fillable(cls, version: str) -> str:
        try:
            version.format(system="s", digest="d")
        except (LookupError, ValueError) as error:
            raise ValueError(f"{version!r} has other gaps than {{system}} and {{digest}}") from error
        return version

    def of_version(self, system: str, digest: str) -> str | None:
        """Image of a version; None: none was made of it, and the generic one serves it."""
        short = digest.removeprefix("sha256:")[:12]
        return self.version.format(system=system, digest=short) if self.version else None


class ConfigMapRef(_Settings):
    namespace: str
    name: str


class ClusterSettings(_Settings):
    """One operator's settings; every system's objects follow from these and from the system's file."""

    namespace: str = "capstan-system"
    """Namespace of the operator itself."""
    watch_namespaces: tuple[str, ...] = ()
    """Namespaces of the systems; empty: all."""
    images: Images = Field(default_factory=Images)
    artifacts: str = ""
    """`s3://BUCKET/PREFIX?endpoint_override=HOST:PORT&scheme=http`, as pyarrow reads it; empty: a volume per system."""
    artifact_keys: Path | None = None
    """Folder with the files AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, mounted from the operator's Secret."""
    artifact_keys_secret: str = ""
    """Name of that Secret, for messages."""
    master_key: Path | None = None
    """File with the key from which the tokens of every system are derived."""
    reading_key: Path | None = None
    """File with the key of the tokens that only read: with one of them the page asks monitors for evidence. None: there
    are no such tokens.
    """
    tracking_uri: str = "http://mlflow.capstan-system.svc:5000"
    prometheus_url: str = "http://prometheus.capstan-system.svc:9090"
    alertmanager_url: str = "http://alertmanager.capstan-system.svc:9093"
    webhook_url: str = "http://capstan-operator.capstan-system.svc:8088/alerts"
    webhook_token: Path | None = None
    """File with the bearer token that Alertmanager sends; None: every notification is refused, alerts are polled."""
    kfp_url: str = ""
    """Address of the KFP server's REST API; empty: training runs as a Job."""
    kfp_token: Path | None = None
    """File with a ServiceAccount token of audience pipelines.kubeflow.org; None: no authentication."""
    rules: ConfigMapRef | None = None
    """Where a plain Prometheus reads rules; None: PrometheusRule objects for the Prometheus operator."""
    seldon_executor: bool = True
    """Whether Seldon puts its executor beside a model, for Seldon's own clients and metrics; False where systems live
    under Pod Security "restricted", which refuses the executor: it does not drop its capabilities."""
    detectors: Literal["AlibiDetect", "Scipy"] = "AlibiDetect"
    """Library that measures drift; both decide the same. alibi-detect is under BSL 1.1, and an image may lack it."""
    sync_record: bool = True
    """Whether a payload is on the disk before it is acknowledged. It then survives a dying node, for an fsync per
    batch.
    """
    storage_class: str | None = None
    """Storage class of the volumes that are made for systems; None: the cluster's default."""


def read_settings(file: Path) -> ClusterSettings:
    """The settings in the file; raises InvalidSpecError that names every wrong field."""
    try:
        return ClusterSettings.model_validate_json(file.read_bytes())
    except OSError as error:
        raise InvalidSpecError([Mistake(str(file), f"cannot be read: {error.strerror}")]) from error
    except ValidationError as error:
        raise InvalidSpecError([_mistake(found) for found in error.errors()]) from error


def _mistake(found: Any) -> Mistake:
    return Mistake(".".join(str(part) for part in found["loc"]) or "settings", str(found["msg"]))
