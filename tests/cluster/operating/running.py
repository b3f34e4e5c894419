"""Operators as processes outside the cluster, each with just the rights that the chart gives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
from cluster.operating.file_world import WorldFile
from cluster.operating.tcp_proxy import TcpProxy

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.processes.ports_in_use import free_port
from capstan.ports.kube import Object
from capstan_operator.leader import LEASE
from capstan_operator.rights import NAMESPACED, OWN, rules

PROCESS = Path(__file__).with_name("operator_process.py")
ACCOUNT = "capstan-operator"
SYSTEM = "flights"
SPEC: dict[str, Any] = {
    "objective": {"task": "BinaryClassification", "target": "late"},
    "data": {
        "sources": [{"name": "flights", "csv": {"path": "flights.csv", "timeColumn": "departure"}}],
        "keys": {"id": "flight_id", "time": "departure"},
        "label": {"column": "late", "availableAt": "arrival", "maximumDelay": "2d"},
    },
    "features": [{"name": "distance", "numeric": {}}],
    "rollout": {
        "steps": [
            {"canary": {"weight": 25, "duration": "10s", "minRequests": 100}},
            {"canary": {"weight": 50, "duration": "10s", "minRequests": 100}},
        ]
    },
    "retraining": {"triggers": [{"drift": {}}], "cooldown": "0s"},
}


def wait_for(what: str, holds: Callable[[], Any], seconds: float = 60.0, pause: float = 0.25) -> Any:
    """The first true answer; fails with `what` if there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        answer = holds()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(pause)


