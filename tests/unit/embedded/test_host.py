"""Claims about a host: who it runs, whom it ends, and that no system's error is another's."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from simulation.world import SPEC

from capstan.adapters.processes.ports_in_use import free_port
from capstan.adapters.processes.spec import ProcessPhase, ProcessStatus
from capstan.adapters.sqlite.store import SqliteStore
from capstan.domain.versions import SystemName
from capstan.embedded.host import host as hosting
from capstan.embedded.host.host import Host, HostRunsError
from capstan.embedded.host.leaving import leave
from capstan.embedded.host.members import Member, forget, host_folder, host_of, members, note
from capstan.embedded.layout import StateDir
from capstan.embedded.live import passes_by_itself, take_down
from capstan.embedded.shared_parts import PROCESSES, SharedParts
from capstan.embedded.supervisor import Supervisor
from capstan.embedded.wiring import Addresses
from capstan.errors import (
    AlreadyRunningError,
    CapstanError,
    DiskFullError,
    InvalidSpecError,
    NotFoundError,
    UnavailableError,
)
from capstan.ports.store import Event, Kind, Record
from capstan.spec import parse


class Said:
    """An audience that remembers."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)

    def tell(self, event: Event) -> None: ...


class World:
    """A host whose systems do what a test says instead of living."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.host = StateDir(folder / "host")
        self.said = Said()
        self.stopped = threading.Event()
        self.lives: list[str] = []
        """Names, one for each life."""
        self.does: dict[str, Callable[[int], None]] = {}
        """By system, what its n-th life does before it waits for its end."""
        self.after_up: dict[str, Callable[[int], None]] = {}
        self.shared: list[Any] = []
        self.left: list[str] = []
        """Systems that were taken from the gateway by the host itself."""
        self.broken: Exception | None = None
        """Why the shared parts do not start."""
        self.error: Exception | None = None
        self.thread: threading.Thread | None = None
        monkeypatch.setattr(hosting, "wire_host", self._wire)
        monkeypatch.setattr(hosting, "HostPage", lambda *_, **__: self._page())
        monkeypatch.setattr(hosting, "Live", self._live)
        monkeypatch.setattr(hosting, "PAUSE_SECONDS", 0.01)
        monkeypatch.setattr(hosting, "FIRST_BACKOFF_SECONDS", 0.01)

    def _wire(self, folder: StateDir, addresses: Addresses, *, root: str | None) -> Any:
        def nothing(*_: object, **__: object) -> None: ...

        def start(**_: object) -> None:
            if self.broken is not None:
                raise self.broken

        part = SimpleNamespace(start=start, keep=nothing, leave=self.left.append, forget=nothing)
        processes = SimpleNamespace(tick=lambda: [], stop_all=nothing)
        found = SimpleNamespace(
            envoy=part, prometheus=part, alertmanager=part, processes=processes, on_event={}, is_ending=False,
            root=root,
        )  # fmt: skip
        self.shared.append(found)
        return found

    def _page(self) -> Any:
        return SimpleNamespace(show=None, forget=lambda _: None, close=lambda: None)

    def _live(self, state: StateDir, audience: Any, addresses: Addresses, *rest: Any, **_: Any) -> Any:
        _show, stop, on_up, _on_serving = rest

        def run(system: Any) -> None:
            name = system.metadata.name
            self.lives.append(name)
            with state.exclusively():
                if name in self.does:
                    self.does[name](self.lives.count(name))
                on_up(SimpleNamespace(name=name, addresses=addresses))
                if name in self.after_up:
                    self.after_up[name](self.lives.count(name))
                while not stop():
                    time.sleep(0.01)

        return SimpleNamespace(run=run)

    def state(self, name: str) -> StateDir:
        """A folder that holds the system's record."""
        state = StateDir(self.folder / name)
        state.prepare(SystemName(name))
        store = SqliteStore(state.store)
        if store.get(Kind.SYSTEM, name) is None:
            store.put(Record(Kind.SYSTEM, name, SystemName(name), self.document(name)))
        store.close()
        return state

    def document(self, name: str) -> dict[str, Any]:
        return {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": name},
            "spec": SPEC,
        }

    def member(self, name: str, *, is_first: bool = False) -> Member:
        return Member(name, self.state(name), self.folder / f"{name}.yaml", is_first)

    def start(self, name: str) -> None:
        host = Host(
            self.host,
            self.said,
            Addresses(free_port(), free_port()),
            self.stopped.is_set,
            lambda _: None,
            lambda _: None,
            lambda _: None,
        )

        def run() -> None:
            try:
                host.run(
                    parse(self.document(name), base_dir=self.folder),
                    self.folder / f"{name}.yaml",
                    self.state(name),
                )
            except Exception as error:
                self.error = error

        self.thread = threading.Thread(target=run)
        self.thread.start()

    def end(self) -> None:
        self.stopped.set()
        if self.thread is not None:
            self.thread.join(10)
            assert not self.thread.is_alive()

    def until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < deadline, self.said.lines
            time.sleep(0.01)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    world = World(tmp_path, monkeypatch)
    yield world
    world.end()


