"""Pages as processes outside the cluster, each with just the rights that the chart gives, and people with few."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from cluster.operating.running import wait_for
from cluster.operating.tcp_proxy import TcpProxy

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.processes.ports_in_use import free_port
from capstan_page.rendering import rules
from capstan_page.rights import CLUSTER, NAMESPACED

ACCOUNT = "capstan-page"
VIEW = [
    {
        "apiGroups": ["capstan.dev"],
        "resources": ["mlsystems", "trainingruns", "modelrollouts"],
        "verbs": ["get", "list", "watch"],
    },
    {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
]
"""As the role `view` has it where the chart is installed."""
EDIT = [
    *VIEW,
    {"apiGroups": ["capstan.dev"], "resources": ["mlsystems/status"], "verbs": ["update", "patch"]},
]
AWAY = "http://127.0.0.1:9"


class Front(TcpProxy):
    """The address of a page, as a Service: behind it is one of its replicas."""

    def turn(self, port: int) -> None:
        self._target = ("127.0.0.1", port)


@dataclass
class PageProcess:
    """One replica, and how to ask it."""

    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int
    log: Path

    @property
    def is_ready(self) -> bool:
        try:
            answer = httpx.get(f"http://127.0.0.1:{self.metrics_port}/readyz", timeout=3.0, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == 200

    def metrics(self) -> Mapping[str, float]:
        """Its series, by name and labels as they are written."""
        text = httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", trust_env=False).text
        lines = [line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#")]
        return {name: float(value) for name, _, value in lines}

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Pages:
    """Replicas of one page for some namespaces, with an account of their own in the first."""

    kube: KubeClient
    namespaces: Sequence[str]
    folder: Path
    replicas: list[PageProcess] = field(default_factory=list)
    given: list[tuple[str, str]] = field(default_factory=list)
    """Cluster-wide roles and bindings, which no namespace takes along."""

    def __post_init__(self) -> None:
        self.home = self.namespaces[0]
        self._account(ACCOUNT, self.home)
        for namespace in self.namespaces:
            self.grant(ACCOUNT, namespace, rules(NAMESPACED))
        self._grant_everywhere(rules(CLUSTER))
        self.token = self.kube.request_token(ACCOUNT, self.home, seconds=7200)
        self.key = self.folder / "session-key"
        self.key.write_text(secrets.token_hex(32))

    def start(self, **settings: Any) -> PageProcess:
        """A further replica, once it is ready."""
        number = len(self.replicas)
        for name, document in (
            ("operator", {"namespace": self.home, "watch_namespaces": list(self.namespaces), **_AWAY}),
            ("page", {"session_key": str(self.key), **settings}),
        ):
            (self.folder / f"{name}.json").write_text(json.dumps(document))
        port, metrics_port, log = free_port(), free_port(), self.folder / f"page-{number}.log"
        argv = [
            *(sys.executable, "-m", "capstan_page", "--host", "127.0.0.1"),
            *("--kubeconfig", str(self.kubeconfig("page", self.token))),
            *("--settings", str(self.folder / "operator.json"), "--page", str(self.folder / "page.json")),
            *("--port", str(port), "--metrics-port", str(metrics_port)),
        ]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONWARNINGS": "ignore"}
        with log.open("wb") as output:
            process = subprocess.Popen(argv, stdout=output, stderr=subprocess.STDOUT, env=environment)
        page = PageProcess(process, port, metrics_port, log)
        self.replicas.append(page)
        wait_for("the page is ready", lambda: page.is_ready or process.poll() is not None, 90)
        assert process.poll() is None, log.read_text()
        return page

    def person(self, name: str, granted: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
        """A token of somebody with these rights, by namespace."""
        self._account(name, self.home)
        for namespace, rights in granted.items():
            self.grant(name, namespace, rights)
        return self.kube.request_token(name, self.home, seconds=3600)

    def grant(self, name: str, namespace: str, granted: Sequence[Mapping[str, Any]]) -> None:
        meta = {"name": name, "namespace": namespace}
        self._roles().create_namespaced_role(namespace, {"metadata": meta, "rules": list(granted)})
        self._roles().create_namespaced_role_binding(
            namespace, {"metadata": meta, **self._binding(name, "Role", name)}
        )

    def revoke(self, name: str, namespace: str) -> None:
        self._roles().delete_namespaced_role_binding(name, namespace)

    def kubeconfig(self, name: str, token: str) -> Path:
        """A file whose only user has this token."""
        file = self.folder / f"kubeconfig-{name}.json"
        authority = self.kube.configuration.ssl_ca_cert
        trust = {"certificate-authority": authority} if authority else {"insecure-skip-tls-verify": True}
        cluster = {"server": self.kube.configuration.host, **trust}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        file.write_text(json.dumps(document))
        return file

    def close(self) -> None:
        for page in self.replicas:
            if page.process.poll() is None:
                page.kill()
        for role, binding in self.given:
            self._roles().delete_cluster_role_binding(binding)
            self._roles().delete_cluster_role(role)

    # -- rights

    def _grant_everywhere(self, granted: Sequence[Mapping[str, Any]]) -> None:
        name = f"{ACCOUNT}-{self.home}"
        self._roles().create_cluster_role({"metadata": {"name": name}, "rules": list(granted)})
        self._roles().create_cluster_role_binding(
            {"metadata": {"name": name}, **self._binding(ACCOUNT, "ClusterRole", name)}
        )
        self.given.append((name, name))

    def _account(self, name: str, namespace: str) -> None:
        meta = {"name": name, "namespace": namespace}
        self.kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})

    def _binding(self, account: str, kind: str, role: str) -> dict[str, Any]:
        return {
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
            "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": self.home}],
        }

    def _roles(self) -> Any:
        from kubernetes import client

        return client.RbacAuthorizationV1Api(client.ApiClient(self.kube.configuration))


_AWAY = {
    "tracking_uri": AWAY,
    "prometheus_url": AWAY,
    "alertmanager_url": AWAY,
}
"""Parts that do not answer: a page shows that, and everything else."""
