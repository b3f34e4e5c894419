"""What `capstan train` made is served by `capstan up`, where the same file would train it again."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from simulation.world import START, SYSTEM, World

from capstan.adapters.sqlite.store import SqliteStore
from capstan.domain.versions import SystemName
from capstan.embedded.first_model import serve_trained, trained_before
from capstan.embedded.layout import StateDir
from capstan.embedded.training import request_for, run_to_end
from capstan.embedded.wiring import spec_document
from capstan.ports.store import Kind
from capstan.spec import MLSystem, parse
from capstan.spec.presence import named_files
from capstan.training.job import REQUEST, Places, write_job
from capstan.verbs.planning import plan_on_machine


class Trained:
    """A folder in which `capstan train` ran once, and the loop that starts there."""

    def __init__(self, root: Path, *, gates_pass: bool = True, spec: dict[str, Any] | None = None) -> None:
        self.world = World(spec)
        self.world.gates_pass = gates_pass
        self.state = StateDir(root / ".capstan")
        self.state.prepare(SystemName(SYSTEM))
        self.folder = root
        record = self.world.store.get(Kind.SYSTEM, SYSTEM)
        assert record is not None
        self.document = {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": SYSTEM},
            "spec": copy.deepcopy(dict(record.spec)),
        }
        self.said: list[str] = []

    @property
    def system(self) -> MLSystem:
        return parse(copy.deepcopy(self.document), base_dir=self.folder)

    def train(self) -> str:
        """As `capstan train` does it; the version's name."""
        system, world = self.system, self.world
        request = request_for(system, world.store, as_of=world.clock.now())
        trained = run_to_end(world.pipelines, world.store, request, world.clock.now, lambda _: True)
        places = Places(str(self.folder.resolve()), "", "", "", "")
        document = spec_document(system)
        folder = self.state.runs(SystemName(SYSTEM)) / request.run
        write_job(folder, request=request, spec=document, places=places, champion=None)
        assert trained.status.version is not None
        return str(trained.status.version.name)

    def up(self) -> None:
        """As `capstan up` begins."""
        local = SimpleNamespace(
            store=self.world.store,
            name=SYSTEM,
            state=self.state,
            system=self.system,
            clock=self.world.clock,
        )
        serve_trained(local, self.said.append)  # type: ignore[arg-type]
        self.world.settle()

    @property
    def runs_of_the_loop(self) -> int:
        return sum(request.trigger.reason != "capstan train" for request in self.world.pipelines.started)