def test_a_file_that_joins_is_run_beside_the_first(world: World) -> None:
    world.start("bikes")
    world.until(lambda: world.lives == ["bikes"])
    note(world.host, world.member("flights"))
    world.until(lambda: world.lives == ["bikes", "flights"])
    # A life is counted just before it takes its folder.
    world.until(lambda: world.state("bikes").holder() == world.state("flights").holder() is not None)


def test_one_that_is_taken_away_ends_and_the_other_goes_on(world: World) -> None:
    world.start("bikes")
    note_when_up(world, "flights")
    forget(world.host, "flights")
    world.until(lambda: world.state("flights").holder() is None)
    assert world.state("bikes").holder() is not None
    assert world.error is None


def test_a_loop_that_breaks_is_told_and_started_again_and_the_other_does_not_notice(world: World) -> None:
    def breaks(life: int) -> None:
        if life < 3:
            raise KeyError("no such column")

    world.start("bikes")
    world.until(lambda: world.lives == ["bikes"])
    world.after_up["flights"] = breaks
    note(world.host, world.member("flights"))
    world.until(lambda: world.lives.count("flights") == 3)
    world.until(lambda: world.state("flights").holder() is not None)
    told = [line for line in world.said.lines if "its loop ended by KeyError: 'no such column'" in line]
    assert len(told) == 2
    assert "started again in 0.01 s" in told[0]
    assert "started again in 0.02 s" in told[1]
    assert world.lives.count("bikes") == 1


def test_one_that_is_taken_away_while_no_loop_of_it_runs_is_ended_by_the_host(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(_: int) -> None:
        raise KeyError("no such column")

    monkeypatch.setattr(hosting, "FIRST_BACKOFF_SECONDS", 60.0)
    world.start("bikes")
    world.until(lambda: world.lives == ["bikes"])
    world.after_up["flights"] = breaks
    member = world.member("flights")
    member.state.addresses.write_bytes(b"{}")
    note(world.host, member)
    world.until(lambda: any("its loop ended by KeyError" in line for line in world.said.lines))
    forget(world.host, "flights")
    world.until(lambda: world.left == ["flights"])
    world.until(lambda: not member.state.addresses.exists())


def test_a_loop_that_breaks_before_it_was_ever_up_is_not_tried_again(world: World) -> None:
    def breaks(_: int) -> None:
        raise KeyError("no such column")

    world.start("bikes")
    world.until(lambda: world.lives == ["bikes"])
    world.does["flights"] = breaks
    note(world.host, world.member("flights"))
    world.until(lambda: any(line.startswith("flights: it does not run") for line in world.said.lines))
    assert world.lives.count("flights") == 1


def note_when_up(world: World, name: str) -> None:
    world.until(lambda: "bikes" in world.lives)
    note(world.host, world.member(name))
    world.until(lambda: name in world.lives and world.state(name).holder() is not None)


def test_the_error_of_one_among_several_is_told_and_the_others_go_on(world: World) -> None:
    def fails(_: int) -> None:
        raise CapstanError("the first model could not be trained")

    world.start("bikes")
    world.until(lambda: world.lives == ["bikes"])
    world.does["flights"] = fails
    note(world.host, world.member("flights"))
    world.until(lambda: any("the others go on" in line for line in world.said.lines))
    assert [member.system for member in members(world.host)] == ["bikes"]
    assert world.state("bikes").holder() is not None


def test_the_error_of_the_only_one_is_the_hosts(world: World) -> None:
    def fails(_: int) -> None:
        raise CapstanError("the first model could not be trained")

    world.does["bikes"] = fails
    world.start("bikes")
    assert world.thread is not None
    world.thread.join(10)
    assert str(world.error) == "the first model could not be trained"
    assert members(world.host) == []


def test_a_system_whose_file_is_broken_takes_nobody_down(world: World) -> None:
    world.start("bikes")
    world.until(lambda: world.lives == ["bikes"])
    broken = world.member("flights")
    store = SqliteStore(broken.state.store)
    record = store.get(Kind.SYSTEM, "flights")
    assert record is not None
    store.put(
        Record(
            Kind.SYSTEM,
            "flights",
            SystemName("flights"),
            {"kind": "MLSystem"},
            resource_version=record.resource_version,
        )
    )
    store.close()
    note(world.host, broken)
    world.until(lambda: any(line.startswith("flights: it does not run") for line in world.said.lines))
    assert world.state("bikes").holder() is not None


def test_what_a_killed_host_left_is_brought_back(world: World) -> None:
    world.host.prepare_host()
    note(world.host, world.member("flights", is_first=True))
    world.start("bikes")
    world.until(lambda: sorted(world.lives) == ["bikes", "flights"])
    # Who asked at the bare address before is answered by the same system.
    assert world.shared[0].root == "flights"
    assert {member.system: member.is_first for member in members(world.host)} == {
        "bikes": False,
        "flights": True,
    }


def test_a_host_that_is_stopped_leaves_nobody_to_bring_back(world: World) -> None:
    world.start("bikes")
    note_when_up(world, "flights")
    world.end()
    assert members(world.host) == []
    assert world.host.holder() is None


def test_two_systems_of_one_name_do_not_share_a_host(world: World) -> None:
    world.host.prepare_host()
    note(world.host, world.member("bikes"))
    other = Member("bikes", StateDir(world.folder / "elsewhere"), world.folder / "bikes.yaml", False)
    with pytest.raises(AlreadyRunningError, match="is there already; rename one"):
        note(world.host, other)


def test_the_last_one_is_not_taken_away_alone(world: World) -> None:
    assert leave("bikes", world.state("bikes"), wait_seconds=1) is None


def test_the_folder_of_a_host_has_the_name_of_its_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert host_folder(7480, StateDir(tmp_path)).root == tmp_path / "xdg" / "capstan" / "hosts" / "7480"


def test_without_a_home_to_write_to_a_host_lies_with_its_first_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "xdg"))
    assert host_folder(7480, StateDir(tmp_path)).root == tmp_path / "hosts" / "7480"


