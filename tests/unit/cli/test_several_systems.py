"""Where commands find a system when several live in one project, and how one of several is taken away."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from pathlib import Path

import orjson
import pytest
from simulation.world import SYSTEM

from capstan.adapters.sqlite.store import SqliteStore
from capstan.cli import joining
from capstan.cli.place import Machine, place_for
from capstan.domain.versions import SystemName
from capstan.embedded.host.members import GATEWAY_PATHS, Member, forget, host_folder, members, note
from capstan.embedded.layout import StateDir
from capstan.ports.store import Kind, Record
from capstan.spec import parse


def put(state: StateDir, name: str, document: dict[str, object]) -> None:
    state.prepare(SystemName(name))
    store = SqliteStore(state.store)
    store.put(Record(Kind.SYSTEM, name, SystemName(name), {**document, "metadata": {"name": name}}))
    store.close()


@pytest.fixture
def beside(serving) -> StateDir:
    """A second system of the same project, with a folder of its own."""
    state: StateDir = serving.state.beside("bikes")
    put(state, "bikes", serving.document)
    return state


def test_a_new_system_gets_a_folder_beside_the_one_that_is_there(serving, tmp_path: Path) -> None:
    here = Machine(serving.state)
    assert here.of(SYSTEM).state == serving.state
    assert here.of("bikes").state == serving.state.beside("bikes")
    assert Machine(StateDir(tmp_path / "empty")).of("bikes").state.root == tmp_path / "empty"


def test_a_system_that_was_stored_here_before_stays_here(serving) -> None:
    put(serving.state, "bikes", serving.document)
    assert Machine(serving.state).of("bikes").state == serving.state


def test_a_file_finds_its_folder(serving, beside, tmp_path: Path) -> None:
    system = parse({**serving.document, "metadata": {"name": "bikes"}}, base_dir=tmp_path)
    place = place_for(system, serving.state.root, None, None)
    assert isinstance(place, Machine)
    assert place.state == beside


def test_a_name_finds_its_folder_and_without_one_both_are_named(serving, beside) -> None:
    found = json.loads(serving.run("status", "bikes", "--json").stdout)
    assert found["system"] == "bikes"
    assert json.loads(serving.run("status", SYSTEM, "--json").stdout)["system"] == SYSTEM
    unnamed = serving.run("status")
    assert unnamed.exit_code == 1
    assert f"several systems, name one; systems in {serving.state.root}: {SYSTEM}, bikes" in " ".join(
        unnamed.output.split()
    ).replace("\n", "")


def test_logs_of_a_system_beside_have_its_name_before_them(serving, beside) -> None:
    (beside.logs / "monitor.log").write_text("a line\n")
    assert "bikes/monitor" in json.loads(serving.run("logs", "--json").stdout)


def test_logs_of_what_systems_share_are_found_after_the_host_has_ended(serving, tmp_path: Path) -> None:
    host = StateDir(tmp_path / "host")
    host.prepare_host()
    (host.logs / "envoy.log").write_text("a line\n")
    serving.state.host_note.parent.mkdir(parents=True, exist_ok=True)
    serving.state.host_note.write_bytes(orjson.dumps({"host": str(host.root)}))
    assert "envoy" in json.loads(serving.run("logs", "--json").stdout)


@pytest.fixture
def host(serving, beside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StateDir:
    """A host that runs both, as far as a command can see."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    host = host_folder(7480, serving.state)
    host.prepare_host()
    for name, state in ((SYSTEM, serving.state), ("bikes", beside)):
        note(host, Member(name, state, tmp_path / f"{name}.yaml", is_first=name == SYSTEM))
        state.addresses.parent.mkdir(parents=True, exist_ok=True)
        state.addresses.write_bytes(
            orjson.dumps({"page": "http://127.0.0.1:7411", "system": name, "host": str(host.root)})
        )
    return host


def test_down_with_a_file_takes_one_away_and_waits_until_nothing_of_it_runs(
    serving, beside, host, tmp_path: Path
) -> None:
    file = tmp_path / "bikes.yaml"
    file.write_text(json.dumps({**serving.document, "metadata": {"name": "bikes"}}))
    ran = threading.Event()

    def obeying() -> None:
        """What the host does, as far as the command waits for it."""
        with beside.exclusively():
            ran.set()
            while any(member.system == "bikes" for member in members(host)):
                time.sleep(0.01)
            beside.addresses.unlink()

    with host.exclusively():
        thread = threading.Thread(target=obeying)
        thread.start()
        ran.wait(5)
        result = serving.run("down", str(file), "--json")
        thread.join(5)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {
        "supervisor": os.getpid(), "left": "bikes", "others": [SYSTEM], "deleted": None
    }  # fmt: skip
    assert [member.system for member in members(host)] == [SYSTEM]


def test_down_after_a_kill_forgets_all_systems_of_the_host(serving, beside, host) -> None:
    result = serving.run("down")
    assert result.exit_code == 0, result.output
    assert members(host) == []
    assert not serving.state.addresses.exists()
    assert not beside.addresses.exists()


def test_the_page_s_token_is_the_host_s_while_that_shows_it(serving, beside, host) -> None:
    assert beside.page_token() == host.token("page") != beside.token("page")
    beside.addresses.unlink()
    assert beside.page_token() == beside.token("page")


