"""The record of a system: its volume, the collector that writes it, the monitor that judges it, and their tokens.

Both pods mount one ReadWriteOnce volume, so the monitor runs on the collector's node. Their file comes as a ConfigMap
that the kubelet renews in place; both follow it without a restart.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import orjson

from capstan.cluster.names import (
    COLLECTOR_PORT,
    GROUP,
    MONITOR_PORT,
    RECORD_MOUNT,
    SECRETS_MOUNT,
    TOKENS_MOUNT,
    Owner,
    SystemNames,
)
from capstan.cluster.objects.access import operator_namespace, peer, policy, scraper, storage_egress, tcp
from capstan.cluster.objects.artifacts import artifacts_place
from capstan.cluster.objects.pods import (
    container,
    disruption_budget,
    http_probe,
    pod,
    scraped,
    token_mount,
    token_volume,
    variables,
)
from capstan.cluster.objects.secrets import optional_volumes
from capstan.cluster.objects.volumes import claim
from capstan.cluster.settings import ClusterSettings
from capstan.monitoring.pace import BY_ROWS, live_pace
from capstan.ports.kube import Object
from capstan.spec.system import MLSystem
from capstan.spec.units import format_bytes

TOKEN_NAMES = ("internal", "feedback", "executor")
"""`executor` opens the collector to Seldon's executor, which can send no header: it is in the logger's address."""
READING = "reading"
"""Token that opens what only reads: evidence at the monitor, for the page."""
MADE_BY = (
    '`kubectl create secret generic {name} --from-literal={key}="$(openssl rand -base64 32)"` in the system\'s '
    "namespace makes it; the collector sees it within a minute or two"
)
"""How a webhook's secret is made in a cluster."""
CONFIG_MOUNT = "/config"
FLUSH_SECONDS = 10.0
SILENCE_SECONDS = 120.0
"""Seconds without a word after which an idle producer is dead: four words, one each 30 s, have not come."""
COLLECTOR_GRACE_SECONDS = 60
"""Seconds for requests under way, then for writing everything taken to Parquet."""
MONITOR_GRACE_SECONDS = 30
_ALIVE = "/livez"
_START_SECONDS = 300
"""Seconds for a former process to end, and for reading what it left."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def recording(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None
) -> list[Object]:
    """Everything but the tokens: claim, ConfigMap, collector, monitor and who may talk to them."""
    configs = {
        "collector": _collector_config(system, settings),
        "monitor": _monitor_config(system, names, settings),
    }
    return [
        _claim(system, names, settings, owner),
        _config_map(system, names, owner, configs),
        *_collector(system, names, settings, owner, configs["collector"]),
        *_monitor(names, settings, owner, configs["monitor"]),
        *_policies(system, names, settings, owner),
    ]


def tokens(names: SystemNames, owner: Owner | None, values: Mapping[str, str]) -> Object:
    """The Secret with the system's tokens, by name: TOKEN_NAMES, and `webhook` for an AlertmanagerConfig."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": names.metadata(names.tokens, names.labels("tokens"), owner),
        "type": "Opaque",
        "immutable": True,
        "data": {name: b64encode(value.encode()).decode() for name, value in sorted(values.items())},
    }


def executor_log_url(names: SystemNames, token: str, *, shadow: bool) -> str:
    """What a SeldonDeployment's `logger.url` is set to; the path says what the executor itself cannot."""
    host = names.host(names.collector)
    return f"http://{host}:{COLLECTOR_PORT}/seldon/{token}/{'shadow' if shadow else 'live'}"


def _claim(system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None) -> Object:
    volume = system.spec.monitoring.volume
    return claim(
        system,
        names,
        settings,
        owner,
        name=names.record_claim,
        component="record",
        size=format_bytes(volume.size),
        storage_class=volume.storage_class,
    )


