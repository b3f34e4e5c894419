"""An Alertmanager of a system's own for the people of `monitoring.receivers`, where there is no Prometheus operator.

It runs in the system's namespace, so that the kubelet mounts the Secrets of its receivers and nobody copies or reads
them. The stack's Prometheus finds it by its labels and sends it all alerts; its routes take those of its own system.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from capstan.adapters.alertmanager.receivers import People
from capstan.cluster.names import ALERTMANAGER_PORT, GROUP, SECRETS_MOUNT, Owner, SystemNames
from capstan.cluster.objects.access import policy, scraper, tcp
from capstan.cluster.objects.pods import TMP_MOUNT, container, http_probe, pod
from capstan.cluster.objects.secrets import optional_volumes
from capstan.cluster.settings import ClusterSettings
from capstan.ports.codec import to_yaml
from capstan.ports.kube import Object
from capstan.spec.system import MLSystem

COMPONENT = "alertmanager"
NOBODY = "nobody"
"""Receiver of the root: alerts of other systems end there."""
CONFIG_MOUNT = "/etc/alertmanager"
CONFIG = "alertmanager.yml"


def notifying(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None
) -> list[Object]:
    """ConfigMap, Deployment and NetworkPolicy; nothing where the file names no people."""
    if not system.spec.monitoring.receivers:
        return []
    content = alertmanager_config(system, names)
    labels = names.labels(COMPONENT)
    config_map: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": names.metadata(names.alertmanager, labels, owner),
        "data": {CONFIG: content},
    }
    return [
        config_map,
        _deployment(system, names, settings, owner, content),
        policy(
            names,
            COMPONENT,
            names.selector(COMPONENT),
            owner,
            ingress=[{"from": [scraper()], "ports": tcp(ALERTMANAGER_PORT)}],
            # A webhook, Slack and a mail server are wherever the file and its Secrets say.
            egress=[{}],
        ),
    ]


def unwanted(names: SystemNames) -> list[tuple[str, str]]:
    """Kind and name of what must go where the file names no people any more; the policy alone does nothing."""
    return [("Deployment", names.alertmanager), ("ConfigMap", names.alertmanager)]


def alertmanager_config(system: MLSystem, names: SystemNames) -> str:
    """Content of alertmanager.yml: secrets are named as files, and no secret is in it."""
    people = People(system.spec.monitoring.receivers, Path(SECRETS_MOUNT), names.namespace)
    document = {
        "route": {"receiver": NOBODY, "routes": people.routes(str(names.system))},
        "receivers": [{"name": NOBODY}, *people.documents(str(names.system))],
    }
    return to_yaml(document).decode()


def _deployment(
    system: MLSystem, names: SystemNames, settings: ClusterSettings, owner: Owner | None, content: str
) -> Object:
    volumes, mounts = optional_volumes(
        [secret for receiver in system.spec.monitoring.receivers for secret in receiver.secrets]
    )
    arguments = [
        f"--config.file={CONFIG_MOUNT}/{CONFIG}",
        f"--storage.path={TMP_MOUNT}/alertmanager",
        # Empty: alone. A cluster would wait a minute for others.
        "--cluster.listen-address=",
    ]
    alertmanager = container(
        COMPONENT,
        settings.images.alertmanager,
        settings.images,
        (),
        args=arguments,
        ports={"http": ALERTMANAGER_PORT},
        mounts=[{"name": "config", "mountPath": CONFIG_MOUNT, "readOnly": True}, *mounts],
        resources={"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "256Mi"}},
        readinessProbe=http_probe("/-/ready", "http", period_seconds=5),
        livenessProbe=http_probe("/-/healthy", "http", period_seconds=20, timeout_seconds=5),
    )
    config: Object = {"name": "config", "configMap": {"name": names.alertmanager}}
    labels = names.labels(COMPONENT)
    # It reads its file once: another content is another pod.
    annotations = {f"{GROUP}/config": hashlib.sha256(content.encode()).hexdigest()[:16]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": names.metadata(names.alertmanager, labels, owner),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": names.selector(COMPONENT)},
            # Two would tell everybody twice.
            "strategy": {"type": "Recreate"},
            "revisionHistoryLimit": 1,
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": pod(names, settings, [alertmanager], volumes=[config, *volumes]),
            },
        },
    }