def test_down_finds_what_a_killed_host_left_beside_the_system_that_was_taken_away_before(
    serving, beside, host
) -> None:
    forget(host, SYSTEM)
    serving.state.addresses.unlink()
    result = serving.run("down")
    assert result.exit_code == 0, result.output
    assert members(host) == []
    assert not beside.addresses.exists()


def test_down_with_a_file_of_a_system_that_is_still_starting_takes_it_alone_away(
    serving, beside, host, tmp_path: Path
) -> None:
    """Its addresses are written when it has started; without them the whole host was ended."""
    file = tmp_path / "bikes.yaml"
    file.write_text(json.dumps({**serving.document, "metadata": {"name": "bikes"}}))
    beside.addresses.unlink()
    with host.exclusively():
        result = serving.run("down", str(file), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["others"] == [SYSTEM]
    assert [member.system for member in members(host)] == [SYSTEM]


def test_down_waits_while_a_system_answers_though_no_loop_of_it_runs(
    serving, beside, host, tmp_path: Path
) -> None:
    """After an error of the loop: nobody holds the folder, and the host ends what answers."""
    file = tmp_path / "bikes.yaml"
    file.write_text(json.dumps({**serving.document, "metadata": {"name": "bikes"}}))
    ended = threading.Event()

    def obeying() -> None:
        while any(member.system == "bikes" for member in members(host)):
            time.sleep(0.01)
        time.sleep(0.3)
        ended.set()
        beside.addresses.unlink()

    with host.exclusively():
        thread = threading.Thread(target=obeying)
        thread.start()
        result = serving.run("down", str(file), "--json")
        assert ended.is_set()
        thread.join(5)
    assert result.exit_code == 0, result.output


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[Member]:
    """Who has joined, each as it was noted; a model of it serves at once."""
    found: list[Member] = []

    def follow(name: str, _: StateDir, host: StateDir) -> bool:
        found.extend(one for one in members(host) if one.system == name)
        return True

    monkeypatch.setattr(joining, "_follow", follow)
    return found


def write(document: dict[str, object], name: str, folder: Path) -> Path:
    file = folder / f"{name}.yaml"
    file.write_text(json.dumps({**document, "metadata": {"name": name}}))
    return file


def test_the_first_that_is_brought_up_while_its_loop_waits_stays_the_first(
    serving, host, joined, tmp_path: Path
) -> None:
    with host.exclusively():
        first = serving.run("up", str(write(serving.document, SYSTEM, tmp_path)))
        second = serving.run("up", str(write(serving.document, "bikes", tmp_path)))
    assert (first.exit_code, second.exit_code) == (0, 0), first.output + second.output
    assert [(one.system, one.is_first) for one in joined] == [(SYSTEM, True), ("bikes", False)]


@pytest.mark.parametrize("name", GATEWAY_PATHS)
def test_a_name_that_is_a_path_of_the_gateway_cannot_join(
    serving, host, joined, tmp_path: Path, name: str
) -> None:
    with host.exclusively():
        result = serving.run("up", str(write(serving.document, name, tmp_path)))
    assert result.exit_code == 1, result.output
    told = " ".join(result.output.split())
    assert "metadata.name" in told
    assert "rename it, or start another host with --gateway-port and --page-port" in told
    assert joined == []
    assert not serving.state.beside(name).store.exists()


def test_a_page_port_that_the_host_does_not_have_is_told(serving, host, joined, tmp_path: Path) -> None:
    file = str(write(serving.document, "bikes", tmp_path))
    with host.exclusively():
        other = serving.run("up", file, "--page-port", "7500")
        same = serving.run("up", file, "--page-port", "7411")
    assert "--page-port is not followed" in other.output
    assert "--page-port" not in same.output


def test_of_two_that_are_brought_up_at_the_same_moment_the_second_joins(
    serving, host, joined, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = iter([None, os.getpid()])
    monkeypatch.setattr(StateDir, "holder", lambda self: next(asked, 1) if self == host else None)
    with host.exclusively():
        result = serving.run("up", str(write(serving.document, "bikes", tmp_path)))
    assert result.exit_code == 0, result.output
    assert [one.system for one in joined] == ["bikes"]


def test_one_that_joins_leaves_nothing_at_the_gateway_of_a_killed_host(
    serving, host, joined, tmp_path: Path
) -> None:
    state = serving.state.beside("trees")
    put(state, "trees", serving.document)
    old = StateDir(tmp_path / "old")
    old.prepare_host()
    note(old, Member("trees", state, tmp_path / "trees.yaml", is_first=True))
    process = subprocess.Popen(
        ["sleep", "600"],
        env={**os.environ, "CAPSTAN_PROCESS": f"{old.processes.resolve()}//envoy/digest"},
        start_new_session=True,
    )
    try:
        with host.exclusively():
            result = serving.run("up", str(write(serving.document, "trees", tmp_path)))
        assert result.exit_code == 0, result.output
        process.wait(10)
    finally:
        process.kill()
        process.wait()
    assert members(old) == []
    assert [one.system for one in joined] == ["trees"]
