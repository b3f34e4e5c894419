"""A cluster that knows Jobs only, and runs their pods as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from capstan.errors import ConflictError, NotFoundError
from capstan.ports.kube import Object


class JobCluster:
    """A Kube that keeps what is written; a Job's only pod is its command, with /job and /work below `root`.

    Pods that are given in `pods` stand in for those that never run.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.objects: dict[tuple[str, str], Object] = {}
        self.pods: dict[str, list[Object]] = {}
        self.events: list[Object] = []
        self.created: list[str] = []
        self.runs = True
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        if kind == "Job" and (kind, name) in self.objects:
            self._look(name)
        return self.objects.get((kind, name))

    def list(
        self, kind: str, namespace: str | None = None, *, labels: Mapping[str, str] | None = None
    ) -> Sequence[Object]:
        if kind == "Event":
            return self.events
        assert kind == "Pod"
        assert labels is not None
        name = labels["job-name"]
        if name in self.pods:
            return self.pods[name]
        return [self._pod(name)] if name in self._processes else []

    def create(self, document: Object) -> Object:
        name = document["metadata"]["name"]
        if (document["kind"], name) in self.objects:
            raise ConflictError(f"{name} exists")
        self.created.append(name)
        made = self.objects[document["kind"], name] = {
            **document,
            "metadata": {**document["metadata"], "uid": f"uid-{name}", "creationTimestamp": _now()},
            "status": {},
        }
        if self.runs:
            self._start(name)
        return made

    def apply(self, document: Object, *, manager: str = "capstan") -> Object:
        return self.objects.setdefault((document["kind"], document["metadata"]["name"]), dict(document))

    def patch(
        self, kind: str, name: str, namespace: str | None, change: Object, *, sub: str | None = None
    ) -> Object:
        if (kind, name) not in self.objects:
            raise NotFoundError(name)
        found = self.objects[kind, name]
        for part, changes in change.items():
            found[part] = {**found[part], **changes}
        if kind == "Job" and found["spec"].get("suspend") and name in self._processes:
            self._processes[name].terminate()
            self._processes[name].wait(30)
        return found

    def replace(self, document: Object, *, sub: str | None = None) -> Object:
        raise NotImplementedError

    def delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        self.objects.pop((kind, name), None)
        self._processes.pop(name, None)

    def pod_log(self, name: str, namespace: str, *, container: str | None = None, tail: int = 100) -> str:
        lines = (self.root / name / "log").read_text().splitlines()
        return "\n".join(lines[-tail:])

    def serves(self, kind: str) -> bool:
        return True

    def stop(self) -> None:
        for process in self._processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)

    def _start(self, name: str) -> None:
        folder = self.root / name
        (folder / "job").mkdir(parents=True)
        for file, content in self.objects["ConfigMap", name]["data"].items():
            (folder / "job" / file).write_text(content)
        container = self.objects["Job", name]["spec"]["template"]["spec"]["containers"][0]
        moved = {"python": sys.executable, "/job": str(folder / "job"), "/work": str(folder / "work")}
        command = [moved.get(word, word) for word in container["command"]]
        environment = {entry["name"]: entry["value"] for entry in container.get("env", ())}
        with (folder / "log").open("wb") as log:
            self._processes[name] = subprocess.Popen(
                [*command, "--last-words", str(folder / "last-words")],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **environment, "HOME": str(folder)},
            )

    def _pod(self, name: str) -> Object:
        code, words = self._processes[name].poll(), self.root / name / "last-words"
        state: dict[str, Any] = {"running": {}}
        if code is not None:
            message = words.read_text() if words.exists() else ""
            state = {"terminated": {"exitCode": code, "message": message}}
        phase = {None: "Running", 0: "Succeeded"}.get(code, "Failed")
        return {
            "metadata": {"name": name, "creationTimestamp": _now()},
            "status": {"phase": phase, "containerStatuses": [{"name": "training", "state": state}]},
        }

    def _look(self, name: str) -> None:
        code = self._processes[name].poll() if name in self._processes else None
        if code == 0:
            self.finish(name, "Complete")
        elif code == 1:
            self.finish(name, "Failed", "PodFailurePolicy")

    def finish(self, name: str, kind: str, reason: str = "", message: str = "") -> None:
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        self.objects["Job", name]["status"] = {"conditions": [condition]}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
