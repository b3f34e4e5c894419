"""Events of the API server, as `kubectl describe` shows them: gone after an hour, so never the record of anything."""

from __future__ import annotations

import hashlib
from datetime import datetime

from capstan.ports.kube import Object

LONGEST_MESSAGE = 1000


def reference(api_version: str, kind: str, name: str, namespace: str, uid: str | None) -> Object:
    """Reference to the object that an Event is about."""
    about = {"apiVersion": api_version, "kind": kind, "name": name, "namespace": namespace}
    return about if uid is None else {**about, "uid": uid}


def event_object(
    about: Object, reason: str, message: str, *, once: str, at: datetime, component: str, warns: bool
) -> Object:
    """A core/v1 Event. For one object and one `once` there is only one."""
    moment = at.strftime("%Y-%m-%dT%H:%M:%SZ")
    name, namespace = about["name"], about["namespace"]
    digest = hashlib.sha256(once.encode()).hexdigest()
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{name[:200]}.{digest[:16]}", "namespace": namespace},
        "involvedObject": about,
        "reason": reason,
        "message": message[:LONGEST_MESSAGE],
        "type": "Warning" if warns else "Normal",
        "source": {"component": component},
        "reportingComponent": component,
        "reportingInstance": component,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
