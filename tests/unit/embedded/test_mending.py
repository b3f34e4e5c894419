"""A first training that failed is tried again once the file, a table or the code beside it was mended."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from simulation.world import SPEC, SYSTEM, World

from capstan.domain.actions import Verb
from capstan.domain.training import RunPhase, RunStatus, StepProgress, TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName
from capstan.embedded.first_model import is_stuck, try_again, why_it_failed
from capstan.embedded.layout import StateDir
from capstan.embedded.live import Live, changed_file, note_live
from capstan.embedded.mending import Mending
from capstan.embedded.wiring import Addresses, spec_document
from capstan.engine.records import system_state
from capstan.errors import CapstanError
from capstan.ports.codec import to_json
from capstan.ports.store import Kind
from capstan.spec import MLSystem, load


class Stuck:
    """A live system whose first training failed, in a folder with its file, a table and a module."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "system.yaml"
        self.document: dict[str, Any] = {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": SYSTEM},
            "spec": copy.deepcopy(SPEC),
        }
        candidates = [{"name": "own", "custom": {"factory": "mine:make"}}]
        self.document["spec"]["training"] = {"candidates": candidates}
        (folder / "flights.csv").write_text("flight_id\n1\n")
        (folder / "mine.py").write_text("def make(): ...\n")
        self.write()
        self.world = World()
        self.world.training = self.world.failed
        self.store, self.name, self.clock = self.world.store, SYSTEM, self.world.clock
        self.system = load(self.file)
        record = self.world.store.get(Kind.SYSTEM, SYSTEM)
        assert record is not None
        self.world.store.put(replace(record, spec=spec_document(self.system)))
        self.state = StateDir(folder / ".capstan")
        self.state.prepare(SystemName(SYSTEM))
        note_live(self.state, self.system)
        self.said: list[str] = []
        self.events: list[str] = []
        self.world.settle()
        self.live = Live(
            self.state,
            self,
            Addresses(),
            lambda *_, **__: lambda: None,
            lambda: False,
            lambda _: None,
            lambda _: None,
            mending=Mending(self.file, lambda: self.events.append("stuck")),
        )

    def write(self) -> None:
        self.file.write_text(json.dumps(self.document))

    def say(self, text: str) -> None:
        self.said.append(text)

    def tell(self, event: object) -> None:
        """Nothing."""

    def look(self) -> bool:
        """Between two looks of the loop; whether the file that runs is left for another."""
        self._serve()
        return self.live._must_leave(self)  # type: ignore[arg-type]

    def _serve(self) -> None:
        self.world.settle()

    @property
    def commands(self) -> list[Verb]:
        record = self.store.get(Kind.SYSTEM, SYSTEM)
        assert record is not None
        return [command.verb for command in system_state(record).commands]


@pytest.fixture
def stuck(tmp_path: Path) -> Stuck:
    return Stuck(tmp_path)


def test_what_failed_is_told_once_with_what_to_mend(stuck: Stuck) -> None:
    assert not stuck.look()
    assert not stuck.look()
    assert stuck.said[0] == "the first model could not be trained: check: distance has 3 values below 1"
    assert str(stuck.file) in stuck.said[1]
    assert len(stuck.said) == 2
    assert stuck.events == ["stuck"]


def test_each_step_of_a_training_is_told_once_when_it_begins_and_when_it_ends(stuck: Stuck) -> None:
    """Minutes passed without a line."""
    began = stuck.clock.now()
    steps = [StepProgress("fit", RunPhase.RUNNING, began)]

    class Pipelines:
        def status(self, run: RunName) -> RunStatus:
            return RunStatus(RunPhase.RUNNING, steps=tuple(steps))

    clock = iter(range(0, 100, 2))
    stuck.live.seconds = lambda: float(next(clock))
    record = stuck.store.get(Kind.SYSTEM, SYSTEM)
    assert record is not None
    trigger = Trigger(TriggerKind.INITIAL, began, "the first model")
    request = TrainingRequest(RunName("toy-1"), SystemName(SYSTEM), trigger, None, 7)
    status = {**record.status, "state": to_json(replace(system_state(record), run=request))}
    stuck.store.put(replace(record, status=status))
    stuck.pipelines = Pipelines()  # type: ignore[attr-defined]

    def look() -> list[str]:
        stuck.said.clear()
        stuck.live._must_leave(stuck)  # type: ignore[arg-type]
        return list(stuck.said)

    assert look() == ["step fit: runs"]
    assert look() == []
    steps[:] = [
        StepProgress("fit", RunPhase.SUCCEEDED, began, began + timedelta(seconds=65), "3 candidates\nmore"),
        StepProgress("register", RunPhase.RUNNING, began),
    ]
    assert look() == ["step fit: ok in 1 min 5 s 3 candidates", "step register: runs"]
    assert look() == []
    # Those of a later training are told too, and nobody looks at them twice within two seconds.
    stuck.live.is_serving = True
    steps[-1] = StepProgress("register", RunPhase.SUCCEEDED, began, began + timedelta(seconds=3))
    stuck.live.seconds = lambda: 12.5
    assert look() == ["step register: ok in 3 s"]
    steps.append(StepProgress("package", RunPhase.RUNNING, began))
    assert look() == []
    stuck.live.seconds = lambda: 14.5
    assert look() == ["step package: runs"]