def _config_map(
    system: MLSystem, names: SystemNames, owner: Owner | None, configs: Mapping[str, bytes]
) -> Object:
    document = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": names.metadata(names.record_claim, names.labels("record"), owner),
        "data": {
            "spec.json": orjson.dumps(document).decode(),
            **{f"{name}.json": content.decode() for name, content in configs.items()},
        },
    }


def _collector_config(system: MLSystem, settings: ClusterSettings) -> bytes:
    document = {
        "host": "0.0.0.0",  # noqa: S104
        "port": COLLECTOR_PORT,
        "directory": f"{RECORD_MOUNT}/collector",
        "systems": f"{RECORD_MOUNT}/systems",
        "tokens": {name: f"{TOKENS_MOUNT}/{name}" for name in TOKEN_NAMES},
        "spec": f"{CONFIG_MOUNT}/spec.json",
        "flush_seconds": FLUSH_SECONDS,
        "silence_seconds": SILENCE_SECONDS,
        **({"secrets": SECRETS_MOUNT, "secrets_made_by": MADE_BY} if any(_secrets(system)) else {}),
        "sync": settings.sync_record,
    }
    return orjson.dumps(document)


def _monitor_config(system: MLSystem, names: SystemNames, settings: ClusterSettings) -> bytes:
    window = system.spec.monitoring.window
    pace = live_pace(
        window.step if window.rows is None else min(BY_ROWS, window.step), flush_seconds=FLUSH_SECONDS
    )
    document = {
        "host": "0.0.0.0",  # noqa: S104
        "port": MONITOR_PORT,
        "system": names.system,
        "folder": f"{RECORD_MOUNT}/systems/{names.system}",
        "token": f"{TOKENS_MOUNT}/internal",
        **({"reading_token": f"{TOKENS_MOUNT}/{READING}"} if settings.reading_key is not None else {}),
        "spec": f"{CONFIG_MOUNT}/spec.json",
        "artifacts": artifacts_place(names, settings).uri,
        "home": f"{RECORD_MOUNT}/watched",
        "detectors": settings.detectors,
        "interval_seconds": pace.interval_seconds,
        "grace_seconds": pace.grace_seconds,
    }
    return orjson.dumps(document)


def _collector(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None, config: bytes
) -> list[Object]:
    secrets, mounts = _secrets(system)
    spec = pod(
        names,
        settings,
        [_python(settings, "collector", COLLECTOR_PORT, {"cpu": "50m", "memory": "192Mi"}, mounts=mounts)],
        volumes=[*_volumes(names), token_volume(names), *secrets],
        grace_seconds=COLLECTOR_GRACE_SECONDS,
    )
    # As long as the monitor runs on a node, the volume can be mounted on no other node.
    spec["affinity"] = {
        "podAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {"weight": 100, "podAffinityTerm": _same_node(names, "monitor")}
            ]
        }
    }
    return _component(names, owner, names.collector, "collector", COLLECTOR_PORT, spec, config)


def _secrets(system: MLSystem) -> tuple[list[Object], list[Object]]:
    """Volume and mount of the Secrets that other systems sign with, and of the keys of pseudonyms.

    One that is missing keeps its sender out, or labels of pseudonymised ids, and no payload.
    """
    signing = [webhook.secret_from for webhook in system.spec.retraining.webhooks.values()]
    return optional_volumes([*signing, *system.spec.data.privacy.secrets])


def _monitor(
    names: SystemNames, settings: ClusterSettings, owner: Owner | None, config: bytes
) -> list[Object]:
    place = artifacts_place(names, settings)
    spec = pod(
        names,
        settings,
        [
            _python(
                settings,
                "monitor",
                MONITOR_PORT,
                {"cpu": "50m", "memory": "512Mi"},
                mounts=place.mounts(read_only=True),
                envFrom=place.env_from,
            )
        ],
        volumes=[*_volumes(names), token_volume(names, *_monitor_tokens(settings)), *place.volumes],
        grace_seconds=MONITOR_GRACE_SECONDS,
    )
    spec["affinity"] = {
        "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [_same_node(names, "collector")]}
    }
    return _component(names, owner, names.monitor, "monitor", MONITOR_PORT, spec, config)


