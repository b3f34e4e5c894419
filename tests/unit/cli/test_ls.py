"""`capstan ls` finds the systems of this machine whatever folder they are in, and those of a cluster."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from simulation.world import SPEC, SYSTEM
from typer.testing import CliRunner

from capstan.adapters.kubernetes.store import KubeStore
from capstan.adapters.memory.kubernetes import MemoryKube
from capstan.adapters.sqlite.store import SqliteStore
from capstan.cli.main import app
from capstan.cluster import places as place
from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName
from capstan.embedded.known_folders import known_folders, own_folder, remember
from capstan.embedded.layout import StateDir
from capstan.engine.records import run_record
from capstan.errors import NotAllowedError
from capstan.files import write_whole
from capstan.ports.store import Kind, Record


@pytest.fixture(autouse=True)
def notes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's own folder, and a folder to work in that has no state."""
    home = tmp_path / "home"
    monkeypatch.setenv("XDG_STATE_HOME", str(home))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return home / "capstan/folders"


def listed(*arguments: str) -> list[dict[str, object]]:
    result = CliRunner().invoke(app, ["ls", "--json", *arguments])
    assert result.exit_code == 0, result.output
    found: list[dict[str, object]] = json.loads(result.stdout)
    return found


def a_folder(root: Path, *systems: str) -> StateDir:
    """One that was noted, with these systems stored."""
    state = StateDir(root)
    for name in systems:
        state.prepare(SystemName(name))
    remember(state)
    store = SqliteStore(state.store)
    for name in systems:
        store.put(Record(Kind.SYSTEM, name, SystemName(name), spec=SPEC))
    store.close()
    return state


def test_a_serving_system_is_found_from_any_folder(serving) -> None:
    remember(serving.state)
    (one,) = listed()
    assert (one["name"], one["phase"], one["champion"]) == (SYSTEM, "Serving", "v1")
    assert one["state"] == str(serving.state.root)
    assert (one["running"], one["gateway"], one["page"]) == (None, None, None)
    shown = CliRunner().invoke(app, ["ls"]).output
    assert all(word in shown for word in (SYSTEM, "stopped", "v1", str(serving.state.root)))


def test_one_that_runs_tells_its_addresses_and_no_token(serving) -> None:
    remember(serving.state)
    addresses = {"page": "http://127.0.0.1:7411", "gateway": "http://127.0.0.1:7480", "system": SYSTEM}
    write_whole(serving.state.addresses, orjson.dumps(addresses))
    with serving.state.exclusively():
        (one,) = listed()
        shown = CliRunner().invoke(app, ["ls"]).output
    assert (one["running"], one["gateway"], one["page"]) == (
        os.getpid(),
        "http://127.0.0.1:7480",
        "http://127.0.0.1:7411",
    )
    assert "http://127.0.0.1:7411" in shown
    assert serving.state.token("page") not in shown


def test_addresses_that_a_killed_supervisor_left_are_not_shown(serving) -> None:
    remember(serving.state)
    write_whole(serving.state.addresses, orjson.dumps({"gateway": "http://127.0.0.1:7480", "system": SYSTEM}))
    assert listed()[0]["gateway"] is None


def test_several_folders_are_listed_and_each_once(tmp_path: Path) -> None:
    a_folder(tmp_path / "b", "beta", "gamma")
    state = a_folder(tmp_path / "a", "alpha")
    remember(state)
    assert [one["name"] for one in listed()] == ["alpha", "beta", "gamma"]
    assert [one["name"] for one in listed("--state", str(state.root))] == ["alpha", "beta", "gamma"]


def test_the_folder_of_the_option_is_listed_though_nobody_noted_it(serving) -> None:
    assert listed() == []
    assert [one["name"] for one in listed("--state", str(serving.state.root))] == [SYSTEM]


def test_a_folder_that_is_gone_is_dropped_from_the_notes(tmp_path: Path, notes: Path) -> None:
    gone, stays = a_folder(tmp_path / "gone", "alpha"), a_folder(tmp_path / "stays", "beta")
    shutil.rmtree(gone.root)
    assert [one["name"] for one in listed()] == ["beta"]
    assert len(list(notes.iterdir())) == 1
    assert known_folders() == [stays]


def test_a_note_that_says_nothing_is_dropped(tmp_path: Path, notes: Path) -> None:
    a_folder(tmp_path / "a", "alpha")
    (notes / "broken.json").write_bytes(b"{")
    assert [one["name"] for one in listed()] == ["alpha"]
    assert not (notes / "broken.json").exists()