def test_without_somebody_to_wait_for_the_run_ends(stuck: Stuck) -> None:
    stuck.live.mending = None
    with pytest.raises(CapstanError, match="distance has 3 values below 1"):
        stuck.look()


def test_the_mended_file_is_taken_and_trained_by_at_once(stuck: Stuck) -> None:
    stuck.look()
    stuck.document["spec"]["features"].append({"name": "carrier", "categorical": {}})
    stuck.write()
    stuck.look()
    changed = changed_file(stuck)  # type: ignore[arg-type]
    assert changed is not None
    assert [feature.name for feature in changed.spec.features] == ["distance", "carrier"]
    assert stuck.live._is_mended
    told = len(stuck.said)
    assert stuck.look()
    assert len(stuck.said) == told
    stuck.world.training = None
    try_again(stuck, mended=True)  # type: ignore[arg-type]
    stuck.world.settle()
    assert stuck.world.champion == "v1"


@pytest.mark.parametrize("name", ["flights.csv", "mine.py"])
def test_a_table_or_code_that_was_mended_is_tried_again_by_the_same_file(stuck: Stuck, name: str) -> None:
    stuck.look()
    stuck.world.training = None
    (stuck.folder / name).write_text("mended, and longer than before\n")
    assert not stuck.look()
    assert stuck.said[-1] == "what the file reads was changed; the training begins anew"
    stuck.look()
    assert stuck.world.champion == "v1"


def test_a_table_that_was_not_there_and_comes_is_seen(stuck: Stuck) -> None:
    (stuck.folder / "flights.csv").unlink()
    stuck.look()
    stuck.world.training = None
    (stuck.folder / "flights.csv").write_text("flight_id\n1\n")
    stuck.look()
    stuck.look()
    assert stuck.world.champion == "v1"


def test_a_file_that_is_still_wrong_is_told_with_its_field_and_waited_for(stuck: Stuck) -> None:
    stuck.look()
    before = copy.deepcopy(stuck.document)
    stuck.document["spec"]["rollout"]["steps"][1]["canary"]["weight"] = 140
    stuck.write()
    assert not stuck.look()
    assert "still wrong" in stuck.said[-1]
    assert "rollout.steps[1].canary.weight" in stuck.said[-1]
    count = len(stuck.said)
    stuck.look()
    assert len(stuck.said) == count
    stuck.document = before
    stuck.write()
    stuck.world.training = None
    stuck.look()
    stuck.look()
    assert stuck.world.champion == "v1"


def test_a_file_about_another_system_is_not_taken(stuck: Stuck) -> None:
    stuck.look()
    stuck.document["metadata"]["name"] = "trains"
    stuck.write()
    stuck.look()
    assert stuck.said[-1] == "the file was changed, and is about trains now, not about flights"
    assert changed_file(stuck) is None  # type: ignore[arg-type]


def test_a_second_failure_after_mending_is_told_again(stuck: Stuck) -> None:
    stuck.look()
    (stuck.folder / "flights.csv").write_text("flight_id\n2\n3\n")
    stuck.look()
    stuck.look()
    assert [line for line in stuck.said if line.startswith("the first model could not")] == [
        "the first model could not be trained: check: distance has 3 values below 1"
    ] * 2
    assert stuck.events == ["stuck"]


def test_models_that_miss_their_gates_wait_for_a_mended_file_too(tmp_path: Path) -> None:
    stuck = Stuck(tmp_path)
    stuck.world.training = None
    stuck.world.gates_pass = False
    (tmp_path / "flights.csv").write_text("flight_id\n2\n3\n")
    try_again(stuck)  # type: ignore[arg-type]
    stuck.look()
    assert "rocAuc 0.7 against nobody: missed" in stuck.said[0]
    stuck.world.gates_pass = True
    stuck.document["spec"]["features"].append({"name": "carrier", "categorical": {}})
    stuck.write()
    stuck.look()
    assert stuck.live._is_mended
    try_again(stuck, mended=True)  # type: ignore[arg-type]
    assert stuck.commands == [Verb.APPROVE]
    stuck.world.settle()
    assert stuck.world.champion.startswith("v")


def test_once_a_model_serves_nothing_is_waited_for(stuck: Stuck) -> None:
    stuck.look()
    stuck.world.training = None
    (stuck.folder / "flights.csv").write_text("flight_id\n2\n3\n")
    stuck.look()
    stuck.look()
    assert stuck.live.is_serving
    assert stuck.live.mending is not None
    assert not stuck.live.mending.is_stuck


def test_a_system_that_trains_or_serves_is_not_stuck() -> None:
    world = World()
    world.start()
    record = world.store.get(Kind.SYSTEM, SYSTEM)
    assert record is not None
    assert not is_stuck(system_state(record))


def test_the_reason_of_a_failure_is_the_story_s_last(stuck: Stuck) -> None:
    assert why_it_failed(stuck) == "check: distance has 3 values below 1"  # type: ignore[arg-type]


def test_a_mended_file_is_read_from_its_own_folder(stuck: Stuck) -> None:
    mending = Mending(stuck.file)
    mending.begin(stuck.system, "why", stuck.say)
    assert mending.mended(stuck.system, stuck.say) is None
    stuck.document["spec"]["retraining"]["cooldown"] = "7d"
    stuck.write()
    changed: MLSystem | None = mending.mended(stuck.system, stuck.say)
    assert changed is not None
    assert changed.base_dir == stuck.folder
