"""Runs a system live: brings it up, keeps it what its file says, follows a changed file, takes it down."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import orjson

from capstan.adapters.kubeflow.local import interrupt_runs
from capstan.adapters.processes.table import end_leftovers
from capstan.domain.step_news import ToldStep, news_of, step_in_words
from capstan.domain.versions import RunName, SystemName
from capstan.embedded.clocks import WallClock
from capstan.embedded.event_loading import EventLoading
from capstan.embedded.first_model import is_serving, is_stuck, serve_trained, try_again, why_it_failed
from capstan.embedded.history import require_deadlines
from capstan.embedded.host.members import forget, host_of, members
from capstan.embedded.layout import StateDir
from capstan.embedded.mending import Mending
from capstan.embedded.refusals import (
    require_event_stores,
    require_one_machine,
    require_privacy_keys,
    require_webhook_secrets,
)
from capstan.embedded.shared_parts import SharedParts
from capstan.embedded.supervisor import LOOK_SECONDS, Supervisor
from capstan.embedded.wiring import Addresses, LocalSystem, open_store, processes_of, spec_document, wire
from capstan.engine.policies import system_policy
from capstan.engine.records import system_state
from capstan.errors import (
    AlreadyRunningError,
    CapstanError,
    DiskFullError,
    InvalidSpecError,
    NotFoundError,
    UnavailableError,
)
from capstan.files import write_whole
from capstan.ports.store import Event, Kind, Record, Store
from capstan.spec import MLSystem, parse

FIRST_TO_STOP = ("envoy",)
LAST_TO_STOP = ("collector",)
"""Processes that stop last. Requests end before their services do, and payloads are taken until the last service
has flushed.
"""
STOP_SECONDS = 90.0
STEPS_SECONDS = 2.0
"""Between two looks at the steps of a training."""


class Audience(Protocol):
    """Who is told how it goes."""

    def say(self, text: str) -> None: ...

    def tell(self, event: Event) -> None: ...


ServePage = Callable[..., Callable[[], None]]


@dataclass
class Live:
    """One supervisor's life: from the lock to the last stopped process."""

    state: StateDir
    audience: Audience
    addresses: Addresses
    serve_page: ServePage
    stop: Callable[[], bool]
    on_up: Callable[[LocalSystem], None]
    """Called once when all processes answer, before a first model is trained."""
    on_serving: Callable[[LocalSystem], None]
    """Called once when a champion answers all requests."""
    is_up: bool = False
    is_serving: bool = False
    mending: Mending | None = None
    """Waits after a first training that failed, until its file is mended; None: such a training ends the run."""
    goes_on_when_broken: Callable[[], bool] = lambda: False
    """Whether another life follows an error that passes by itself: then its processes answer meanwhile."""
    shared: SharedParts | None = None
    """What it shares with other systems of this machine, and which runs already; None: all is its own."""
    _is_mended: bool = False
    """A mended file has been handed over, and the next training may begin at once."""
    seconds: Callable[[], float] = time.monotonic
    """By which it looks at a training's steps now and then."""
    _next_steps: float = 0.0
    """When it looks at them again."""
    _told_run: RunName | None = None
    """The training whose steps are told."""
    _told_steps: dict[str, ToldStep] = field(default_factory=dict)
    """What was told of its steps."""

    _events: EventLoading = field(init=False)

    def __post_init__(self) -> None:
        self._events = EventLoading(self.state, self.audience.say)

    def run(self, system: MLSystem) -> None:
        """Run until stopped or deleted; every process that was started is stopped in the end.

        Raises InvalidSpecError for a changed file that stored pairs refuse, AlreadyRunningError, MissingToolError, and
        CapstanError if the first training fails and nobody is waited for.
        """
        system_policy(system)
        require_one_machine(system)
        require_webhook_secrets(system, self.state.secrets)
        require_privacy_keys(system, self.state.secrets)
        require_event_stores(system, self.state.secrets)
        if self.state.store.exists():
            with open_store(self.state) as store:
                require_deadlines(system, self.state, store)
        self.state.prepare(SystemName(system.metadata.name))
        with self.state.exclusively():
            following: MLSystem | None = system
            try:
                while following is not None:
                    following = self._run_one(following)
            finally:
                self.state.live.unlink(missing_ok=True)

    def _run_one(self, system: MLSystem) -> MLSystem | None:
        """Run by this file; returns the changed one that is to be followed, or None at the end."""
        note_live(self.state, system)
        local = wire(system, self.state, addresses=self.addresses, clock=WallClock(), shared=self.shared)
        supervisor = Supervisor(local, tell=self.audience.tell, say=self.audience.say)
        following: MLSystem | None = None
        is_broken = False
        close_page: Callable[[], None] = lambda: None  # noqa: E731
        try:
            close_page = self.serve_page(local, on_alert=supervisor.hint)
            supervisor.start()
            supervisor.bring_back()
            serve_trained(local, self.audience.say)
            try_again(local, mended=self._is_mended)
            self._is_mended = False
            if not self.is_up:
                self.is_up = True
                self.on_up(local)
            following = self._loop(local, supervisor)
        except Exception as error:
            is_broken = passes_by_itself(error) and self.goes_on_when_broken()
            raise
        finally:
            if local.batches is not None:
                local.batches.end()
            if following is None and not is_broken:
                supervisor.stop()
            supervisor.let_go()
            close_page()
            local.close()
        return following

    def _loop(self, local: LocalSystem, supervisor: Supervisor) -> MLSystem | None:
        told = ""
        while True:
            try:
                supervisor.look()
                supervisor.run(until=lambda: self._must_leave(local))
                if self.stop():
                    return None
                changed = changed_file(local)
                if changed is not None:
                    self.audience.say("the file was changed; going on by the new one")
                    return changed
            except NotFoundError:
                if local.store.get(Kind.SYSTEM, local.name) is not None:
                    raise
                self.audience.say(f"{local.name} is deleted")
                return None
            except (UnavailableError, DiskFullError, InvalidSpecError) as error:
                # The versions go on serving, even when somebody stored a file that cannot be followed.
                if self.stop():
                    return None
                if str(error) != told:
                    told = str(error)
                    self.audience.say(f"waiting: {error}")
                time.sleep(LOOK_SECONDS)

    def _must_leave(self, local: LocalSystem) -> bool:
        if self.stop():
            return True
        record = local.store.get(Kind.SYSTEM, local.name)
        if record is None:
            return False
        if record.spec != spec_document(local.system):
            return True
        now = self.seconds()
        self._events.tick(local.system, now)
        self._tell_steps(local, record, now)
        if not self.is_serving:
            self._note_serving(local, record)
            self._take_mended(local)
        return False

    def _tell_steps(self, local: LocalSystem, record: Record, now: float) -> None:
        """How far a training is: without it, minutes pass in silence. Its files are read every few seconds."""
        if now < self._next_steps:
            return
        self._next_steps = now + STEPS_SECONDS
        request = system_state(record).run
        if request is None:
            return
        if request.run != self._told_run:
            self._told_run, self._told_steps = request.run, {}
        steps = local.pipelines.status(request.run).steps
        for step, told in news_of(steps, self._told_steps, now=now).values():
            self._told_steps[step.name] = told
            self.audience.say(f"step {step_in_words(step)}")

    def _note_serving(self, local: LocalSystem, record: Record) -> None:
        if is_serving(record):
            self.is_serving = True
            if self.mending is not None:
                self.mending.end()
            self.on_serving(local)
            return
        state = system_state(record)
        if not is_stuck(state):
            return
        why = why_it_failed(local)
        if self.mending is None:
            raise CapstanError(
                f"the first model could not be trained: {why}; `capstan runs` shows the run, `capstan logs RUN` what "
                "it wrote"
            )
        self.mending.begin(local.system, why, self.audience.say)

    def _take_mended(self, local: LocalSystem) -> None:
        """Go on by the mended file; where a table or code was mended, the training begins anew by the same one."""
        if self.mending is None or not self.mending.is_stuck:
            return
        changed = self.mending.mended(local.system, self.audience.say)
        if changed is None:
            return
        try:
            generation = submit_change(changed, self.state, local.store)
        except InvalidSpecError as error:
            self.audience.say(f"the file was changed, and is still wrong: {error}")
            return
        self.mending.end()
        if generation is None:
            self.audience.say("what the file reads was changed; the training begins anew")
            try_again(local, mended=True)
        else:
            self._is_mended = True