def test_a_system_that_is_nowhere_stored_is_told(tmp_path: Path) -> None:
    state = StateDir(tmp_path)
    state.prepare(SystemName("bikes"))
    from capstan.embedded.live import stored_file

    with pytest.raises(NotFoundError, match="holds no system of this name"):
        stored_file(state, SystemName("bikes"), tmp_path)


def test_an_outage_of_a_shared_part_does_not_end_a_system_that_serves(world: World) -> None:
    """It came up before; that Envoy is away for a moment while a changed file is followed is no answer to the file."""

    def misses_envoy(life: int) -> None:
        if life == 1:
            raise UnavailableError("envoy", "its process does not run")

    world.after_up["bikes"] = misses_envoy
    world.start("bikes")
    world.until(lambda: world.lives.count("bikes") == 2 and world.state("bikes").holder() is not None)
    assert world.thread is not None
    assert world.thread.is_alive()
    assert any("started again in 0.01 s" in line for line in world.said.lines)


def test_a_first_start_whose_parts_never_come_ends_with_its_error(world: World) -> None:
    def misses_envoy(_: int) -> None:
        raise UnavailableError("envoy", "its process does not run")

    world.does["bikes"] = misses_envoy
    world.start("bikes")
    assert world.thread is not None
    world.thread.join(10)
    assert "its process does not run" in str(world.error)
    assert world.lives == ["bikes"]


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (KeyError("x"), True),
        (UnavailableError("envoy", "away"), True),
        (DiskFullError("full"), True),
        (CapstanError("the first model could not be trained"), False),
        (NotFoundError("no such system"), False),
    ],
)
def test_which_errors_pass_by_themselves(error: Exception, passes: bool) -> None:
    assert passes_by_itself(error) is passes


class Parts:
    """Phases of the shared processes as a test sets them."""

    def __init__(self, tmp_path: Path) -> None:
        self.phases = dict.fromkeys(PROCESSES, ProcessPhase.RUNNING)
        status = lambda: {  # noqa: E731
            name: ProcessStatus(name, phase, None, 0, None, f"{name} waits", tmp_path)
            for name, phase in self.phases.items()
        }
        supervisor: Any = SimpleNamespace(status=status)
        nothing: Any = None
        self.shared = SharedParts(StateDir(tmp_path), supervisor, nothing, nothing, nothing, nothing)


