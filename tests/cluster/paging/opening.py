"""The page's own pod, as the chart brings it, and `capstan open` as a process that leads to it."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cluster.charts import installed
from cluster.charts.rendering import CHARTS, helm, objects

PAGE = {"app.kubernetes.io/name": "page"}
REACH = [
    {"apiGroups": [""], "resources": ["services"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    {"apiGroups": [""], "resources": ["pods/portforward"], "verbs": ["create"]},
]
"""What `kubectl port-forward service/capstan-page` takes, as the docs name it."""
_TEMPLATES = ("keys", "settings", "page")
_RIGHTS = ("ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")


def deploy(home: str, folder: Path) -> None:
    """One replica beside nothing else; account and rights must be there. Returns when it is ready."""
    text = helm(
        *("template", "capstan", str(CHARTS / "capstan"), "--namespace", home, "--set", "page.replicas=1"),
        *installed.operator_options(home),
        *(word for name in _TEMPLATES for word in ("--show-only", f"templates/{name}.yaml")),
    )
    items = [document for document in objects(text) if document["kind"] not in _RIGHTS]
    file = folder / "page-objects.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    installed.kubectl("apply", "-n", home, "-f", str(file))
    wait_until_ready(home)


def wait_until_ready(home: str) -> None:
    installed.kubectl("rollout", "status", installed.PAGE, "-n", home, "--timeout=120s")


@dataclass
class OpenCommand:
    """A running `capstan open`."""

    process: subprocess.Popen[str]
    lines: queue.Queue[str]

    def line(self, pattern: str, seconds: float = 60.0) -> str:
        """What the first line with the pattern says in its group; fails if the command ends before, or says nothing."""
        said = []
        while True:
            said.append(self.lines.get(timeout=seconds))
            found = re.search(pattern, said[-1])
            if found is not None:
                return found.group(1)
            assert said[-1], f"it ended with {self.process.wait(10)}: {said}"

    @property
    def children(self) -> Sequence[int]:
        pid = self.process.pid
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self, number: signal.Signals) -> int:
        """The exit code after this signal."""
        self.process.send_signal(number)
        return self.process.wait(20)


@contextmanager
def opened(*arguments: str, environment: Mapping[str, str] = os.environ) -> Iterator[OpenCommand]:
    command = [sys.executable, "-m", "capstan", "open", "--context", ".", *arguments]
    # Tests that run in a shell's background ignore Ctrl-C, and so would what they start.
    process = subprocess.Popen(
        ["env", "--default-signal=INT,HUP,TERM", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=dict(environment),
    )
    lines: queue.Queue[str] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line)
        lines.put("")

    threading.Thread(target=read, daemon=True).start()
    try:
        yield OpenCommand(process, lines)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(20)