def passes_by_itself(error: Exception) -> bool:
    """Whether another life may go well with nothing mended: no answer to the file, but an outage or a fault."""
    return not isinstance(error, CapstanError) or isinstance(error, (UnavailableError, DiskFullError))


def note_live(state: StateDir, system: MLSystem) -> None:
    """Leave word which folder the file's relative paths are relative to, and that this is no replay."""
    document = {"system": system.metadata.name, "base_dir": str(system.base_dir.resolve())}
    write_whole(state.live, orjson.dumps(document))


def stored_file(state: StateDir, name: SystemName, base_dir: Path) -> MLSystem:
    """The file of a system as it is stored; raises NotFoundError where it is not, InvalidSpecError."""
    with open_store(state) as store:
        record = store.get(Kind.SYSTEM, name)
    if record is None:
        raise NotFoundError(
            f"{name}: {state.root} holds no system of this name; `capstan ls` lists the systems of this machine"
        )
    return parse(record.spec, base_dir=base_dir)


def store_file(system: MLSystem, state: StateDir) -> None:
    """Store the file for a host that is to run it.

    Raises InvalidSpecError for what one machine cannot do, and for a deadline that stored pairs say cannot be met.
    """
    name = SystemName(system.metadata.name)
    system_policy(system)
    require_one_machine(system)
    state.prepare(name)
    document = spec_document(system)
    with open_store(state) as store:
        require_deadlines(system, state, store)
        record = store.get(Kind.SYSTEM, name)
        if record is None:
            store.put(Record(Kind.SYSTEM, name, name, document))
        elif record.spec != document:
            store.put(replace(record, spec=document))