def _monitor_tokens(settings: ClusterSettings) -> tuple[str, ...]:
    return ("internal", READING) if settings.reading_key is not None else ("internal",)


# The module that a component's container runs.
_PROGRAM_OF = {"collector": "capstan.recording.collector.server", "monitor": "capstan.monitoring.monitor"}


def _same_node(names: SystemNames, component: str) -> Object:
    return {
        "labelSelector": {"matchLabels": names.selector(component)},
        "topologyKey": "kubernetes.io/hostname",
    }


def _volumes(names: SystemNames) -> list[Object]:
    return [
        {"name": "record", "persistentVolumeClaim": {"claimName": names.record_claim}},
        {"name": "config", "configMap": {"name": names.record_claim}},
    ]


def _python(
    settings: ClusterSettings,
    component: str,
    port: int,
    requests: Mapping[str, str],
    *,
    mounts: list[Object] | None = None,
    **more: Any,
) -> Object:
    command = (
        "python", "-m", _PROGRAM_OF[component], "--config", f"{CONFIG_MOUNT}/{component}.json",
    )  # fmt: skip
    return container(
        component,
        settings.images.python,
        settings.images,
        command,
        env=variables({"HOME": "/tmp", **_ONE_THREAD}),  # noqa: S108
        ports={"http": port},
        mounts=[
            {"name": "record", "mountPath": RECORD_MOUNT},
            # A directory, not a subPath: only that is renewed when the ConfigMap changes.
            {"name": "config", "mountPath": CONFIG_MOUNT, "readOnly": True},
            token_mount(),
            *(mounts or []),
        ],
        resources={"requests": dict(requests)},
        startupProbe=http_probe(_ALIVE, "http", period_seconds=1, failures=_START_SECONDS),
        readinessProbe=http_probe(_ALIVE, "http", period_seconds=5),
        # The probe asks after the process, not after its disk: failed writes are tried again, a restart frees no room.
        livenessProbe=http_probe(_ALIVE, "http", period_seconds=10, timeout_seconds=5, failures=6),
        **more,
    )


def _component(
    names: SystemNames,
    owner: Owner | None,
    name: str,
    component: str,
    port: int,
    spec: Object,
    config: bytes,
) -> list[Object]:
    labels, selector = names.labels(component), names.selector(component)
    annotations = {**scraped(port), f"{GROUP}/config": hashlib.sha256(config).hexdigest()[:16]}
    deployment: Object = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": names.metadata(name, labels, owner),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": selector},
            # There is one writer: the former pod ends before the next one starts.
            "strategy": {"type": "Recreate"},
            "revisionHistoryLimit": 1,
            "template": {"metadata": {"labels": labels, "annotations": annotations}, "spec": spec},
        },
    }
    service: Object = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": names.metadata(name, labels, owner),
        "spec": {
            "selector": selector,
            "ports": [{"name": "http", "port": port, "targetPort": "http", "protocol": "TCP"}],
        },
    }
    return [deployment, service, disruption_budget(names.metadata(name, labels, owner), selector)]


def _policies(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None
) -> list[Object]:
    """Models (with Seldon's executor beside them), batches and gateways reach the collector, the operator both."""
    operator, everybody = operator_namespace(settings), [scraper()]
    senders = [peer(names, "model"), peer(names, "gateway")]
    senders += [peer(names, "batch")] if system.spec.batch is not None else []
    return [
        policy(
            names,
            "collector",
            names.selector("collector"),
            owner,
            ingress=[{"from": [*senders, operator, *everybody], "ports": tcp(COLLECTOR_PORT)}],
            egress=[],
        ),
        policy(
            names,
            "monitor",
            names.selector("monitor"),
            owner,
            ingress=[{"from": [operator, *everybody], "ports": tcp(MONITOR_PORT)}],
            egress=storage_egress(names, settings),
        ),
    ]