def test_what_was_only_trained_is_told_as_such(tmp_path: Path) -> None:
    state = StateDir(tmp_path / "trained")
    state.prepare(SystemName("churn"))
    remember(state)
    store = SqliteStore(state.store)
    trigger = Trigger(TriggerKind.MANUAL, datetime(2026, 1, 1, tzinfo=UTC), "capstan train")
    store.put(run_record(TrainingRequest(RunName("r1"), SystemName("churn"), trigger, None, seed=0)))
    store.close()
    (one,) = listed()
    assert (one["name"], one["phase"], one["champion"]) == ("churn", None, None)
    assert "only trained" in CliRunner().invoke(app, ["ls"]).output


def test_a_store_that_cannot_be_read_keeps_no_other_from_the_list(tmp_path: Path) -> None:
    a_folder(tmp_path / "good", "alpha")
    broken = a_folder(tmp_path / "broken", "beta")
    broken.store.write_bytes(b"no database" * 500)
    broken.store.with_name("state.db-wal").unlink(missing_ok=True)
    first, second = listed()
    assert first["problem"]
    assert first["state"] == str(broken.root)
    assert second["name"] == "alpha"
    shown = CliRunner().invoke(app, ["ls"])
    assert "unreadable" in shown.output
    assert shown.exit_code == 0


def test_where_nothing_ever_ran_the_way_is_told() -> None:
    result = CliRunner().invoke(app, ["ls"])
    assert (result.exit_code, result.output) == (0, "no system yet; `capstan up FILE` starts one\n")


def test_a_home_that_cannot_be_written_does_not_stop_anything(tmp_path: Path, notes: Path) -> None:
    notes.parent.parent.write_text("a file where a folder should be")
    assert a_folder(tmp_path / "a", "alpha").store.exists()
    assert listed() == []


def test_a_relative_folder_of_xdg_is_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "state")
    monkeypatch.setenv("HOME", str(tmp_path / "person"))
    a_folder(tmp_path / "a", "alpha")
    assert len(list((tmp_path / "person/.local/state/capstan/folders").iterdir())) == 1
    assert [one["name"] for one in listed()] == ["alpha"]


@pytest.fixture
def kube(monkeypatch: pytest.MonkeyPatch) -> MemoryKube:
    made = MemoryKube()
    for namespace in ("ml", "lab"):
        record = Record(Kind.SYSTEM, SYSTEM, SystemName(SYSTEM), spec=SPEC)
        KubeStore(made, namespace).put(record)
    document = made.get("MLSystem", SYSTEM, "ml")
    assert document is not None
    made.replace({**document, "status": {"phase": "Serving", "champion": {"version": "v7"}}}, sub="status")
    monkeypatch.setattr(place, "connect", lambda context: made)
    monkeypatch.setattr(place, "_context", lambda name: (name or "current", "ml"))
    return made


def test_a_cluster_s_systems_follow_those_of_this_machine(kube: MemoryKube, tmp_path: Path) -> None:
    a_folder(tmp_path / "a", "alpha")
    here, lab, ml = listed("--context", "test")
    assert here["name"] == "alpha"
    assert (lab["namespace"], lab["phase"], lab["champion"]) == ("lab", None, None)
    assert (ml["namespace"], ml["phase"], ml["champion"]) == ("ml", "Serving", "v7")
    assert ml["gateway"] == f"http://{SYSTEM}-gateway.ml.svc"
    assert (ml["context"], ml["state"]) == ("test", None)
    shown = CliRunner().invoke(app, ["ls", "--context", "test"]).output
    assert "ml of test" in shown
    assert "not looked at" in shown


def test_one_namespace_can_be_named(kube: MemoryKube) -> None:
    assert [one["namespace"] for one in listed("--context", "test", "-n", "lab")] == ["lab"]


def test_who_may_not_see_all_namespaces_sees_those_of_the_context_s_own(
    kube: MemoryKube, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_all = kube.list

    def refusing(kind: str, namespace: str | None = None, **settings: object) -> object:
        if namespace is None:
            raise NotAllowedError("not in all namespaces")
        return of_all(kind, namespace, **settings)

    monkeypatch.setattr(kube, "list", refusing)
    assert [one["namespace"] for one in listed("--context", "test")] == ["ml"]


def test_a_namespace_without_a_cluster_is_refused() -> None:
    result = CliRunner().invoke(app, ["ls", "-n", "ml"])
    assert result.exit_code == 1
    assert "name the cluster too" in result.output


def test_what_tests_run_is_noted_in_no_home_but_a_temporary_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """`tests/conftest.py` sees to it: else `capstan ls` would list the systems of tests to whoever ran them."""
    monkeypatch.undo()
    own = own_folder()
    assert own is not None
    assert own.is_relative_to(tempfile.gettempdir())
    assert os.environ["XDG_STATE_HOME"] == str(own.parent), "processes that tests start note there too"
