"""Runs each model version as one BentoML process on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from capstan.adapters.processes.children import ProcessPhase, ProcessSpec, ProcessSupervisor
from capstan.adapters.processes.draining import is_drained
from capstan.domain.versions import ModelVersion, Readiness, SystemName, VersionName
from capstan.ports.packager import Packager
from capstan.ports.serving import Endpoint

HOST = "127.0.0.1"
GRACE_SECONDS = 12.0
"""Seconds of 5 for requests to end, and 5 for the payload log to be flushed."""
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
_READINESS = {
    ProcessPhase.STARTING: Readiness.STARTING,
    ProcessPhase.RUNNING: Readiness.READY,
    ProcessPhase.BACKING_OFF: Readiness.CRASHED,
    ProcessPhase.GAVE_UP: Readiness.CRASHED,
    ProcessPhase.EXITED: Readiness.CRASHED,
    ProcessPhase.STOPPED: Readiness.ABSENT,
}


@dataclass(frozen=True)
class ServiceOptions:
    """What all versions of a system share."""

    system: SystemName
    home: Path
    """Value of BENTOML_HOME."""
    collector_url: str | None = None
    """Address of the collector; None: payloads are not logged."""
    token_file: Path | None = None
    events_file: Path | None = None
    """Where events are looked up; None: nowhere."""
    events_servers: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Table -> name and key of the secret with the address of the server that has it in place of the file."""
    event_time_header: bool = False
    """Whether requests state their event time, as they do in a replay."""
    secrets: Path | None = None
    """Folder with a file NAME/KEY for each secret."""


class BentoServing:
    """Serving port over a ProcessSupervisor; somebody else must call the supervisor's `tick`."""

    def __init__(self, supervisor: ProcessSupervisor, packager: Packager, options: ServiceOptions) -> None:
        self._supervisor = supervisor
        self._packager = packager
        self._options = options
        self._deployed: dict[VersionName, ProcessSpec] = {}

    def deploy(self, version: ModelVersion) -> None:
        """Bring it up, or leave it alone if it is; returns at once, readiness is observed.

        Raises UntrustedArtifactError or NotFoundError before anything is started; what already runs goes on.
        """
        spec = self._spec(version)
        known = self._deployed.get(version.name) == spec and version.name in self._supervisor.status()
        if not known and version.name not in self._supervisor.adopt():
            # A process proves its digest at each of its starts, so one that runs or is found again has proved it.
            self._packager.verify(version.bento_tag, version.digest)
        self._supervisor.ensure(spec)
        self._deployed[version.name] = spec

    def retire(self, name: VersionName) -> None:
        """Stop it gracefully, its payload log flushed; no error if it is not there."""
        self._deployed.pop(name, None)
        self._supervisor.stop(name)

    def readiness(self) -> Mapping[VersionName, Readiness]:
        """Every version that runs or should run, as of the supervisor's last tick."""
        status = self._supervisor.status()
        return {
            name: _READINESS[status[name].phase] if name in status else Readiness.ABSENT
            for name in self._deployed
        }

    def endpoint(self, name: VersionName) -> Endpoint | None:
        """Where it listens, also before it is ready."""
        return Endpoint(HOST, self._supervisor.port(name)) if name in self._deployed else None

    def drain(self, name: VersionName) -> bool:
        """Wait until the collector has all payloads of the version; False if it can't be had now."""
        endpoint = self.endpoint(name)
        return endpoint is not None and is_drained(endpoint)

    def _spec(self, version: ModelVersion) -> ProcessSpec:
        options = self._options
        port = self._supervisor.port(version.name)
        bento = options.home / "bentos" / version.bento_tag.replace(":", "/", 1)
        environment = {
            "BENTOML_HOME": str(options.home),
            "BENTOML_DO_NOT_TRACK": "True",
            "CAPSTAN_SYSTEM": options.system,
            "CAPSTAN_VERSION": version.name,
            "CAPSTAN_DIGEST": version.digest,
            # Two arenas instead of eight per core: 20-40 MB less for the same speed, one thread does the work.
            "MALLOC_ARENA_MAX": "2",
            **_ONE_THREAD,
        }
        if options.collector_url is not None:
            environment["CAPSTAN_COLLECTOR_URL"] = options.collector_url
        if options.token_file is not None:
            environment["CAPSTAN_INTERNAL_TOKEN_FILE"] = str(options.token_file)
        if options.events_file is not None:
            environment["CAPSTAN_EVENTS_FILE"] = str(options.events_file)
        if options.events_servers:
            environment["CAPSTAN_EVENTS_SERVERS"] = json.dumps(options.events_servers, sort_keys=True)
        if options.secrets is not None:
            environment["CAPSTAN_SECRETS"] = str(options.secrets)
        if options.event_time_header:
            environment["CAPSTAN_EVENT_TIME_HEADER"] = "1"
        return ProcessSpec(
            name=version.name,
            argv=(
                sys.executable,
                "-m",
                "capstan.serving.start",
                str(bento),
                "--host",
                HOST,
                "--port",
                str(port),
            ),
            env=environment,
            health_url=f"http://{HOST}:{port}/readyz",
            grace_seconds=GRACE_SECONDS,
        )
