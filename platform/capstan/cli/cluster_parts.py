"""What runs in a cluster and what does not: pods of operator, stack and systems, and what systems say of themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from capstan.adapters.kubernetes.conditions import holds, true_condition
from capstan.cli.diagnosis import Health, Row
from capstan.cli.wiring import pod_troubles
from capstan.cluster.places import OPERATOR_NAMESPACE
from capstan.errors import NotAllowedError

if TYPE_CHECKING:
    from capstan.domain.trouble import Trouble
    from capstan.ports.kube import Kube, Object

_OF_SYSTEMS = {"app.kubernetes.io/part-of": "capstan"}
_ENDED = ("Succeeded", "Failed")


def look_at_parts(kube: Kube, operators: Sequence[str], namespace: str) -> Iterator[Row]:
    """Rows about all pods in the operators' namespaces, about systems' pods elsewhere, and about the systems.

    `namespace` is looked at where the user may not look at all.
    """
    systems = _systems(kube, namespace)
    spaces = {str(one["metadata"]["namespace"]) for one in systems} | {namespace, OPERATOR_NAMESPACE}
    for operator in sorted(set(operators)):
        # The stack lives beside its operator, and may be brought by somebody else's chart.
        yield from _pods(kube, operator, {})
    for space in sorted(spaces - set(operators)):
        yield from _pods(kube, space, _OF_SYSTEMS)
    for system in systems:
        yield _system(system)


def _systems(kube: Kube, namespace: str) -> Sequence[Object]:
    for where in (None, namespace):
        try:
            return kube.list("MLSystem", where) if kube.serves("MLSystem") else []
        except NotAllowedError:
            continue
    return []


def _pods(kube: Kube, namespace: str, labels: Mapping[str, str]) -> Iterator[Row]:
    what = f"pods of {namespace}"
    try:
        pods = [pod for pod in kube.list("Pod", namespace, labels=labels) if _is_present(pod)]
        troubles = pod_troubles(kube, namespace, labels, _name)
    except NotAllowedError:
        yield Row(what, Health.WARNING, "you may not look at pods there")
        return
    yield from (_trouble(namespace, one) for one in troubles)
    in_trouble = {trouble.part for trouble in troubles}
    waiting = sorted(
        name for pod in pods if not holds(pod, "Ready") and (name := _name(pod)) not in in_trouble
    )
    ready = sum(holds(pod, "Ready") for pod in pods)
    if not pods and not troubles:
        if not labels:
            yield Row(
                what,
                Health.ERROR,
                "there are none",
                f"`kubectl -n {namespace} get deploy,statefulset` says why",
            )
        return
    found = f"{ready} of {len(pods)} ready"
    if waiting:
        way = "they may be starting; look again, or `kubectl describe pod` says what they wait for"
        yield Row(what, Health.WARNING, f"{found}; not yet: {', '.join(waiting)}", way)
    elif not troubles:
        yield Row(what, Health.OK, found)


def _trouble(namespace: str, trouble: Trouble) -> Row:
    found, _, way = trouble.message.partition("; ")
    return Row(f"{namespace}/{trouble.part}", Health.ERROR, f"{trouble.reason}: {found}", way)


def _system(document: Object) -> Row:
    meta, status = document["metadata"], document.get("status") or {}
    what = f"system {meta['namespace']}/{meta['name']}"
    phase = str(status.get("phase") or "not looked at by any operator yet")
    for kind, health in (("Stalled", Health.ERROR), ("Degraded", Health.WARNING)):
        condition = true_condition(document, kind)
        if condition:
            return Row(what, health, f"{phase}; {condition['reason']}: {condition.get('message', '')}")
    return Row(what, Health.OK if status else Health.WARNING, phase)


def _is_present(pod: Object) -> bool:
    ended = (pod.get("status") or {}).get("phase") in _ENDED
    return not ended and "deletionTimestamp" not in pod["metadata"]


def _name(document: Object) -> str:
    return str(document["metadata"]["name"])