def test_a_system_waits_for_a_shared_part_that_is_being_restarted(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.phases["envoy"] = ProcessPhase.BACKING_OFF
    back = threading.Timer(0.3, lambda: parts.phases.update(envoy=ProcessPhase.RUNNING))
    back.start()
    began = time.monotonic()
    parts.shared.wait_until_running(20.0)
    assert time.monotonic() - began >= 0.25
    back.join()


def test_the_wait_for_a_shared_part_ends_when_it_is_given_up_or_all_end_or_time_is_over(
    tmp_path: Path,
) -> None:
    parts = Parts(tmp_path)
    parts.phases["prometheus"] = ProcessPhase.GAVE_UP
    with pytest.raises(UnavailableError, match="prometheus waits"):
        parts.shared.wait_until_running(600.0)
    parts.phases["prometheus"] = ProcessPhase.BACKING_OFF
    with pytest.raises(UnavailableError, match="prometheus waits"):
        parts.shared.wait_until_running(0.2)
    parts.shared.is_ending = True
    with pytest.raises(UnavailableError, match="prometheus waits"):
        parts.shared.wait_until_running(600.0)


def test_a_system_takes_its_place_at_the_gateway_only_when_the_shared_parts_run(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    parts.phases["envoy"] = ProcessPhase.GAVE_UP
    asked: list[str] = []
    local: Any = SimpleNamespace(
        name="bikes",
        helpers=(),
        shared=parts.shared,
        store=SimpleNamespace(events=lambda _: []),
        gateway=SimpleNamespace(start=lambda: asked.append("gateway")),
    )
    with pytest.raises(UnavailableError, match="envoy waits"):
        Supervisor(local).start()
    assert asked == []


@pytest.fixture
def sleeper() -> Iterator[Callable[[StateDir, str], subprocess.Popen[bytes]]]:
    """Starts a process that a killed host of that folder might have left."""
    started: list[subprocess.Popen[bytes]] = []

    def start(state: StateDir, name: str) -> subprocess.Popen[bytes]:
        state.processes.mkdir(parents=True, exist_ok=True)
        mark = f"{state.processes.resolve()}//{name}/digest"
        process = subprocess.Popen(
            ["sleep", "600"], env={**os.environ, "CAPSTAN_PROCESS": mark}, start_new_session=True
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_note_of_a_deleted_folder_neither_diverts_nor_blocks_a_new_system(
    world: World, sleeper: Any
) -> None:
    world.host.prepare_host()
    gone = world.member("flights", is_first=True)
    note(world.host, gone)
    process = sleeper(gone.state, "collector")
    shutil.rmtree(gone.state.root)
    world.start("bikes")
    world.until(lambda: world.lives == ["bikes"])
    assert [(one.system, one.is_first) for one in members(world.host)] == [("bikes", True)]
    assert world.shared[0].root == "bikes"
    process.wait(10)
    assert not gone.state.root.exists()


def test_who_is_known_gets_the_bare_address_when_the_first_s_folder_was_deleted(world: World) -> None:
    world.host.prepare_host()
    gone = world.member("flights", is_first=True)
    note(world.host, gone)
    note(world.host, world.member("bikes"))
    shutil.rmtree(gone.state.root)
    world.start("bikes")
    world.until(lambda: world.lives == ["bikes"])
    assert world.shared[0].root == "bikes"


def test_a_dead_namesake_of_another_folder_blocks_nobody(world: World) -> None:
    world.host.prepare_host()
    elsewhere = StateDir(world.folder / "elsewhere")
    shutil.copytree(world.state("bikes").root, elsewhere.root)
    note(world.host, Member("bikes", elsewhere, world.folder / "elsewhere.yaml", is_first=True))
    world.start("bikes")
    world.until(lambda: world.lives == ["bikes"])
    assert [(one.state.root, one.is_first) for one in members(world.host)] == [
        (world.state("bikes").root, True)
    ]


def test_a_namesake_whose_processes_live_is_told_with_the_way_to_end_it(world: World, sleeper: Any) -> None:
    world.host.prepare_host()
    elsewhere = StateDir(world.folder / "elsewhere")
    shutil.copytree(world.state("bikes").root, elsewhere.root)
    note(world.host, Member("bikes", elsewhere, world.folder / "elsewhere.yaml", is_first=True))
    sleeper(elsewhere, "collector")
    world.start("bikes")
    assert world.thread is not None
    world.thread.join(10)
    assert isinstance(world.error, AlreadyRunningError)
    assert f"`capstan down --state {elsewhere.root}` ends it" in str(world.error)
    assert [one.state.root for one in members(world.host)] == [elsewhere.root]


def test_a_host_that_is_killed_during_a_start_is_found_by_down(world: World, sleeper: Any) -> None:
    world.host.prepare_host()
    note(world.host, world.member("bikes", is_first=True))
    process = sleeper(world.host, "prometheus")
    done = take_down(world.state("bikes"))
    process.wait(10)
    assert done.orphans == ["prometheus"]
    assert members(world.host) == []


def test_a_start_at_another_gateway_ends_what_a_killed_host_left_of_it(world: World, sleeper: Any) -> None:
    old = StateDir(world.folder / "old")
    old.prepare_host()
    state = world.state("bikes")
    note(old, world.member("bikes", is_first=True))
    state.addresses.write_bytes(orjson.dumps({"host": str(old.root)}))
    process = sleeper(old, "prometheus")
    world.start("bikes")
    process.wait(10)
    world.until(lambda: world.lives == ["bikes"])
    assert members(old) == []
    # The addresses are those of before until the start is over.
    assert host_of(state) == world.host


def test_a_start_at_another_gateway_leaves_the_others_of_the_killed_host(world: World, sleeper: Any) -> None:
    old = StateDir(world.folder / "old")
    old.prepare_host()
    note(old, world.member("bikes", is_first=True))
    note(old, world.member("flights"))
    process = sleeper(old, "prometheus")
    world.start("bikes")
    world.until(lambda: world.lives == ["bikes"])
    assert [one.system for one in members(old)] == ["flights"]
    assert process.poll() is None


def test_a_system_that_a_living_host_is_to_run_gets_no_second_host(world: World) -> None:
    old = StateDir(world.folder / "old")
    old.prepare_host()
    note(old, world.member("bikes", is_first=True))
    with old.exclusively():
        world.start("bikes")
        assert world.thread is not None
        world.thread.join(10)
    assert "runs it already, with another gateway" in str(world.error)
    assert [one.system for one in members(old)] == ["bikes"]


def test_a_start_that_fails_after_a_kill_ends_what_was_left_and_forgets_nobody(
    world: World, sleeper: Any
) -> None:
    world.host.prepare_host()
    left = [world.member("bikes", is_first=True), world.member("flights")]
    for member in left:
        note(world.host, member)
    processes = [sleeper(member.state, "collector") for member in left]
    world.broken = UnavailableError("prometheus", "it does not start")
    world.start("bikes")
    assert world.thread is not None
    world.thread.join(20)
    assert world.error is world.broken
    for process in processes:
        process.wait(10)
    assert [(one.system, one.is_first) for one in members(world.host)] == [
        ("bikes", True),
        ("flights", False),
    ]


def test_down_passes_over_a_system_of_the_killed_host_that_somebody_runs_elsewhere(world: World) -> None:
    world.host.prepare_host()
    note(world.host, world.member("bikes", is_first=True))
    note(world.host, world.member("flights"))
    with world.state("flights").exclusively():
        take_down(world.state("bikes"))
    assert members(world.host) == []


def test_a_home_that_may_not_be_entered_counts_as_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(_: Path, **__: object) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(Path, "exists", refuses)
    assert host_folder(7480, StateDir(tmp_path)).root == tmp_path / "hosts" / "7480"


def test_a_name_that_is_a_path_of_the_gateway_is_refused_where_it_would_not_be_the_first(
    world: World,
) -> None:
    world.host.prepare_host()
    note(world.host, world.member("bikes", is_first=True))
    world.start("predict")
    assert world.thread is not None
    world.thread.join(10)
    assert isinstance(world.error, InvalidSpecError)
    assert [mistake.path for mistake in world.error.mistakes] == ["metadata.name"]
    assert [one.system for one in members(world.host)] == ["bikes"]


def test_alone_a_system_may_be_called_as_a_path_of_the_gateway(world: World) -> None:
    world.start("predict")
    world.until(lambda: world.lives == ["predict"])


def test_a_host_whose_gateway_another_has_got_meanwhile_says_so(world: World) -> None:
    with world.host.exclusively():
        world.start("bikes")
        assert world.thread is not None
        world.thread.join(10)
    assert isinstance(world.error, HostRunsError)
