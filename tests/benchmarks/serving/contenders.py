"""Who is measured, and how each of them is brought up."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import httpx
import machine
import models
import orjson
from peers import environment

from capstan.adapters.bentoml.packager import BentoPackager
from capstan.adapters.bentoml.serving import BentoServing, ServiceOptions
from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.gateway import EnvoyGateway
from capstan.adapters.processes.children import ProcessSpec, ProcessSupervisor, free_port
from capstan.domain.traffic import Arm, Mirror, TrafficSplit, Weight
from capstan.domain.versions import ModelVersion, RunName, SystemName, VersionName

HERE = Path(__file__).resolve().parent
HOST = "127.0.0.1"
SYSTEM = SystemName(models.SYSTEM)
START_SECONDS = 180.0
PREDICT, INFER = "/predict", f"/v2/models/{models.SYSTEM}/infer"


@dataclass(frozen=True)
class Running:
    """What can be loaded now."""

    port: int
    path: str
    body: Callable[[int], bytes]
    """Of so many rows."""
    processes: tuple[str, ...]
    """Whose processor time is counted; the model's server first."""
    logging: tuple[str, ...] = ()
    """Those of them whose payload logs must be drained."""
    split: TrafficSplit | None = None
    """None: not behind the gateway."""


class Fleet:
    """All servers on this machine; each is started when the first contender needs it, and stays."""

    def __init__(self, root: Path, processors: machine.Processors) -> None:
        self.root = root
        self.processors = processors
        self.supervisor = ProcessSupervisor(root / "run", root / "logs")
        self._packager = BentoPackager(root / "bentos")
        self._bentos: dict[bool, ModelVersion] = {}
        self._folders: dict[bool, Path] = {}

    def mlserver(self, name: str, settings: Mapping[str, object]) -> Running:
        ports = {kind: free_port() for kind in ("http_port", "grpc_port", "metrics_port")}
        known = {"debug": False, "host": HOST, **ports, **settings}
        folder = models.mlserver_folder(self.root / name, self._pipeline, known)
        program = environment("mlserver") / "mlserver"
        ready = f"/v2/models/{models.SYSTEM}/ready"
        self._serve(name, (str(program), "start", str(folder)), ports["http_port"], ready, cwd=folder)
        return Running(ports["http_port"], INFER, models.matrix, (name,))

    def mlflow(self) -> Running:
        bin_folder, port = environment("mlflow"), free_port()
        folder = models.mlflow_folder(self.root / "mlflow", self._pipeline, bin_folder / "python")
        command = (str(bin_folder / "mlflow"), "models", "serve", "--env-manager", "local")
        options = ("--model-uri", str(folder), "--host", HOST, "--port", str(port))
        # It starts `uvicorn` from PATH.
        path = {"PATH": f"{bin_folder}:/usr/bin:/bin"}
        self._serve("mlflow", (*command, *options), port, "/ping", path)
        return Running(port, "/invocations", models.inputs, ("mlflow",))

    def plain_bento(self) -> Running:
        port = free_port()
        program = environment("bentoml") / "bentoml"
        command = (str(program), "serve", "plain_bento:Plain", "--host", HOST, "--port", str(port))
        known = {"MODEL": str(self._pipeline), "BENTOML_HOME": str(self.root / "plain_home")}
        self._serve(
            "bentoml", command, port, "/readyz", known | {"BENTOML_DO_NOT_TRACK": "True"}, working_folder()
        )
        return Running(port, PREDICT, models.lists, ("bentoml",))

    def bare(self, name: str, *, trees: bool) -> Running:
        port = free_port()
        options = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning")
        command = (sys.executable, "-m", "uvicorn", "bare:app", "--host", HOST, "--port", str(port), *options)
        known = {"MODEL": str(self._folder(trees=trees))}
        self._serve(name, command, port, "/ready", known, working_folder())
        return Running(port, PREDICT, models.native, (name,))

    def capstan(self, *, trees: bool = False, logs: bool, v2: bool = False) -> Running:
        name = f"capstan{'-trees' if trees else ''}{'-log' if logs else ''}"
        port = self._version(name, trees=trees, logs=logs, processor=self.processors.server)
        path, body = (INFER, models.tensors) if v2 else (PREDICT, models.native)
        processes = (name, "collector") if logs else (name,)
        return Running(port, path, body, processes, (name,) if logs else ())

    def behind_envoy(self, *, mirror: bool) -> Running:
        """The version with its log on; a mirrored one gets a copy of every request on another core."""
        champion, copy = VersionName("capstan-log"), VersionName("capstan-mirrored")
        self._version(champion, trees=False, logs=True, processor=self.processors.server)
        processes, mirrors = [champion, "envoy", "collector"], ()
        if mirror:
            self._version(copy, trees=False, logs=True, processor=self.processors.mirror)
            processes.append(copy)
            mirrors = (Mirror(copy, Weight(100)),)
        split = TrafficSplit((Arm(champion, Weight(100)),), mirrors)
        logging = (champion, copy) if mirror else (champion,)
        return Running(self._gateway.settings.port, PREDICT, models.native, tuple(processes), logging, split)

    def route(self, split: TrafficSplit) -> None:
        """Make the gateway obey it; returns when it does."""
        endpoints = {name: self._serving[True].endpoint(name) for name in split.versions}
        self._gateway.apply(
            split, {name: endpoint for name, endpoint in endpoints.items() if endpoint is not None}
        )

    def pids(self, names: tuple[str, ...]) -> dict[str, int]:
        """Of those that run; raises UnavailableError with the log of one that does not."""
        for name in names:
            self.supervisor.wait_healthy(name, 30.0)
        status = self.supervisor.status()
        return {name: pid for name in names if (pid := status[name].pid) is not None}

    def drained(self, names: tuple[str, ...]) -> None:
        """Wait until the collector has what these versions logged."""
        for name in names:
            self._serving[True].drain(VersionName(name))

    def lost(self, names: tuple[str, ...]) -> int:
        """Payloads that these versions counted as lost so far."""
        return sum(self._lost(self.supervisor.port(name)) for name in names)

    @staticmethod
    def _lost(port: int) -> int:
        told = httpx.get(f"http://{HOST}:{port}/metrics", timeout=10, trust_env=False).text
        counts = [line for line in told.splitlines() if line.startswith("capstan_payloads_lost_total{")]
        return sum(int(float(line.rpartition(" ")[2])) for line in counts)

    def _serve(
        self,
        name: str,
        argv: tuple[str, ...],
        port: int,
        ready: str,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        url = f"http://{HOST}:{port}{ready}"
        known = {**machine.ONE_THREAD, **(env or {})}
        with self.processors.on(self.processors.server):
            self.supervisor.ensure(ProcessSpec(name, argv, known, cwd or self.root, url, restart=None))
        self.supervisor.wait_healthy(name, START_SECONDS)

    def _version(self, name: str, *, trees: bool, logs: bool, processor: int) -> int:
        serving = self._serving[logs]
        if name not in self.supervisor.status():
            if trees not in self._bentos:
                tag, digest = self._packager.package(SYSTEM, self._folder(trees=trees))
                self._bentos[trees] = ModelVersion(
                    VersionName(name), digest, RunName("bench"), tag, datetime(2013, 2, 1, tzinfo=UTC)
                )
            version = replace(self._bentos[trees], name=VersionName(name))
            with self.processors.on(processor):
                serving.deploy(version)
            self.supervisor.wait_healthy(name, START_SECONDS)
        return self.supervisor.port(name)

    def _folder(self, *, trees: bool) -> Path:
        if trees not in self._folders:
            self._folders[trees] = models.capstan_folder(self.root / f"model-{trees}", trees=trees)
        return self._folders[trees]

    @cached_property
    def _pipeline(self) -> Path:
        return models.plain_pipeline(self.root / "pipeline.joblib")

    @cached_property
    def _serving(self) -> dict[bool, BentoServing]:
        """By whether payloads are logged."""
        silent = ServiceOptions(SYSTEM, self.root / "bentos")
        logged = ServiceOptions(SYSTEM, self.root / "bentos", self._collector, self.root / "internal")
        return {
            logs: BentoServing(self.supervisor, self._packager, options)
            for logs, options in ((False, silent), (True, logged))
        }

    @cached_property
    def _collector(self) -> str:
        """The product's own, as it runs beside the versions on one machine."""
        port, tokens = free_port(), {}
        for name in ("internal", "feedback"):
            (self.root / name).write_text("bench")
            tokens[name] = str(self.root / name)
        (self.root / "systems" / SYSTEM).mkdir(parents=True)
        config = self.root / "collector.json"
        settings = {"port": port, "directory": str(self.root / "collector"), "tokens": tokens}
        config.write_bytes(orjson.dumps({**settings, "systems": str(self.root / "systems")}))
        argv = (sys.executable, "-m", "capstan.recording.collector.server", "--config", str(config))
        address = f"http://{HOST}:{port}"
        with self.processors.on(self.processors.client):
            self.supervisor.ensure(
                ProcessSpec("collector", argv, machine.ONE_THREAD, None, f"{address}/healthz")
            )
        self.supervisor.wait_healthy("collector", START_SECONDS)
        return address

    @cached_property
    def _gateway(self) -> EnvoyGateway:
        gateway = EnvoyGateway(self.supervisor, self.root / "envoy", GatewaySettings(port=free_port()))
        with self.processors.on(self.processors.client):
            gateway.start()
        return gateway


def working_folder() -> Path:
    """Where the modules of the bare handler and the plain Bento are."""
    return HERE


@dataclass(frozen=True)
class Contender:
    """One row of the table."""

    name: str
    label: str
    start: Callable[[Fleet], Running]
    limit: str = "bare"
    """The bare handler of the same model."""


CONTENDERS = (
    Contender(
        "mlserver",
        "MLServer, parallel_workers=0",
        lambda fleet: fleet.mlserver("mlserver", {"parallel_workers": 0}),
    ),
    Contender(
        "mlserver-default", "MLServer as it comes", lambda fleet: fleet.mlserver("mlserver-default", {})
    ),
    Contender("mlflow", "mlflow models serve", Fleet.mlflow),
    Contender("bentoml", "plain BentoML service", Fleet.plain_bento),
    Contender("bare", "bare uvicorn + orjson", lambda fleet: fleet.bare("bare", trees=False)),
    Contender("native", "Capstan", lambda fleet: fleet.capstan(logs=False)),
    Contender("native-log", "Capstan, payload log", lambda fleet: fleet.capstan(logs=True)),
    Contender("v2", "Capstan V2", lambda fleet: fleet.capstan(logs=False, v2=True)),
    Contender("v2-log", "Capstan V2, payload log", lambda fleet: fleet.capstan(logs=True, v2=True)),
    Contender("envoy", "… native, log, behind Envoy", lambda fleet: fleet.behind_envoy(mirror=False)),
    Contender("mirror", "… and mirrored to a 2nd version", lambda fleet: fleet.behind_envoy(mirror=True)),
    Contender("bare-trees", "trees: bare", lambda fleet: fleet.bare("bare-trees", trees=True), "bare-trees"),
    Contender("trees", "trees: Capstan", lambda fleet: fleet.capstan(trees=True, logs=False), "bare-trees"),
    Contender(
        "trees-log",
        "trees: Capstan, payload log",
        lambda fleet: fleet.capstan(trees=True, logs=True),
        "bare-trees",
    ),
)
