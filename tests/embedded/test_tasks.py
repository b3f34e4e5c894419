"""Every task lives a few weeks with all real parts: trained, served, watched, and its bad challengers are caught.

The tests of a task share one system and go on where the one before stopped, so their order is that of the weeks.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from embedded.faulty import make_faulty
from embedded.running import Running, left_behind
from embedded.task_cases import CASES, SHIFTED, Case, write_case

from capstan.data import extract
from capstan.embedded.layout import StateDir
from capstan.engine import commands
from capstan.recording.outputs import OUTPUT_PREFIX
from capstan.spec.tasks import TaskFacts

pytestmark = [pytest.mark.real, pytest.mark.slow]
WINDOW_DAYS = 4


@pytest.fixture(scope="module", params=CASES)
def task(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def case(task: str) -> Case:
    return CASES[task]


@pytest.fixture(scope="module")
def facts(case: Case) -> TaskFacts:
    return case.facts


@pytest.fixture(scope="module")
def running(case: Case, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("task")
    system = Running(write_case(case, folder), StateDir(folder / ".capstan"))
    try:
        system.start()
        yield system
    finally:
        system.stop()
    assert not left_behind(folder)


def test_a_first_champion_is_trained_judged_by_slices_and_answers_both_protocols(
    running: Running, case: Case, facts: TaskFacts
) -> None:
    (version,) = running.local.registry.versions()
    assert version.metrics.keys() == set(facts.metric_names)
    assert all(np.isfinite(value) for value in version.metrics.values())
    answer = running.ask().json()
    assert case.is_answer(answer["predictions"][0]), answer
    row = running.traffic.row_of(0)
    asked = {
        "inputs": [
            {"name": name, "shape": [1], "datatype": datatype, "data": [row[name]]}
            for name, datatype in (("x", "FP64"), ("z", "FP64"), ("kind", "BYTES"))
        ]
    }  # fmt: skip
    told = httpx.post(
        f"{running.local.addresses.gateway}/v2/models/{running.name}/infer", json=asked, trust_env=False
    )
    assert told.status_code == 200, told.text
    assert {one["name"]: one["datatype"] for one in told.json()["outputs"]} == dict(case.tensors)


def test_answers_and_late_labels_are_kept_in_columns_of_their_own(
    running: Running, case: Case, facts: TaskFacts
) -> None:
    answered = running.days(WINDOW_DAYS + 1)
    assert answered.failed == 0, answered.failures
    running.local.collector.flush()
    payloads, labels = running.state.payloads(running.name), running.state.labels(running.name)
    stored = pq.read_table(next(payloads.rglob("*.parquet")))
    kept = {
        name.removeprefix(OUTPUT_PREFIX) for name in stored.column_names if name.startswith(OUTPUT_PREFIX)
    }
    named = {name.partition(".")[0] if facts_of(facts, name).per_class else name for name in kept}
    assert named == {output.name for output in facts.outputs}
    known = pq.read_table(next(labels.rglob("*.parquet")))
    assert known.num_rows
    assert known.column(case.label_column).null_count == 0


def facts_of(facts: TaskFacts, column: str) -> Any:
    return next(one for one in facts.outputs if column == one.name or column.startswith(f"{one.name}."))


def test_a_calm_window_is_judged_by_the_tasks_own_metric_and_its_outputs_are_watched(
    running: Running, facts: TaskFacts
) -> None:
    window = running.local.monitor.windows()[-1]
    assert window["quality"]["metric"] == facts.chosen_by
    assert window["quality"]["decision"] == "Fine", window["quality"]
    assert window["outputs"]
    assert not any(one["breach"] for one in window["outputs"].values()), window["outputs"]


def test_the_page_names_the_tasks_metrics_and_the_way_they_improve(
    running: Running, case: Case, facts: TaskFacts
) -> None:
    page = httpx.get(
        f"{running.local.addresses.page}/api/state",
        headers={"authorization": f"Bearer {running.state.token('page')}"},
        trust_env=False,
    )
    assert page.status_code == 200, page.text
    told = {one["name"]: (one["title"], one["is_lower_better"]) for one in page.json()["metrics"]}
    assert told == {one.name: (one.title, one.direction == "Lower") for one in facts.metrics}
    (run,) = page.json()["runs"]
    assert tuple(table["title"] for table in run["tables"]) == case.tables
    (version,) = page.json()["versions"]
    assert version["metrics"].keys() == set(facts.metric_names)


def replaced(running: Running, folder: Path, case: Case, fault: str) -> Path:
    """The champion's folder with another model behind its transform."""
    model = shutil.copytree(running.model_of(running.champion), folder / "model")
    pipeline = joblib.load(model / "pipeline.joblib")
    as_of = running.champion.as_of
    table = extract(running.system, as_of=as_of, labels_as_of=as_of)
    table = table.filter(pc.is_valid(table["truth"]))
    transform, fitted = pipeline.steps[0][1], pipeline.steps[-1][1]
    truth = table["truth"].to_numpy(zero_copy_only=False)
    pipeline.steps[-1] = ("model", case.bad[fault](fitted, transform.transform(table), truth))
    joblib.dump(pipeline, model / "pipeline.joblib")
    return model


def rolled_back(running: Running, model: Path, run: str, *, days: int) -> str:
    """Why a challenger with this model was rolled back; no request may fail meanwhile."""
    champion, before = running.champion, running.last_event
    running.inject(model, run)

    def is_over() -> bool:
        return any(event.reason in ("RolledBack", "Promoted") for event in running.events(after=before))

    try:
        answered = running.days_until(is_over, at_most=days)
        told = {event.reason: event.message for event in running.events(after=before)}
        assert "RolledBack" in told, running.story()
        assert answered.failed == 0, answered.failures
        assert running.champion == champion
        return told["AnalysisFailed"]
    finally:
        # What a failed test left in progress must not fail the next one.
        if running.state_now.rollout is not None:
            commands.issue(running.local.store, running.name, "abort")
            running.eventually(lambda: running.state_now.rollout is None)


@pytest.mark.parametrize("fault", sorted({fault for case in CASES.values() for fault in case.bad}))
def test_a_bad_challenger_is_shown_worse_by_the_tasks_own_loss(
    running: Running, case: Case, facts: TaskFacts, fault: str, tmp_path: Path
) -> None:
    why = rolled_back(running, replaced(running, tmp_path, case, fault), fault, days=10)
    assert "shown worse" in why, why
    assert facts.compared_by in why


def test_a_challenger_that_answers_with_no_number_fails_in_the_shadow(
    running: Running, tmp_path: Path
) -> None:
    model = shutil.copytree(running.model_of(running.champion), tmp_path / "model")
    why = rolled_back(running, make_faulty(model, "nan"), "nan", days=4)
    assert "failed" in why, why


def test_another_world_shows_in_outputs_and_labels_of_its_first_window(
    running: Running, facts: TaskFacts
) -> None:
    def is_told() -> bool:
        return any(one["start"] >= SHIFTED.isoformat() and one.get("quality") for one in windows())

    def windows() -> list[dict[str, Any]]:
        return [dict(one) for one in running.local.monitor.windows()]

    running.days_until(is_told, at_most=24)
    window = next(one for one in windows() if one["start"] >= SHIFTED.isoformat() and one.get("quality"))
    assert window["quality"]["decision"] == "Breach", window["quality"]
    worse = facts.metric(facts.chosen_by).sign * (window["quality"]["reference"] - window["quality"]["value"])
    assert worse == pytest.approx(window["quality"]["drop"])
    assert any(one["breach"] for one in window["outputs"].values()), window["outputs"]
