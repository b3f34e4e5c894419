"""Runs the systems of one machine side by side: what they share once, and each system's loop in a thread of its own."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path

from capstan.adapters.processes.ports_in_use import require_free
from capstan.adapters.processes.table import end_leftovers, holds, living_processes
from capstan.dashboard.systems import system_path
from capstan.domain.versions import SystemName
from capstan.embedded.host.members import Member, forget, members, note, require_own_path
from capstan.embedded.host.page import HostPage
from capstan.embedded.host.wiring import wire_host
from capstan.embedded.layout import StateDir
from capstan.embedded.live import (
    Audience,
    Live,
    clean_up,
    clean_up_left,
    end_elsewhere,
    passes_by_itself,
    stored_file,
)
from capstan.embedded.mending import Mending
from capstan.embedded.refusals import require_one_machine
from capstan.embedded.shared_parts import SharedParts
from capstan.embedded.supervisor import TARGETS
from capstan.embedded.wiring import HOST, Addresses, LocalSystem
from capstan.engine.policies import system_policy
from capstan.errors import AlreadyRunningError, CapstanError
from capstan.ports.store import Event
from capstan.spec import MLSystem

PAUSE_SECONDS = 0.5
"""Seconds between two looks at which systems are wanted, and at the shared processes."""
FIRST_BACKOFF_SECONDS = 2.0
LONGEST_BACKOFF_SECONDS = 60.0
"""Seconds before a loop that ended by an error of its own is started again: the first, doubled up to the longest."""


class HostRunsError(AlreadyRunningError):
    """Another process has become the host of this gateway meanwhile; what was to be run can join it."""


@dataclass
class Told:
    """What one system says, with its name before it while it is not alone."""

    audience: Audience
    system: str
    is_alone: Callable[[], bool]

    def say(self, text: str) -> None:
        self.audience.say(text if self.is_alone() else f"{self.system}: {text}")

    def tell(self, event: Event) -> None:
        self.audience.tell(event)


@dataclass
class Running:
    """One member's thread."""

    member: Member
    stopping: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    was_up: bool = False
    error: Exception | None = None
    """Why it ended for good; None: it was stopped or deleted."""


