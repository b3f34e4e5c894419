"""Which parts of a system do not start in a cluster, why, and what mends it: read from its Deployments and pods.

A part that simply needs time is in no trouble. What only Events tell (a volume that cannot be mounted) is asked for at
most every few seconds, and only while a pod hangs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from capstan.adapters.kubernetes.conditions import true_condition
from capstan.adapters.kubernetes.pods import is_held_up, newest_warning
from capstan.domain.trouble import Trouble
from capstan.errors import CapstanError
from capstan.ports.kube import Kube, Object

_IMAGE = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_CONFIG = frozenset(
    {"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "ImageInspectError"}
)
_HELD_UP_AFTER = timedelta(seconds=20)
_UNSCHEDULABLE_AFTER = timedelta(seconds=30)
"""Time that an unscheduled pod is given: a node may be on its way, or a volume about to be made."""
_EVENTS_SECONDS = 10.0
_RESTARTS_BORNE = 1
"""Restarts before a container counts as crashing, whatever it does between two crashes."""
_LONGEST = 500
_LONGEST_CAUSE = 120
_ENDED = ("Succeeded", "Failed")

_NO_OBJECT = re.compile(r'(?P<kind>secret|configmap) "(?P<name>[^"]+)" not found', re.IGNORECASE)
_NO_KEY = re.compile(r"couldn.t find key (?P<key>\S+) in (?P<kind>Secret|ConfigMap) [^/\s]+/(?P<name>\S+)")
_NO_MOUNTED_KEY = re.compile(r"references non-existent (?P<kind>secret|config) key: (?P<key>\S+)")


class PodTroubles:
    """Tells the troubles of one system's Deployments and pods."""

    def __init__(
        self,
        kube: Kube,
        namespace: str,
        labels: Mapping[str, str],
        part_of: Callable[[Object], str],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """`labels` find all objects of the system; `part_of` names what one belongs to, empty: nobody's concern."""
        self._kube = kube
        self._namespace = namespace
        self._labels = labels
        self._part_of = part_of
        self._now = now
        self._heard: dict[str, tuple[str, datetime]] = {}
        """Words of the last Event about a pod, and the time at which it was asked for."""

    def __call__(self) -> tuple[Trouble, ...]:
        """One trouble for each part that has some, by name. Raises UnavailableError."""
        found: dict[str, Trouble] = {}
        pods = self._kube.list("Pod", self._namespace, labels=self._labels)
        for pod in pods:
            part = self._part_of(pod)
            if part and part not in found and (told := self._of_pod(pod)) is not None:
                found[part] = Trouble(part, told[0], _shortened(told[1]))
        for deployment in self._kube.list("Deployment", self._namespace, labels=self._labels):
            part = self._part_of(deployment)
            failure = true_condition(deployment, "ReplicaFailure")
            if part and failure and not deployment["metadata"].get("deletionTimestamp"):
                # There is no pod at all: a quota, Pod Security or a missing ServiceAccount is in the way.
                reason = str(failure.get("reason") or "FailedCreate")
                found.setdefault(part, Trouble(part, reason, _shortened(str(failure.get("message") or ""))))
        present = {str(pod["metadata"]["name"]) for pod in pods}
        self._heard = {name: told for name, told in self._heard.items() if name in present}
        return tuple(found[part] for part in sorted(found))

    def _of_pod(self, pod: Object) -> tuple[str, str] | None:
        """The trouble of a pod as (reason, message)."""
        meta, status = pod["metadata"], pod.get("status") or {}
        if meta.get("deletionTimestamp") or status.get("phase") in _ENDED:
            return None
        for condition in status.get("conditions") or ():
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                if not self._is_older(pod, _UNSCHEDULABLE_AFTER):
                    return None
                return _unschedulable(
                    str(condition.get("reason") or "Unschedulable"), str(condition.get("message") or "")
                )
        for container in _containers(pod):
            if (told := self._of_container(pod, container)) is not None:
                return told
        if is_held_up(pod) and self._is_older(pod, _HELD_UP_AFTER):
            return self._held_up(pod)
        return None

    def _of_container(self, pod: Object, container: Object) -> tuple[str, str] | None:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
        if reason in _IMAGE:
            # The kubelet alternates between two reasons for one trouble.
            image = str(container.get("image") or "")
            return "ImagePullBackOff", (
                f"the image {image} cannot be pulled ({_cause(message) or reason}); correct its name in the "
                "chart's `images`, or name the Secret that opens the registry in images.pullSecrets"
            )
        if reason in _CONFIG:
            return reason, self._with_way_out(message)
        ended = (container.get("state") or {}).get("terminated") or (container.get("lastState") or {}).get(
            "terminated"
        )
        crashes = int(container.get("restartCount") or 0) > _RESTARTS_BORNE or reason == "CrashLoopBackOff"
        if crashes and ended and ended.get("exitCode") and not container.get("ready"):
            why = " ".join(str(ended.get("message") or ended.get("reason") or "").split())
            code = ended["exitCode"]
            name = pod["metadata"]["name"]
            return "CrashLoopBackOff", (
                f"{container['name']} ends again and again with exit code {code}{f': {why}' if why else ''}; "
                f"`kubectl -n {self._namespace} logs {name} -c {container['name']} --previous` shows its last lines"
            )
        return None

    def _held_up(self, pod: Object) -> tuple[str, str] | None:
        name, now = str(pod["metadata"]["name"]), self._now()
        known = self._heard.get(name)
        if known is None or (now - known[1]).total_seconds() >= _EVENTS_SECONDS:
            try:
                said = newest_warning(self._kube, self._namespace, name)
            except CapstanError:
                # Events may not be read here. That the pod hangs is known in any case.
                said = ""
            known = self._heard[name] = (said, now)
        reason, _, message = known[0].partition(": ")
        if not reason:
            return None
        if reason in ("FailedScheduling", "BackOff", "Failed", "Unhealthy"):
            # The pod's own status tells these reasons, and by now it is past them.
            return None
        return reason, self._with_way_out(message)

    def _with_way_out(self, message: str) -> str:
        text = " ".join(message.split())
        way = way_out(self._namespace, text)
        return f"{text}; {way}" if way else text

    def _is_older(self, pod: Object, age: timedelta) -> bool:
        made = pod["metadata"].get("creationTimestamp")
        return bool(made) and self._now() - datetime.fromisoformat(made) > age


def way_out(namespace: str, message: str) -> str:
    """The command that brings what the kubelet misses; empty if it misses nothing that is known."""
    if found := _NO_KEY.search(message):
        return _add_key(namespace, found["kind"].lower(), found["name"], found["key"])
    if found := _NO_OBJECT.search(message):
        kind, name = found["kind"].lower(), found["name"]
        what = "secret generic" if kind == "secret" else "configmap"
        return f"`kubectl -n {namespace} create {what} {name} --from-literal=KEY=VALUE` makes it"
    if found := _NO_MOUNTED_KEY.search(message):
        return f"add the key {found['key']} to the {'Secret' if found['kind'] == 'secret' else 'ConfigMap'}"
    return ""


def _add_key(namespace: str, kind: str, name: str, key: str) -> str:
    return f"`kubectl -n {namespace} edit {kind} {name}` adds the key {key}, or correct the key's name in the file"


def _unschedulable(reason: str, message: str) -> tuple[str, str]:
    if "unbound immediate PersistentVolumeClaims" in message or "persistentvolumeclaim" in message.lower():
        way = "`capstan doctor --context .` looks at the storage classes that volumes are made from"
    elif "Insufficient" in message:
        way = "free or add a node, or ask for less in training.resources or serving.resources"
    else:
        way = "free or add a node that fits, or correct nodeSelector in the file"
    return reason, f"{' '.join(message.split())} {way}" if message.endswith(".") else f"{message}; {way}"


def _containers(pod: Object) -> Iterator[Object]:
    status = pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        found: Sequence[Object] = status.get(kind) or ()
        yield from found


def _cause(message: str) -> str:
    """Cause of a failure, such as `not found`: the end of a message that the kubelet repeats behind colons."""
    cause = " ".join(message.split()).rpartition(": ")[2]
    return cause if len(cause) <= _LONGEST_CAUSE else f"... {cause[-_LONGEST_CAUSE:]}"


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 4]} ..."