def changed_file(local: LocalSystem) -> MLSystem | None:
    """The file in the store if it is not the one that runs; None if it is."""
    record = local.store.get(Kind.SYSTEM, local.name)
    if record is None or record.spec == spec_document(local.system):
        return None
    base_dir = Path(orjson.loads(local.state.live.read_bytes())["base_dir"])
    return parse(record.spec, base_dir=base_dir)


def submit_change(system: MLSystem, state: StateDir, store: Store) -> int | None:
    """Hand a changed file to the live supervisor of this directory; returns its generation, None if it says the same.

    Raises AlreadyRunningError if what runs there is a replay or another system, InvalidSpecError for a deadline that
    stored pairs say cannot be met.
    """
    name = SystemName(system.metadata.name)
    system_policy(system)
    require_one_machine(system)
    live = orjson.loads(state.live.read_bytes()) if state.live.exists() else None
    if live is None or live["system"] != name:
        what = f"the system {live['system']}" if live else "a replay"
        raise AlreadyRunningError(
            f"{state.root}: process {state.holder()} runs {what} here; stop it with `capstan down`, "
            "or use another directory with --state"
        )
    document = spec_document(system)
    record = store.get(Kind.SYSTEM, name)
    if record is None:
        raise NotFoundError(f"{name} is just starting or being deleted; try again in a moment")
    if record.spec == document:
        return None
    require_deadlines(system, state, store)
    note_live(state, system)
    return store.put(replace(record, spec=document)).generation


@dataclass(frozen=True)
class TakenDown:
    """What `take_down` found and ended."""

    supervisor: int | None
    killed: bool
    """Whether it was killed because it did not end in time."""
    orphans: list[str]
    """Processes that a killed supervisor had left."""


def take_down(
    state: StateDir, *, host: StateDir | None = None, wait_seconds: float = STOP_SECONDS
) -> TakenDown:
    """Stop the supervisor and whatever it, or one before it, has left; nothing of this directory runs afterwards.

    The other systems of its host end with it. `host`: its folder, where the state may not name it any more.
    """
    holder, host = state.holder(), host or host_of(state)
    killed = False
    if holder is not None:
        os.kill(holder, signal.SIGTERM)
        if not _released(state, holder, wait_seconds):
            killed = True
            os.kill(holder, signal.SIGKILL)
            _released(state, holder, 10.0)
    orphans: list[str] = []
    if host is not None and holder is not None:
        # Its lock of the state is let go before what is shared ends, and an `up` in between would join it.
        _released(host, holder, wait_seconds)
    if host is not None and host.holder() is None:
        # What a killed host has left of its other systems and of itself, the gateway first.
        with host.exclusively():
            orphans += end_shared(host)
            for member in members(host):
                if member.state.root != state.root:
                    orphans += clean_up_left(member.state)
                forget(host, member.system)
    return TakenDown(holder, killed, [*clean_up(state), *orphans])


def end_shared(host: StateDir) -> list[str]:
    """End what a killed host left of itself; the names of what it was."""
    processes = processes_of(host)
    orphans = list(processes.adopt())
    processes.stop_all(first=FIRST_TO_STOP)
    return orphans


def end_elsewhere(state: StateDir, host: StateDir) -> None:
    """End what a killed host with another gateway left of a system that this host is to run; nobody would find it then.

    Raises AlreadyRunningError where that host lives and is to run it.
    """
    old = host_of(state)
    if old is None or old.root == host.root:
        return
    mine = [one.system for one in members(old) if one.state.root == state.root]
    holder = old.holder()
    if holder is not None and mine:
        raise AlreadyRunningError(
            f"{state.root}: process {holder} runs it already, with another gateway; `capstan down` first"
        )
    if holder is not None:
        return
    with old.exclusively():
        for name in mine:
            forget(old, name)
        if not members(old):
            # Others that it left may be brought back, and answer until then.
            end_shared(old)


def clean_up_left(state: StateDir) -> list[str]:
    """As `clean_up`, of another system of a killed host; none where somebody runs it or its folder was deleted."""
    if not state.root.exists():
        end_leftovers(state.processes.resolve(), None)
        return []
    try:
        return clean_up(state)
    except AlreadyRunningError:
        return []


def clean_up(state: StateDir) -> list[str]:
    """End what a killed supervisor left of one folder; the names of what it was."""
    with state.exclusively():
        processes = processes_of(state)
        orphans = list(processes.adopt())
        for runs in sorted(state.root.glob("systems/*/runs")):
            orphans += interrupt_runs(runs)
        processes.stop_all(first=FIRST_TO_STOP, last=LAST_TO_STOP)
        for file in (state.addresses, state.live):
            file.unlink(missing_ok=True)
    return orphans


def _released(state: StateDir, holder: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while state.holder() == holder:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    return True
