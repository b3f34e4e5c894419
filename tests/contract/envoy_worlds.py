"""Worlds around real Envoys: one gateway of one machine, or gateway pods behind real agents as in a cluster."""

from __future__ import annotations

import contextlib
import copy
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from contract.model_services import Clients, EventLoop, Service

from capstan.adapters.envoy import config as envoy_config
from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.fleet import EnvoyFleet
from capstan.adapters.envoy.gateway import EnvoyGateway
from capstan.adapters.processes.children import ProcessSupervisor, free_port
from capstan.domain.traffic import TrafficSplit
from capstan.domain.versions import VersionName
from capstan.errors import ConflictError
from capstan.ports.kube import Object
from capstan.ports.serving import Endpoint
from capstan.testing.ports.traffic import V1, V2
from capstan.testing.ports.waiting import eventually

V3 = VersionName("v3")
LABELS = {"app": "gateway"}
CONFIG_MAP = {"name": "flights-gateway", "namespace": "here"}
TOKEN = "a-secret"
HTTP = httpx.Client(trust_env=False, timeout=5.0)


class GatewayWorld(Clients):
    """Three services, a collector, and clients of whatever directs requests to them."""

    def __init__(self, loop: EventLoop, addresses: Callable[[], Sequence[str]]) -> None:
        super().__init__(loop, addresses)
        self.services = {name: Service(name, loop).start() for name in (V1, V2, V3)}
        self.collector = Service("collector", loop).start()

    def endpoints(self, *names: VersionName) -> dict[VersionName, Endpoint]:
        return {name: self.services[name].endpoint for name in names}

    def close(self) -> None:
        for service in (*self.services.values(), self.collector):
            service.stop()


class OneGatewayWorld(GatewayWorld):
    """One gateway, as on one machine; `keeps_request_ids`: as in a replay."""

    def __init__(self, folder: Path, loop: EventLoop, *, keeps_request_ids: bool = False) -> None:
        super().__init__(loop, lambda: [self.gateway.address])
        self.supervisor = ProcessSupervisor(folder / "processes", folder / "logs")
        settings = GatewaySettings(
            port=free_port(),
            collector=self.collector.endpoint,
            per_try_timeout_seconds=0.3,
            timeout_seconds=2.0,
            keeps_request_ids=keeps_request_ids,
        )
        self.folder = folder
        self.gateway = EnvoyGateway(self.supervisor, folder / "envoy", settings, ready_timeout_seconds=10.0)
        self.gateway.start()

    def apply(self, split: TrafficSplit) -> None:
        self.gateway.apply(split, self.endpoints(*split.versions))

    def close(self) -> None:
        self.supervisor.stop_all()
        super().close()