def test_what_was_trained_is_served_and_nothing_is_trained_anew(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    version = trained.train()
    trained.up()
    assert trained.world.champion == version == "v1"
    assert trained.runs_of_the_loop == 0
    assert "v1" in trained.said[0]
    assert "`capstan train` made it by this file" in trained.said[0]
    (why,) = trained.world.messages("RolloutRequested")
    assert why == (
        "capstan up asked for v1 as the first champion: `capstan train` made it by this file, and it passed its gates"
    )


def test_a_table_that_was_written_since_is_told(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    (_, path), *_ = named_files(trained.system)
    table = tmp_path / path
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_bytes(b"old")
    run = trained.state.runs(SystemName(SYSTEM))
    version = trained.train()
    (request,) = run.glob(f"*/{REQUEST}")
    os.utime(table, (request.stat().st_mtime - 5,) * 2)
    found = trained_before(trained.system, trained.state, trained.world.store)
    assert found is not None
    assert found.stale == ""
    os.utime(table, (request.stat().st_mtime + 5,) * 2)
    trained.up()
    assert trained.world.champion == version
    assert f"{path} changed after it was trained, and `capstan retrain` learns from that" in trained.said[0]


def test_again_up_asks_for_nothing(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    trained.train()
    trained.up()
    trained.up()
    assert len(trained.said) == 1


def test_the_newest_of_several_is_served(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    trained.train()
    trained.world.clock.advance(timedelta(hours=1))
    assert trained.train() == "v2"
    trained.up()
    assert trained.world.champion == "v2"


def test_one_that_missed_its_gates_stays_out_and_the_loop_trains(tmp_path: Path) -> None:
    trained = Trained(tmp_path, gates_pass=False)
    trained.train()
    trained.world.gates_pass = True
    trained.up()
    assert trained.said == [
        "v1 (its choice, of "
        + trained.world.pipelines.started[0].run
        + ") is not served: it missed its gates: "
        "rocAuc 0.7 against nobody: missed; a first model is trained"
    ]
    assert trained.world.champion == "v2"


def _other_target(spec: dict[str, Any]) -> None:
    spec["objective"]["target"] = "cancelled"
    spec["data"]["label"]["column"] = "cancelled"


CHANGES: list[tuple[str, Callable[[dict[str, Any]], None], str]] = [
    (
        "a feature",
        lambda spec: spec["features"].append({"name": "carrier", "categorical": {}}),
        "features[carrier]",
    ),
    ("the query", lambda spec: spec["data"].update(query="select * from flights"), "data.query"),
    (
        "a gate",
        lambda spec: spec.update(evaluation={"gates": [{"metric": "rocAuc", "min": 0.9}]}),
        "evaluation",
    ),
    ("the target", _other_target, "objective.target"),
]


@pytest.mark.parametrize(("change", "where"), [pytest.param(*case[1:], id=case[0]) for case in CHANGES])
def test_a_file_that_would_train_another_model_trains_it(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], where: str
) -> None:
    trained = Trained(tmp_path)
    trained.train()
    change(trained.document["spec"])
    found = trained_before(trained.system, trained.state, trained.world.store)
    assert found is not None
    assert found.kept_out.startswith(f"the file was changed since: {where}")


def test_a_changed_rollout_keeps_the_model(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    trained.train()
    trained.document["spec"]["retraining"]["cooldown"] = "7d"
    trained.document["spec"]["objective"]["business"] = "Land in time"
    found = trained_before(trained.system, trained.state, trained.world.store)
    assert found is not None
    assert found.kept_out == ""


def test_an_older_one_that_the_file_made_goes_before_a_newer_that_it_did_not(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    trained.train()
    trained.world.clock.advance(timedelta(hours=1))
    before = copy.deepcopy(trained.document)
    trained.document["spec"]["features"].append({"name": "carrier", "categorical": {}})
    trained.train()
    trained.document = before
    trained.up()
    assert trained.world.champion == "v1"


def test_a_run_whose_folder_is_gone_is_not_trusted(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    trained.train()
    run = trained.world.pipelines.started[0].run
    (trained.state.runs(SystemName(SYSTEM)) / run / "spec.json").unlink()
    found = trained_before(trained.system, trained.state, trained.world.store)
    assert found is not None
    assert found.kept_out == "what it was trained by can't be read any more"


def test_the_same_file_in_another_folder_reads_other_tables(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    trained.train()
    elsewhere = parse(copy.deepcopy(trained.document), base_dir=tmp_path / "elsewhere")
    found = trained_before(elsewhere, trained.state, trained.world.store)
    assert found is not None
    assert found.kept_out == f"it was trained by a file in {tmp_path}"


def test_changed_code_beside_the_file_trains_anew(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    own = {"name": "own", "custom": {"factory": "mine:make"}}
    trained.document["spec"]["training"] = {"candidates": [own]}
    (tmp_path / "mine.py").write_text("def make():\n    return 1\n")
    trained.train()
    run = trained.world.pipelines.started[0].run
    carried = trained.state.runs(SystemName(SYSTEM)) / run / "factories"
    carried.mkdir()
    (carried / "mine.py").write_text((tmp_path / "mine.py").read_text())
    found = trained_before(trained.system, trained.state, trained.world.store)
    assert found is not None
    assert found.kept_out == ""
    (tmp_path / "mine.py").write_text("def make():\n    return 2\n")
    found = trained_before(trained.system, trained.state, trained.world.store)
    assert found is not None
    assert found.kept_out == "code beside the file was changed since"


def test_a_system_that_is_suspended_or_paused_begins_nothing(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    trained.train()
    trained.document["spec"]["suspend"] = True
    trained.up()
    assert trained.said == []


def test_a_system_whose_own_training_failed_is_left_to_its_loop(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    trained.world.training = trained.world.failed
    trained.world.settle()
    trained.world.training = None
    trained.train()
    trained.up()
    assert trained.said == []


def test_where_nothing_was_trained_nothing_is_said(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    assert trained_before(trained.system, trained.state, trained.world.store) is None
    trained.up()
    assert (trained.said, trained.world.champion) == ([], "v1")


def test_plan_says_what_becomes_of_it(tmp_path: Path) -> None:
    trained = Trained(tmp_path)
    trained.train()
    store = SqliteStore(trained.state.store)
    for record in trained.world.store.list(Kind.RUN):
        store.put(replace(record, resource_version=0))
    store.close()
    served, _ = plan_on_machine(trained.system, trained.state, now=START).consequences
    assert served.startswith("v1 (its choice, of flights-train-")
    assert "is served, and nothing is trained: `capstan train` made it by this file" in served
    trained.document["spec"]["features"].append({"name": "carrier", "categorical": {}})
    anew, _ = plan_on_machine(trained.system, trained.state, now=START).consequences
    assert anew.startswith("a first model is trained, packaged and served, for v1")
    assert "the file was changed since: features[carrier]" in anew
