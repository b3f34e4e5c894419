"""Logs of a system's pods in a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capstan.cli.console import out, print_json
from capstan.cli.running_parts import pod_state
from capstan.cluster.places import Cluster
from capstan.errors import NotAllowedError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Pod = dict[str, Any]

LAST = "last"
"""Stands for the pod of the newest training."""
_RUN_LABEL = "capstan.dev/run"
_LABELS = ("capstan.dev/version", _RUN_LABEL, "app.kubernetes.io/name", "app.kubernetes.io/component")


def list_pods(place: Cluster, json: bool) -> None:
    """All pods of all systems of the namespace."""
    found = _pods(place)
    if json:
        print_json({_name(pod): {"of": _of(pod), "state": pod_state(pod)} for pod in found})
        return
    if not found:
        out.print(f"no pods in {place}; `capstan up FILE --context` makes a system", soft_wrap=True)
        return
    from rich.table import Table

    table = Table("pod", "of", "state", box=None, pad_edge=False)
    table.columns[0].overflow = "fold"
    for pod in found:
        table.add_row(_name(pod), _of(pod), pod_state(pod))
    out.print(table)


def show_pods(place: Cluster, name: str, lines: int, follow: bool, json: bool) -> None:
    """The end of the logs of the pod, or of all pods of a version, a run or a component."""
    chosen = _chosen(place, name)
    if json:
        print_json({_name(pod): _log(place, pod, lines).splitlines() for pod in chosen})
        return
    if follow and len(chosen) > 1:
        raise NotAllowedError(f"-f follows one pod, and {name} has {', '.join(map(_name, chosen))}; name one")
    for pod in chosen:
        if len(chosen) > 1:
            out.print(f"[bold]{_name(pod)}[/bold]")
        if follow:
            _follow(place, pod, lines)
        else:
            out.out(_log(place, pod, lines), end="", highlight=False)


def _pods(place: Cluster) -> Sequence[Pod]:
    from capstan.cluster.names import SYSTEM_LABEL
    from capstan.ports.kube import EXISTS

    return sorted(place.kube.list("Pod", place.namespace, labels={SYSTEM_LABEL: EXISTS}), key=_name)


def _chosen(place: Cluster, name: str) -> Sequence[Pod]:
    found = _pods(place)
    if name == LAST:
        return [_newest_training(place, found)]
    for matching in (
        [pod for pod in found if _name(pod) == name],
        [pod for pod in found if name in (_labels(pod).get(label) for label in _LABELS)],
        [pod for pod in found if _name(pod).startswith(name)],
    ):
        if matching:
            return matching
    there = ", ".join(map(_name, found)) or "none"
    raise NotFoundError(f"log {name!r}: no such pod, version, run or component in {place}; pods: {there}")


def _newest_training(place: Cluster, pods: Sequence[Pod]) -> Pod:
    """The pod of a training that began last; raises NotFoundError where none is left."""
    trainings = [pod for pod in pods if _RUN_LABEL in _labels(pod)]
    if not trainings:
        raise NotFoundError(
            f"no pod of a training is left in {place}; `capstan runs last --context` tells what the newest came to"
        )
    return max(trainings, key=lambda pod: (str(pod["metadata"].get("creationTimestamp") or ""), _name(pod)))


def _log(place: Cluster, pod: Pod, lines: int) -> str:
    if not lines:
        return ""
    return place.kube.pod_log(_name(pod), place.namespace, container=_container(pod), tail=lines)


def _follow(place: Cluster, pod: Pod, lines: int) -> None:
    from capstan.adapters.kubernetes.client import KubeClient

    assert isinstance(place.kube, KubeClient)
    for text in place.kube.follow_log(_name(pod), place.namespace, container=_container(pod), tail=lines):
        out.out(text, end="", highlight=False)


def _name(pod: Pod) -> str:
    return str(pod["metadata"]["name"])


def _labels(pod: Pod) -> dict[str, str]:
    return dict(pod["metadata"].get("labels") or {})


def _of(pod: Pod) -> str:
    """The version, run or component that it is a pod of."""
    return next((_labels(pod)[label] for label in _LABELS if label in _labels(pod)), "")


def _container(pod: Pod) -> str:
    annotated = (pod["metadata"].get("annotations") or {}).get("kubectl.kubernetes.io/default-container")
    return str(annotated or pod["spec"]["containers"][0]["name"])