@dataclass
class Pod:
    """An agent with its Envoy on a loopback address of its own."""

    name: str
    address: str
    folder: Path
    config: Path
    ports: Mapping[str, int]
    process: subprocess.Popen[bytes] | None = None
    deleted: bool = False
    combiner: int = 0
    """Port of its combiner; 0: it has none."""

    def start(self, *, peers: str = "") -> Pod:
        self.folder.mkdir(parents=True, exist_ok=True)
        token_file = self.folder / "token"
        token_file.write_text(TOKEN + "\n")
        argv = [sys.executable, "-m", "capstan.gateway.agent", "--config", str(self.config)]
        argv += ["--folder", str(self.folder / "envoy"), "--token-file", str(token_file)]
        argv += ["--host", self.address, "--port", str(self.ports["gateway"])]
        argv += ["--agent-port", str(self.ports["agent"]), "--admin-port", str(free_port())]
        argv += ["--endpoints-seconds", "0.5", "--drain-seconds", "10", "--peers", peers]
        argv += ["--combiner-port", str(self.combiner)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(argv, stderr=log, stdout=log, start_new_session=True)
        return self

    @property
    def agent(self) -> str:
        return f"http://{self.address}:{self.ports['agent']}"

    def is_ready(self) -> bool:
        return self._says("/ready")

    def is_alive(self) -> bool:
        """Whether its Envoy answers."""
        return self._says("/live") and self.ask("/config_dump?resource=dynamic_route_configs").is_success

    def _says(self, path: str) -> bool:
        try:
            return HTTP.get(self.agent + path, timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def ask(self, path: str, token: str | None = TOKEN) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token is not None else {}
        return HTTP.get(self.agent + path, headers=headers)

    def split(self) -> TrafficSplit | None:
        dump = self.ask("/config_dump?resource=dynamic_route_configs").json()
        return envoy_config.split_of(dump["configs"][0]["route_config"])

    def kill(self) -> None:
        """As when its node is lost: no word to anybody."""
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def end(self) -> None:
        """Deleted: out of the endpoints, and asked to end."""
        self.deleted = True
        if self.process is not None:
            self.process.terminate()

    def listing(self) -> Object:
        metadata: Object = {"name": self.name, "labels": LABELS}
        if self.deleted:
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        ready = "True" if self.is_ready() else "False"
        conditions = [{"type": "Ready", "status": ready}]
        status = {"phase": "Running", "podIP": self.address, "conditions": conditions}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status}


@dataclass
class Cluster:
    """As much of an API server as the gateway needs: a ConfigMap that is mounted later or never, and pods."""

    pods: list[Pod] = field(default_factory=list)
    config_map: Object | None = None
    history: list[Object] = field(default_factory=list)

    def get(self, kind: str, name: str, namespace: str | None = None) -> Object | None:
        assert (kind, name, namespace) == ("ConfigMap", CONFIG_MAP["name"], CONFIG_MAP["namespace"])
        return copy.deepcopy(self.config_map)

    def list(
        self, kind: str, namespace: str | None = None, *, labels: Mapping[str, str] | None = None
    ) -> list[Object]:
        assert (kind, namespace, labels) == ("Pod", CONFIG_MAP["namespace"], LABELS)
        return [pod.listing() for pod in self.pods]

    def apply(self, document: Object, *, manager: str) -> Object:
        assert manager == "capstan-gateway"
        found = self.config_map["metadata"]["resourceVersion"] if self.config_map else None
        if document["metadata"].get("resourceVersion") != found:
            raise ConflictError("the object has been modified")
        self.config_map = copy.deepcopy(document)
        self.config_map["metadata"]["resourceVersion"] = str(len(self.history) + 1)
        self.history.append(self.config_map)
        return self.config_map

    def restore(self, copied: Object | None) -> None:
        """Somebody applies what they have kept of it."""
        assert copied is not None
        self.config_map = copy.deepcopy(copied)
        self.config_map["metadata"]["resourceVersion"] = str(len(self.history) + 1)
        self.history.append(self.config_map)

    def mount(self, folder: Path) -> None:
        """As the kubelet does: all keys at once, by a link."""
        version = str(time.monotonic_ns())
        data = folder / f"..{version}"
        data.mkdir(parents=True, exist_ok=True)
        for key, text in (self.config_map or {}).get("data", {}).items():
            (data / key).write_text(text)
            link = folder / key
            if not link.is_symlink():
                link.symlink_to(Path("..data") / key)
        fresh = folder / "..data_tmp"
        fresh.symlink_to(data.name)
        fresh.rename(folder / "..data")


class FleetWorld(GatewayWorld):
    """Two gateway pods as one gateway."""

    def __init__(self, folder: Path, loop: EventLoop) -> None:
        super().__init__(loop, lambda: [self.address_of(pod) for pod in self.cluster.pods if not pod.deleted])
        self.folder = folder
        self.ports = {"gateway": free_port(), "agent": free_port()}
        self.settings = GatewaySettings(
            collector=self.collector.endpoint, per_try_timeout_seconds=1.0, timeout_seconds=4.0
        )
        self.cluster = Cluster()
        self._added: list[Pod] = []
        for _ in range(2):
            self.add_pod()
        eventually(lambda: all(pod.is_ready() for pod in self.cluster.pods))
        self.fleet = self.operator()

    def operator(self) -> EnvoyFleet:
        return EnvoyFleet(
            self.cluster,  # type: ignore[arg-type]
            HTTP,
            config_map=dict(CONFIG_MAP),
            labels=LABELS,
            agent_port=self.ports["agent"],
            token=TOKEN,
            settings=self.settings,
            ready_timeout_seconds=5.0,
        )

    def add_pod(self, *, peers: str = "") -> Pod:
        number = len(self.cluster.pods)
        folder = self.folder / f"pod-{number}"
        self.cluster.mount(folder / "config")
        pod = Pod(f"gw-{number}", f"127.0.0.{number + 2}", folder, folder / "config", self.ports)
        self.cluster.pods.append(pod)
        self._added.append(pod)
        return pod.start(peers=peers)

    def address_of(self, pod: Pod) -> str:
        return f"http://{pod.address}:{self.ports['gateway']}"

    def apply(self, split: TrafficSplit) -> None:
        self.fleet.apply(split, self.endpoints(*split.versions))

    def clients_of(self, pod: Pod) -> Clients:
        return Clients(self.loop, lambda: [self.address_of(pod)])

    def close(self) -> None:
        # Those too that a test took out of the cluster: their agents and Envoys would go on after the tests.
        for pod in (*self._added, *self.cluster.pods):
            pod.kill()
        super().close()
