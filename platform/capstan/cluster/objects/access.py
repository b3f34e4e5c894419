"""What a system's pods may do and reach: an account without rights, keys to the artifacts, who may talk to whom."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence

from capstan.cluster.names import COLLECTOR_PORT, MODEL_PORT, PART_OF, SYSTEM_LABEL, Owner, SystemNames
from capstan.cluster.objects.artifacts import artifacts_place, storage_port
from capstan.cluster.objects.volumes import claim
from capstan.cluster.settings import ClusterSettings
from capstan.ports.kube import Object
from capstan.spec.system import MLSystem

ARTIFACTS_SIZE = "10Gi"
KEY_NAMES = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
PROMETHEUS: Mapping[str, str] = {"app.kubernetes.io/name": "prometheus"}
"""Label of Prometheus pods, whoever installed them."""
_DNS_PORTS = (53, 5353)
"""Ports of the DNS pods, which rules see instead of their Service's; those of OpenShift listen on 5353."""


def access(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    owner: Owner | None,
    keys: Mapping[str, str] | None = None,
) -> list[Object]:
    """ServiceAccount, keys of the object storage (or the volume in its place) and NetworkPolicies.

    `keys` holds the values of KEY_NAMES; None where they are not known, as in `capstan render`: then the Secret is
    rendered without them.
    """
    return [
        _account(names, owner),
        *_artifacts(system, names, settings, owner, keys),
        *_policies(names, settings, owner),
    ]


def _account(names: SystemNames, owner: Owner | None) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": names.metadata(names.service_account, names.labels("account"), owner),
        "automountServiceAccountToken": False,
    }


def _artifacts(
    system: MLSystem,
    names: SystemNames,
    settings: ClusterSettings,
    owner: Owner | None,
    keys: Mapping[str, str] | None,
) -> list[Object]:
    place = artifacts_place(names, settings)
    if place.claim is not None:
        size = ARTIFACTS_SIZE
        return [claim(system, names, settings, owner, name=place.claim, component="artifacts", size=size)]
    if place.keys is None:
        return []
    secret: Object = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": names.metadata(place.keys, names.labels("artifacts"), owner),
        "type": "Opaque",
        "immutable": True,
    }
    if keys is not None:
        secret["data"] = {name: b64encode(keys[name].encode()).decode() for name in KEY_NAMES}
    return [secret]


def _policies(names: SystemNames, settings: ClusterSettings, owner: Owner | None) -> list[Object]:
    everything = {SYSTEM_LABEL: str(names.system)}
    dns = {
        "ports": [{"protocol": protocol, "port": port} for port in _DNS_PORTS for protocol in ("UDP", "TCP")]
    }
    return [
        policy(names, "deny", everything, owner, ingress=[], egress=[dns]),
        policy(
            names,
            "model",
            names.selector("model"),
            owner,
            ingress=[
                {"from": [peer(names, "gateway")], "ports": tcp(MODEL_PORT)},
                {"from": [scraper()], "ports": tcp(MODEL_PORT)},
            ],
            egress=[
                {"to": [peer(names, "collector")], "ports": tcp(COLLECTOR_PORT)},
                *storage_egress(names, settings),
            ],
        ),
    ]


def policy(
    names: SystemNames,
    about: str,
    pods: Mapping[str, str],
    owner: Owner | None,
    *,
    ingress: Sequence[Object] | None = None,
    egress: Sequence[Object] | None = None,
) -> Object:
    """A NetworkPolicy `S-ABOUT`: its pods may be reached and may reach others only as listed; None: it does not
    restrict that direction.
    """
    spec: Object = {"podSelector": {"matchLabels": dict(pods)}, "policyTypes": []}
    for kind, rules in (("Ingress", ingress), ("Egress", egress)):
        if rules is not None:
            spec["policyTypes"].append(kind)
            spec[kind.lower()] = list(rules)
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": names.metadata(
            f"{names.system}-{about}", {**PART_OF, SYSTEM_LABEL: str(names.system)}, owner
        ),
        "spec": spec,
    }


def peer(names: SystemNames, component: str) -> Object:
    """Pods of a component of the same system."""
    return {"podSelector": {"matchLabels": names.selector(component)}}


def scraper() -> Object:
    """Prometheus, in any namespace."""
    return {"namespaceSelector": {}, "podSelector": {"matchLabels": dict(PROMETHEUS)}}


def operator_namespace(settings: ClusterSettings) -> Object:
    """All pods beside the operator: the operator itself and, with charts/capstan-stack, MLflow and object storage."""
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace}}}


def storage_egress(names: SystemNames, settings: ClusterSettings) -> list[Object]:
    """Rule for the way to the object storage: beside the operator on any port, elsewhere on the port of its
    address.
    """
    port = storage_port(artifacts_place(names, settings).uri)
    if port is None:
        return []
    return [{"to": [operator_namespace(settings)]}, {"ports": tcp(port)}]


def tcp(*ports: int) -> list[Object]:
    return [{"protocol": "TCP", "port": port} for port in ports]