@dataclass
class Host:
    """One host's life: from its lock to the last stopped process."""

    folder: StateDir
    audience: Audience
    addresses: Addresses
    stop: Callable[[], bool]
    on_up: Callable[[LocalSystem], None]
    """Called for each system when all its processes answer, before a first model is trained."""
    on_serving: Callable[[LocalSystem], None]
    """Called for each system when a champion answers all requests."""
    mending: Callable[[Member], Mending | None]
    """Who waits after a first training that failed; None: it ends the system."""
    _running: dict[str, Running] = field(default_factory=dict)
    _started: set[str] = field(default_factory=set)
    """Systems that had a thread, whether or not it still runs."""
    _last: Exception | None = None
    """Why the last of all ended; None: nothing is wrong."""

    def run(self, system: MLSystem, file: Path, state: StateDir) -> None:
        """Run the system, those that join, and those that a killed host left; until stopped or until none is left.

        Raises what `Live.run` raises of the only system there is; of one among several it is told. PortInUseError,
        MissingToolError, UnavailableError where the shared parts do not start. HostRunsError where another process is
        the host of this gateway. InvalidSpecError for a name that is a path of the gateway, where it would not be the
        first.
        """
        system_policy(system)
        require_one_machine(system)
        self.folder.prepare_host()
        with ExitStack() as lock:
            try:
                lock.enter_context(self.folder.exclusively())
            except AlreadyRunningError as error:
                raise HostRunsError(str(error)) from error
            require_free(self.addresses.page_port, "--page-port", HOST)
            if not holds(self.folder.processes, self.addresses.gateway_port):
                require_free(self.addresses.gateway_port, "--gateway-port", HOST)
            end_elsewhere(state, self.folder)
            before = members(self.folder)
            left = self._still_wanted(before, system.metadata.name, state)
            known = next((one for one in left if one.system == system.metadata.name), None)
            has_first = any(one.is_first for one in left)
            is_first = known.is_first if known is not None else not has_first
            if not has_first and any(one.is_first for one in before):
                # Nobody asks the one that had the bare address any more.
                is_first = True
            if not is_first:
                require_own_path(system.metadata.name)
            founder = Member(system.metadata.name, state, file.resolve(), is_first)
            note(self.folder, founder)
            try:
                self._run_all(founder, system)
            finally:
                # Whom a killed host left and this one never started, the next `up` brings back.
                kept = {one.system for one in left} - self._started
                for member in members(self.folder):
                    if member.system not in kept:
                        forget(self.folder, member.system)

    def _still_wanted(self, before: list[Member], name: str, state: StateDir) -> list[Member]:
        """What a killed host left, without systems whose folder was deleted and dead namesakes of other folders.

        Raises AlreadyRunningError where processes of a namesake live.
        """
        left = []
        for member in before:
            if not member.state.store.exists():
                end_leftovers(member.state.processes.resolve(), None)
                forget(self.folder, member.system)
            elif member.system != name or member.state.root == state.root:
                left.append(member)
            elif living_processes(member.state.processes.resolve()):
                raise AlreadyRunningError(
                    f"metadata.name: a killed host left a system {name!r} of {member.state.root}, and its processes "
                    f"live; `capstan down --state {member.state.root}` ends it"
                )
            else:
                forget(self.folder, member.system)
        return left

    def _run_all(self, founder: Member, system: MLSystem) -> None:
        wanted = members(self.folder)
        first = next((member.system for member in wanted if member.is_first), None)
        shared = wire_host(self.folder, self.addresses, root=first)
        page: HostPage | None = None
        try:
            page = HostPage(shared, self.addresses, first=first)
            self.audience.say("starting the gateway, Prometheus and Alertmanager")
            shared.envoy.start(keep=[member.system for member in wanted])
            shared.alertmanager.start()
            shared.prometheus.keep([member.system for member in wanted])
            shared.prometheus.start()
            self._start(founder, shared, page, system)
            while not self.stop():
                self._watch(shared)
                if not self._follow(shared, page):
                    break
                time.sleep(PAUSE_SECONDS)
        finally:
            self._end_all(shared)
            if page is not None:
                page.close()
        if self._last is not None:
            raise self._last

    def _follow(self, shared: SharedParts, page: HostPage) -> bool:
        """Start who has joined, end who is to leave; False when nobody is left."""
        wanted = {member.system: member for member in members(self.folder)}
        for name, running in list(self._running.items()):
            if name not in wanted:
                running.stopping.set()
            if running.thread is not None and not running.thread.is_alive():
                running.thread.join()
                self._reap(running, page)
                if not running.stopping.is_set():
                    # It ended by itself. One that was taken away may have joined again meanwhile.
                    forget(self.folder, name)
                    wanted.pop(name, None)
        for name, member in wanted.items():
            if name not in self._running:
                self._start(member, shared, page)
        return bool(self._running)

    def _reap(self, running: Running, page: HostPage) -> None:
        name = running.member.system
        page.forget(name)
        if running.error is not None and len(self._running) == 1:
            # Nobody else is here: it is the host's own error.
            self._last = running.error
        elif running.error is not None:
            self.audience.say(f"{name}: it does not run any more, the others go on: {running.error}")
        del self._running[name]

    def _start(
        self, member: Member, shared: SharedParts, page: HostPage, system: MLSystem | None = None
    ) -> None:
        running = self._running[member.system] = Running(member)
        self._started.add(member.system)
        arguments = (running, shared, page, system)
        running.thread = threading.Thread(target=self._keep, args=arguments, name=member.system, daemon=True)
        running.thread.start()

    def _keep(self, running: Running, shared: SharedParts, page: HostPage, system: MLSystem | None) -> None:
        """One system's loop, started again when it ends by an error that is no answer to the file."""
        backoff = FIRST_BACKOFF_SECONDS
        while not running.stopping.is_set():
            began = time.monotonic()
            try:
                self._live(running, shared, page).run(system or _stored(running.member))
                return
            except Exception as error:
                if not running.was_up or not passes_by_itself(error):
                    running.error = error
                    return
                if time.monotonic() - began > LONGEST_BACKOFF_SECONDS:
                    backoff = FIRST_BACKOFF_SECONDS
                if isinstance(error, CapstanError):
                    why, trace = str(error), ""
                else:
                    why, trace = f"{type(error).__name__}: {error}", f"\n{traceback.format_exc()}"
                if not running.stopping.is_set():
                    self.audience.say(
                        f"{running.member.system}: its loop ended by {why}; it is started again in {backoff:g} s{trace}"
                    )
                # What it was started with may have been changed since.
                system = None
                if running.stopping.wait(backoff):
                    self._end_broken(running, shared)
                backoff = min(2 * backoff, LONGEST_BACKOFF_SECONDS)

    def _end_broken(self, running: Running, shared: SharedParts) -> None:
        """End what answered while no loop ran."""
        if shared.is_ending:
            shared.end_requests()
        else:
            shared.envoy.leave(running.member.system)
            with suppress(CapstanError):
                shared.prometheus.forget(running.member.system, TARGETS)
        clean_up(running.member.state)

    def _live(self, running: Running, shared: SharedParts, page: HostPage) -> Live:
        member = running.member
        addresses = Addresses(
            self.addresses.page_port,
            self.addresses.gateway_port,
            page_path="" if member.is_first else system_path(member.system),
            gateway_path="" if member.is_first else f"/{member.system}",
        )

        def on_up(local: LocalSystem) -> None:
            running.was_up = True
            self.on_up(local)

        return Live(
            member.state,
            Told(self.audience, member.system, lambda: len(self._running) == 1),
            addresses,
            page.show,
            running.stopping.is_set,
            on_up,
            self.on_serving,
            is_up=running.was_up,
            mending=self.mending(member),
            goes_on_when_broken=lambda: running.was_up,
            shared=shared,
        )

    def _watch(self, shared: SharedParts) -> None:
        for event in shared.processes.tick():
            for name, tell in list(shared.on_event.items()):
                try:
                    tell(event)
                except Exception as error:
                    # One system's store may be away or just be closed; the others hear of it all the same.
                    self.audience.say(f"{name}: its story lacks that {event.message}: {error}")

    def _end_all(self, shared: SharedParts) -> None:
        shared.is_ending = True
        for running in self._running.values():
            running.stopping.set()
        for running in self._running.values():
            if running.thread is not None:
                running.thread.join()
            if running.error is not None:
                self._last = running.error
        shared.processes.stop_all()
        for member in members(self.folder):
            if member.system not in self._started:
                # A killed host left it, and this one did not come so far as to run it.
                with suppress(CapstanError):
                    clean_up_left(member.state)


def _stored(member: Member) -> MLSystem:
    return stored_file(member.state, SystemName(member.system), member.file.parent)