@dataclass
class Operator:
    """One process, and how to ask it."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path

    def ask(self, path: str) -> tuple[int, str]:
        """(status, text); 0 where nobody answers."""
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.port}{path}", timeout=5.0, trust_env=False)
        except httpx.HTTPError:
            return 0, ""
        return answer.status_code, answer.text

    def metric(self, name: str) -> float | None:
        """Of the first series that begins so; None if there is none."""
        for line in self.ask("/metrics")[1].splitlines():
            if line.startswith(name):
                return float(line.rpartition(" ")[2])
        return None

    @property
    def leads(self) -> bool:
        return self.process.poll() is None and self.ask("/readyz") == (200, "leading\n")

    @property
    def stands_by(self) -> bool:
        return "standby" in self.ask("/readyz")[1]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=40)


@dataclass
class Room:
    """A namespace with an account for operators, and the operators that were started in it."""

    kube: KubeClient
    namespace: str
    folder: Path
    operators: list[Operator] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._give_rights()
        self.world = WorldFile(self.folder / "world", self.namespace, SYSTEM)

    def start(
        self,
        name: str = "operator",
        *,
        through: TcpProxy | None = None,
        hasty: bool = False,
        whims: str | None = None,
    ) -> Operator:
        """A further operator, which may be told to reach the API server through a proxy, or to watch a kind of ours."""
        port = free_port()
        log = self.folder / f"{name}-{len(self.operators)}.log"
        argv = [
            sys.executable,
            str(PROCESS),
            *("--kubeconfig", str(self._kubeconfig(through))),
            *("--namespace", self.namespace),
            *("--world", str(self.folder / "world")),
            *("--port", str(port)),
            *("--name", name),
            *(["--hasty"] if hasty else []),
            *(["--whims", whims] if whims else []),
        ]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}
        with log.open("wb") as output:
            process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, env=environment)
        operator = Operator(process, port, log)
        self.operators.append(operator)
        return operator

    def lead(self, **how: Any) -> Operator:
        """A further operator, once it leads."""
        operator = self.start(**how)
        wait_for("an operator leads", lambda: operator.leads or operator.process.poll() is not None, 90)
        assert operator.process.poll() is None, operator.log.read_text()
        return operator

    def follow(self, what: str, holds: Callable[[], Any], seconds: float, **how: Any) -> None:
        """As `wait_for`; an operator that has ended is started again, as a kubelet would."""

        def looked() -> Any:
            if self.operators[-1].process.poll() is not None:
                self.start(**how)
            return holds()

        wait_for(what, looked, seconds)

    def proxy(self) -> TcpProxy:
        """A way to the API server that can be cut."""
        address = urlsplit(self.kube.configuration.host)
        assert address.hostname is not None
        return TcpProxy(address.hostname, address.port or 443)

    def close(self) -> None:
        for operator in self.operators:
            if operator.process.poll() is None:
                operator.kill()

    # -- the system

    def apply(self, **changes: Any) -> None:
        """The file, with some fields of its spec replaced."""
        spec = {**SPEC, **changes}
        self.kube.apply(
            {
                "apiVersion": "capstan.dev/v1alpha1",
                "kind": "MLSystem",
                "metadata": {"name": SYSTEM, "namespace": self.namespace},
                "spec": spec,
            },
            manager="a-person",
        )

    def delete(self) -> None:
        self.kube.delete("MLSystem", SYSTEM, self.namespace)

    @property
    def system(self) -> Object | None:
        return self.kube.get("MLSystem", SYSTEM, self.namespace)

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = (self.system or {}).get("status") or {}
        return status

    @property
    def champion(self) -> str:
        return str((self.status.get("champion") or {}).get("version", ""))

    def condition(self, kind: str) -> tuple[str, str]:
        """(status, reason)."""
        for one in self.status.get("conditions", ()):
            if one["type"] == kind:
                return one["status"], one["reason"]
        return "", ""

    def serve(self) -> None:
        """The first version serves."""
        self.apply()
        wait_for("v1 serves", lambda: self.status.get("phase") == "Serving" and self.champion == "v1", 90)

    def until_canary(self) -> None:
        """An alert has led to v2, which has a share."""
        self.world.fire("v1", "one")
        wait_for("v2 has a share", lambda: self._challenger_weight() > 0, 90)

    def _challenger_weight(self) -> int:
        return int((self.status.get("challenger") or {}).get("weight") or 0)

    def holder(self) -> str:
        """Of the Lease."""
        lease = self.kube.get("Lease", LEASE, self.namespace)
        return str((lease or {}).get("spec", {}).get("holderIdentity") or "")

    def reasons(self) -> list[str]:
        """Of the events about the system."""
        return [event["reason"] for event in self.kube.list("Event", self.namespace)]

    # -- rights

    def _give_rights(self) -> None:
        from kubernetes import client

        api = client.ApiClient(self.kube.configuration)
        meta = {"name": ACCOUNT, "namespace": self.namespace}
        self.kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
        self._grant(ACCOUNT, [*rules(NAMESPACED), *rules(OWN)])
        asked = client.AuthenticationV1TokenRequest(
            spec=client.V1TokenRequestSpec(audiences=[], expiration_seconds=7200)
        )
        self.token = (
            client.CoreV1Api(api)
            .create_namespaced_service_account_token(ACCOUNT, self.namespace, asked)
            .status.token
        )

    def allow(self, group: str, resource: str, verbs: list[str]) -> None:
        """A right besides those that operators have."""
        self._grant(resource, [{"apiGroups": [group], "resources": [resource], "verbs": verbs}])

    def _grant(self, name: str, granted: list[dict[str, Any]]) -> None:
        from kubernetes import client

        roles = client.RbacAuthorizationV1Api(client.ApiClient(self.kube.configuration))
        meta = {"name": name, "namespace": self.namespace}
        roles.create_namespaced_role(self.namespace, {"metadata": meta, "rules": granted})
        subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": self.namespace}
        reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
        roles.create_namespaced_role_binding(
            self.namespace, {"metadata": meta, "roleRef": reference, "subjects": [subject]}
        )

    def _kubeconfig(self, through: TcpProxy | None) -> Path:
        server = f"https://127.0.0.1:{through.port}" if through else self.kube.configuration.host
        file = self.folder / f"kubeconfig-{through.port if through else 'straight'}.json"
        # The API server's certificate does not name the proxy.
        cluster = {"server": server, "insecure-skip-tls-verify": True}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": self.token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        file.write_text(json.dumps(document))
        return file
