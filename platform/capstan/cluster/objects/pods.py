"""What all pods of a system share: they meet Pod Security "restricted", are probed, and ask for little."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from capstan.cluster.names import TOKENS_MOUNT, SystemNames
from capstan.cluster.settings import ClusterSettings, Images
from capstan.ports.kube import Object
from capstan.spec.cluster import EnvironmentVariable
from capstan.spec.training import ResourceAmounts, Resources
from capstan.spec.units import format_bytes, format_cores, parse_bytes, parse_cores

USER = 1034
"""User and group of every process; also what BentoML's own images use."""
TMP_MOUNT = "/tmp"  # noqa: S108
SMALL = {"cpu": "50m", "memory": "128Mi"}
"""Requests for resources of processes about which the file says nothing."""
_TMP = "tmp"
_TOKENS = "tokens"


def pod(
    names: SystemNames,
    settings: ClusterSettings,
    containers: Sequence[Object],
    *,
    init_containers: Sequence[Object] = (),
    volumes: Iterable[Object] = (),
    node_selector: Mapping[str, str] | None = None,
    grace_seconds: int = 30,
) -> Object:
    """A PodSpec with an emptyDir at /tmp and no API token, under the system's ServiceAccount, which may do nothing."""
    document: Object = {
        "serviceAccountName": names.service_account,
        "automountServiceAccountToken": False,
        # Without this Kubernetes puts two dozen variables per Service of the namespace into every container.
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": grace_seconds,
        "containers": list(containers),
        "volumes": [{"name": _TMP, "emptyDir": {}}, *volumes],
    }
    if init_containers:
        document["initContainers"] = list(init_containers)
    if node_selector:
        document["nodeSelector"] = dict(node_selector)
    if settings.images.pull_secrets:
        document["imagePullSecrets"] = [{"name": secret} for secret in settings.images.pull_secrets]
    return document


def container(
    name: str,
    image: str,
    images: Images,
    argv: Sequence[str],
    *,
    env: Sequence[Object] = (),
    ports: Mapping[str, int] | None = None,
    mounts: Iterable[Object] = (),
    resources: Object | None = None,
    **more: Any,
) -> Object:
    """A container without privileges and with a read-only root; `more` are probes, lifecycle, envFrom and alike.

    No `argv`: the image says what it runs.
    """
    document: Object = {
        "name": name,
        "image": image,
        "imagePullPolicy": images.pull_policy,
        **({"command": list(argv)} if argv else {}),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        # The last words are then in the pod's status, which can be read without access to logs.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": resources if resources is not None else {"requests": dict(SMALL)},
        "volumeMounts": [{"name": _TMP, "mountPath": TMP_MOUNT}, *mounts],
    }
    if env:
        document["env"] = list(env)
    if ports:
        document["ports"] = [
            {"name": port_name, "containerPort": number, "protocol": "TCP"}
            for port_name, number in ports.items()
        ]
    document.update({key: value for key, value in more.items() if value is not None})
    return document


def http_probe(
    path: str, port: int | str, *, period_seconds: int = 5, timeout_seconds: int = 2, failures: int = 3
) -> Object:
    """Asks the path every `period_seconds`; the probe fails after so many failures in a row."""
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period_seconds,
        "timeoutSeconds": timeout_seconds,
        "failureThreshold": failures,
    }


def variables(values: Mapping[str, str | None], extra: Iterable[Object] = ()) -> list[Object]:
    """Environment of a container: ours as given (None: left out), then those of the file that do not name ours."""
    own = [{"name": name, "value": value} for name, value in values.items() if value is not None]
    return [*own, *(entry for entry in extra if entry["name"] not in values)]


def environment(entries: Iterable[EnvironmentVariable]) -> list[Object]:
    """The file's own variables; confidential ones stay references to Secrets of the system's namespace."""
    return [_variable(entry) for entry in entries]


def _variable(entry: EnvironmentVariable) -> Object:
    if entry.value_from is None:
        return {"name": entry.name, "value": entry.value or ""}
    secret = entry.value_from.secret_key_ref
    return {
        "name": entry.name,
        "valueFrom": {"secretKeyRef": {"name": str(secret.name), "key": secret.key}},
    }


def resources(wanted: Resources, default: Mapping[str, str] = SMALL) -> Object:
    """Requests and limits as Kubernetes writes them; what the file leaves out is small and never above a limit."""
    limits = _amounts(wanted.limits)
    requests = {**default, **_amounts(wanted.requests)}
    for amount, parse in (("cpu", parse_cores), ("memory", parse_bytes)):
        stated = getattr(wanted.requests, amount) is not None
        if not stated and amount in limits and parse(limits[amount]) < parse(requests[amount]):
            requests[amount] = limits[amount]
    return {"requests": requests, **({"limits": limits} if limits else {})}


def _amounts(wanted: ResourceAmounts) -> dict[str, str]:
    found: dict[str, str] = {}
    if wanted.cpu is not None:
        found["cpu"] = format_cores(wanted.cpu)
    if wanted.memory is not None:
        found["memory"] = format_bytes(wanted.memory)
    return found


def token_volume(names: SystemNames, *keys: str) -> Object:
    """The system's tokens, or just the keys that are named: `internal`, `feedback`."""
    secret: Object = {"secretName": names.tokens}
    if keys:
        secret["items"] = [{"key": key, "path": key} for key in keys]
    return {"name": _TOKENS, "secret": secret}


def token_mount() -> Object:
    """Mount of `token_volume`; a token is then read from `/tokens/KEY`."""
    return {"name": _TOKENS, "mountPath": TOKENS_MOUNT, "readOnly": True}


def scraped(port: int, path: str = "/metrics") -> dict[str, str]:
    """Annotations of a pod that Prometheus reads."""
    return {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(port),
        "prometheus.io/path": path,
    }


def disruption_budget(metadata: Mapping[str, object], selector: Mapping[str, str]) -> Object:
    """At most one pod at a time is taken away by drains and upgrades."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": dict(metadata),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": dict(selector)}},
    }
