"""What a cluster has of what a system needs, whether it runs, and what the user may do there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from capstan.cli.cluster_parts import look_at_parts
from capstan.cli.diagnosis import Health, Row
from capstan.cluster.places import LEASE, UNSEEN, Cluster
from capstan.errors import NotAllowedError
from capstan.spec.providers import PROVIDERS

if TYPE_CHECKING:
    from capstan.ports.kube import Object

_OPTIONAL: Mapping[str, tuple[str, str]] = {
    "Seldon Core": ("SeldonDeployment", "versions run as plain Deployments; `runtime: Seldon` needs it"),
    **{
        one.name: (one.own_kind, f"only `traffic.provider: {one.name}` needs it")
        for one in PROVIDERS.values()
        if one.own_kind
    },
    "Prometheus operator": (
        "PrometheusRule",
        "charts/capstan-stack brings a plain Prometheus and Alertmanager",
    ),
    "Kubeflow Pipelines": (
        "ScheduledWorkflow",
        "trainings run as Jobs; `runner: KubeflowPipelines` needs it",
    ),
}
_RIGHTS = (
    ("capstan.dev", "mlsystems", "get", "see systems"),
    ("capstan.dev", "mlsystems", "patch", "`capstan up`"),
    ("capstan.dev", "mlsystems", "delete", "`capstan down --delete`"),
    ("capstan.dev", "mlsystems/status", "update", "`capstan pause` and other commands"),
    ("", "configmaps", "list", "read the story"),
    ("", "pods/log", "get", "`capstan logs`"),
    ("", "pods/exec", "create", "`capstan push`"),
)
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"


def look_at(place: Cluster) -> Iterator[Row]:
    """Every row; raises UnavailableError if the API server does not answer."""
    yield Row("cluster", Health.OK, str(place))
    yield _definitions(place)
    operators = _operators(place)
    yield _operator(place, operators)
    yield _leader(place)
    namespaces = [str(one["metadata"]["namespace"]) for one in operators or ()]
    yield from look_at_parts(place.kube, namespaces, place.namespace)
    for what, (kind, way_out) in _OPTIONAL.items():
        found = place.kube.serves(kind)
        yield Row(what, Health.OK, "installed" if found else f"not installed: {way_out}")
    yield _storage(place)
    yield from _rights(place)


def _definitions(place: Cluster) -> Row:
    kinds = ("MLSystem", "TrainingRun", "ModelRollout")
    missing = [kind for kind in kinds if not place.kube.serves(kind)]
    if not missing:
        return Row("Capstan's kinds", Health.OK, ", ".join(kinds))
    way = f"{place.start} brings them"
    return Row("Capstan's kinds", Health.ERROR, f"not known: {', '.join(missing)}", way)


def _operators(place: Cluster) -> Sequence[Object] | None:
    """Deployments of operators in all namespaces; None: the user may not look."""
    labels = {"app.kubernetes.io/name": LEASE}
    try:
        return place.kube.list("Deployment", labels=labels) or [
            one for one in place.kube.list("Deployment") if one["metadata"]["name"] == LEASE
        ]
    except NotAllowedError:
        return None


def _operator(place: Cluster, found: Sequence[Object] | None) -> Row:
    if found is None:
        return Row("operator", Health.WARNING, "you may not look at Deployments of all namespaces")
    if not found:
        return Row("operator", Health.ERROR, "not installed", f"{place.start} brings it")
    said = [
        f"{one['metadata']['namespace']}/{one['metadata']['name']}: "
        f"{(one.get('status') or {}).get('readyReplicas', 0)} of {one['spec'].get('replicas', 1)} ready"
        for one in found
    ]
    ready = any((one.get("status") or {}).get("readyReplicas", 0) for one in found)
    way = (
        "" if ready else f"`kubectl -n {found[0]['metadata']['namespace']} describe deploy {LEASE}` says why"
    )
    return Row("operator", Health.OK if ready else Health.ERROR, ", ".join(said), way)


def _leader(place: Cluster) -> Row:
    holder = place.runner()
    if holder == UNSEEN:
        return Row("leader", Health.WARNING, "you may not look at the Lease")
    if holder is None:
        return Row(
            "leader", Health.ERROR, "no operator holds the Lease", "nothing is followed until one does"
        )
    return Row("leader", Health.OK, holder)


def _storage(place: Cluster) -> Row:
    try:
        classes = place.kube.list("StorageClass")
    except NotAllowedError:
        return Row("storage", Health.WARNING, "you may not look at StorageClasses")
    default = [one for one in classes if _is_default(one)]
    if default:
        return Row("storage", Health.OK, f"default class {default[0]['metadata']['name']}")
    there = ", ".join(one["metadata"]["name"] for one in classes) or "none"
    way = "name one in data.volume.storageClass and monitoring.volume.storageClass, or in the chart's storageClass"
    return Row("storage", Health.WARNING, f"no default class; classes: {there}", way)


def _is_default(storage_class: Object) -> bool:
    annotations = storage_class["metadata"].get("annotations") or {}
    return bool(annotations.get(_DEFAULT_CLASS) == "true")


def _rights(place: Cluster) -> Iterator[Row]:
    lacking = []
    for group, resource, verb, what in _RIGHTS:
        name, _, sub = resource.partition("/")
        asked: Object = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "metadata": {},
            "spec": {
                "resourceAttributes": {
                    "namespace": place.namespace,
                    "group": group,
                    "resource": name,
                    "subresource": sub,
                    "verb": verb,
                }
            },
        }
        if not place.kube.create(asked).get("status", {}).get("allowed"):
            lacking.append(f"{verb} {resource} ({what})")
    if not lacking:
        yield Row("your rights", Health.OK, f"all that the commands need in {place.namespace}")
    else:
        way = "the role `edit` of the namespace has them; the chart adds Capstan's kinds to it"
        yield Row("your rights", Health.WARNING, f"you may not {', '.join(lacking)}", way)
