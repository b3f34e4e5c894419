"""Envoy as a process of this machine: started, adopted, asked by its admin port."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import orjson

from capstan.adapters.envoy import bootstrap as envoy_bootstrap
from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.host import PART, EnvoyFiles, LocalEnvoy
from capstan.adapters.processes import programs as tools
from capstan.adapters.processes import table as process_table
from capstan.adapters.processes.children import ProcessSpec, ProcessSupervisor, require_free
from capstan.errors import UnavailableError
from capstan.files import write_whole
from capstan.outages import in_words

PROCESS = "envoy"


class EnvoyServer:
    """Runs Envoy with two files that it watches; whoever writes them moves traffic."""

    def __init__(self, supervisor: ProcessSupervisor, folder: Path, settings: GatewaySettings) -> None:
        self._supervisor = supervisor
        self.settings = replace(
            settings, admin_port=settings.admin_port or supervisor.port(f"{PROCESS}-admin")
        )
        self.files = EnvoyFiles(folder.resolve())
        self._admin = httpx.Client(base_url=self.admin_address, timeout=5.0, trust_env=False)
        log = supervisor.log_dir / f"{PROCESS}.log"
        self.host = LocalEnvoy(self.files, self.ask, self.boot, str(log))

    @property
    def address(self) -> str:
        """Where clients send requests."""
        return f"http://{self.settings.host}:{self.settings.port}"

    @property
    def admin_address(self) -> str:
        """Where Prometheus finds `/stats/prometheus`."""
        return f"http://127.0.0.1:{self.settings.admin_port}"

    def start(self) -> None:
        """Run it, or adopt a running one with the same settings; returns when it listens. Both files must be there.

        Raises PortInUseError, MissingToolError, UnavailableError with the end of its log.
        """
        content = orjson.dumps(
            envoy_bootstrap.bootstrap(self.settings, self.files.clusters, self.files.routes),
            option=orjson.OPT_INDENT_2,
        )
        write_whole(self.files.bootstrap, content)
        options = [
            "--disable-hot-restart",
            "--log-level",
            "warning",
            "--concurrency",
            str(self.settings.concurrency),
        ]
        spec = ProcessSpec(
            name=PROCESS,
            argv=(str(tools.find("envoy")), "-c", str(self.files.bootstrap), *options),
            env={"CAPSTAN_CONFIG": hashlib.sha256(content).hexdigest()},
            health_url=f"{self.admin_address}/ready",
            grace_seconds=8.0,
        )
        if PROCESS not in self._supervisor.adopt():
            require_free(self.settings.port, "--gateway-port", self.settings.host)
        self._supervisor.ensure(spec)
        self._supervisor.wait_healthy(PROCESS, 30.0)

    def stop(self) -> None:
        self._supervisor.stop(PROCESS)

    def boot(self) -> str:
        """Name of the present life of its process; raises UnavailableError."""
        status = self._supervisor.status().get(PROCESS)
        if status is None or status.pid is None:
            raise UnavailableError(PART, "its process does not run")
        return f"{status.pid} {process_table.born(status.pid)}"

    def ask(self, path: str, **query: str) -> Any:
        """What the admin port answers, parsed; raises UnavailableError."""
        try:
            answer = self._admin.get(path, params=query)
            answer.raise_for_status()
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise UnavailableError(PART, in_words(error, PART)) from error
