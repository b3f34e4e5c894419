"""A whole system brought up in this process, with real parts, whose event time the test moves."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import httpx
import psutil
from embedded.scenario import merged

from capstan.adapters.processes.ports_in_use import free_port
from capstan.artifacts.content import MODEL_FOLDER
from capstan.domain.rollout import RolloutState
from capstan.domain.system import SystemState
from capstan.domain.versions import ModelVersion, RunName, SystemName, VersionName
from capstan.embedded.clocks import ReplayClock
from capstan.embedded.layout import StateDir
from capstan.embedded.page import serve_page
from capstan.embedded.replay.client import Answered, GatewayClient
from capstan.embedded.replay.fixed_durations import FixedDurations
from capstan.embedded.replay.reactions import Reactions
from capstan.embedded.replay.replaying import Journal, Replay
from capstan.embedded.replay.whole_replay import read_traffic, scope_of
from capstan.embedded.supervisor import Supervisor
from capstan.embedded.wiring import Addresses, spec_document, wire
from capstan.engine import commands
from capstan.engine.records import rollout_state, system_state
from capstan.ports.store import Event, Kind
from capstan.spec import load


def processes_about(folder: Path) -> list[psutil.Process]:
    """Every living process whose command, folder or environment names the folder; this one not counted."""
    found = []
    for process in psutil.process_iter():
        try:
            words = [*process.cmdline(), process.cwd(), *process.environ().values()]
            named = process.pid != os.getpid() and any(str(folder) in word for word in words)
            if named and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def left_behind(folder: Path, seconds: float = 5.0) -> list[psutil.Process]:
    """Those that still live after a moment: a helper of the standard library ends just after its parent."""
    deadline = time.monotonic() + seconds
    while (found := processes_about(folder)) and time.monotonic() < deadline:
        time.sleep(0.1)
    return found


class Running:
    """One system; `days` sends what was recorded and moves its clock."""

    def __init__(self, file: Path, state: StateDir, *, share: float | None = None) -> None:
        self.system = load(file)
        self.name = SystemName(self.system.metadata.name)
        self.scope = scope_of(self.system, share=share)
        self.clock = ReplayClock(self.scope.start)
        self.charges = FixedDurations()
        self.state = state
        addresses = Addresses(page_port=free_port(), gateway_port=free_port())
        self.local = wire(self.system, state, addresses=addresses, clock=self.clock, charges=self.charges)
        self.supervisor = Supervisor(self.local)
        self.client = GatewayClient(addresses.gateway, connections=4)
        self.traffic = read_traffic(self.system, self.scope, state.secrets)
        self.journal = Journal(position=self.scope.start)
        self.reactions = (
            Reactions(self.system, self.traffic, state.system(self.name))
            if self.scope.spec.events is not None
            else None
        )
        self._close_page: Callable[[], None] = lambda: None

    def start(self) -> None:
        self._close_page = serve_page(self.local, on_alert=self.supervisor.hint)
        self.supervisor.start()
        with self.charges.suspended():
            self.supervisor.bring_up()

    def stop(self) -> None:
        self.client.close()
        if self.reactions is not None:
            self.reactions.close()
        self.supervisor.stop()
        self._close_page()
        self.local.close()

    def days(self, number: float, *, until: Callable[[], bool] = lambda: False) -> Answered:
        """Send the next days' requests, hand in their labels, decide what follows; what came of the requests.

        Ends early at the first boundary at which `until` is true.
        """
        self.journal.answered = Answered()
        ended = [False]

        def look(_: Journal) -> None:
            ended[0] = until()

        return Replay(
            self.traffic,
            client=self.client,
            clock=self.clock,
            charges=self.charges,
            settling=self.supervisor,
            journal=self.journal,
            journal_path=self.state.journal,
            end=self.journal.position + timedelta(days=number),
            tick=self.scope.spec.tick,
            zone=ZoneInfo(self.system.spec.data.time_zone),
            stop=lambda: ended[0],
            progress=look,
            reactions=self.reactions,
        ).run()

    def days_until(self, condition: Callable[[], bool], *, at_most: int) -> Answered:
        """Go on until it is true; fails with the story if it does not come true."""
        answered = self.days(at_most, until=condition)
        assert condition(), "\n".join(self.story())
        return answered

    def connect(self, connections: int) -> None:
        """From now on requests come over so many connections at once."""
        self.client.close()
        self.client = GatewayClient(self.local.addresses.gateway, connections=connections)

    def send_share(self, share: float) -> None:
        """From now on so many of the recorded requests are sent."""
        self.traffic = read_traffic(self.system, scope_of(self.system, share=share), self.state.secrets)

    # -- what is there

    @property
    def state_now(self) -> SystemState:
        record = self.local.store.get(Kind.SYSTEM, self.name)
        assert record is not None
        return system_state(record)

    @property
    def champion(self) -> ModelVersion:
        champion = self.state_now.champion
        assert champion is not None
        return champion

    @property
    def rollout(self) -> RolloutState | None:
        request = self.state_now.rollout
        record = self.local.store.get(Kind.ROLLOUT, request.name) if request else None
        return rollout_state(record) if record else None

    def events(self, *, after: int = 0) -> list[Event]:
        return [event for _, event in self.local.store.events(self.name, after=after)]

    @property
    def last_event(self) -> int:
        return max((number for number, _ in self.local.store.events(self.name)), default=0)

    def story(self) -> list[str]:
        return [f"{event.at:%m-%d %H:%M} {event.reason} {event.message}" for event in self.events()]

    def model_of(self, version: ModelVersion) -> Path:
        return self.local.packager.verify(version.bento_tag, version.digest) / MODEL_FOLDER

    def pid(self, process: str) -> int:
        pid = self.local.processes.status()[process].pid
        assert pid is not None
        return pid

    # -- what people do

    def edit(self, change: Mapping[str, Any]) -> None:
        """Change the file of the running system."""
        record = self.local.store.get(Kind.SYSTEM, self.name)
        assert record is not None
        spec = merged(spec_document(self.system), {"spec": change})
        self.local.store.put(replace(record, spec=spec, generation=record.generation + 1))

    def inject(self, model_dir: Path, run: str) -> VersionName:
        """Package and register a hand-made model past every gate, and ask for its rollout."""
        tag, digest = self.local.packager.package(self.name, model_dir)
        made = ModelVersion(VersionName(""), digest, RunName(run), tag, self.champion.as_of)
        version = self.local.registry.register(made, tags={}, metrics={}).name
        commands.issue(self.local.store, self.name, "promote", version=version)
        return version

    def ask(self, row: int = 0, **headers: str) -> httpx.Response:
        """One prediction, as a user asks for it."""
        moment = datetime.isoformat(self.clock.now())
        return httpx.post(
            f"{self.local.addresses.gateway}/predict",
            content=self.traffic.bodies[row],
            headers={"content-type": "application/json", "x-capstan-event-time": moment, **headers},
            timeout=6,
            trust_env=False,
        )

    def eventually(self, condition: Callable[[], bool], seconds: float = 60.0, what: str = "") -> None:
        """Tick as the live loop does, until it is true."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, what or "it did not come true"
            self.supervisor.look()
            time.sleep(0.05)
