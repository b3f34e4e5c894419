"""A search is a candidate of a run like any other: fitted, measured, chosen, refitted, told and kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pytest
from unit.pipelines.test_own_metric import Trained, document, write_home

from capstan.domain.versions import VersionName
from capstan.evaluation.card.page import card_html
from capstan.training.job import Job
from capstan.training.result import read_result
from capstan.training.search import TrialState
from capstan_pipelines.steps import fit, register
from capstan_pipelines.steps.cases import Parted
from capstan_pipelines.steps.register import Made

TRIALS = 6


def searching() -> dict[str, Any]:
    """A stump and a line that is held back, and the search of both."""
    made = document(choose={"metric": "rocAuc"})
    made["spec"]["training"]["candidates"] = [
        {"name": "line", "logisticRegression": {"l2": 5}},
        {"name": "stump", "decisionTree": {"maxDepth": 1}},
        {"name": "near", "nearestNeighbors": {"neighbors": 4, "tune": {"trials": 3}}},
        {"name": "best", "search": {"of": ["stump", "near"], "trials": TRIALS, "prune": {"rounds": 1}}},
        {"name": "broken", "custom": {"factory": "mymodels:nothing", "parameters": {"depth": 1}}},
        {"name": "lost", "search": {"of": ["broken"], "trials": 2, "ranges": [PARAMETER]}},
    ]
    made["spec"]["evaluation"]["gates"] = []
    return made


PARAMETER = {"of": "broken", "setting": "depth", "min": 1, "max": 9}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_home(tmp_path_factory.mktemp("visits") / "home")


@pytest.fixture(scope="module")
def trained(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    trained = Trained(tmp_path_factory.mktemp("search"), home, searching())
    trained.packaged()
    at = {
        name: str(trained.folder / name) for name in ("job", "runners_up", "report", "choice", "evaluation")
    }
    register.unregistered(*at.values(), str(trained.folder / "package"), str(trained.folder / "result"))
    return trained


def test_it_is_measured_with_what_it_found_and_keeps_every_trial(trained: Trained) -> None:
    best, stump, near = (trained.read(name) for name in ("best", "stump", "near"))
    trials = best["search"]["trials"]
    numbers = [trial["number"] for trial in trials]
    assert len(set(numbers)) == TRIALS
    assert numbers == sorted(numbers)
    assert [trial["written"] for trial in trials] == [True] * 2 + [False] * (TRIALS - 2)
    assert trials[0]["rocAuc"] == pytest.approx(stump["metrics"]["rocAuc"]), "the same rows judge both"
    (taken,) = (trial for trial in trials if trial["number"] == best["search"]["best"])
    assert best["settings"] == {"of": taken["of"], **taken["settings"]}
    assert best["metrics"]["rocAuc"] == pytest.approx(taken["rocAuc"])
    assert best["metrics"]["rocAuc"] > stump["metrics"]["rocAuc"]
    assert best["search"]["counts"]["finished"] + best["search"]["counts"]["pruned"] == TRIALS
    assert len(near["search"]["trials"]) == 3, "`tune` is a search of one candidate"
    assert near["settings"].keys() == {"neighbors", "voting"}
    assert stump["search"] is None
    assert best["cost"]["fit_seconds"] > 0


def test_one_that_finds_nothing_is_a_candidate_that_failed_and_names_why(trained: Trained) -> None:
    failure = trained.read("lost")["failure"]
    assert failure.startswith("none of the 2 trials finished:\n  broken: ")
    assert "nothing" in failure
    assert "lost" in trained.choice["failed"]


def test_what_was_found_is_what_is_refitted_and_registered(home: Path, tmp_path: Path) -> None:
    made = searching()
    made["spec"]["training"]["candidates"] = [*made["spec"]["training"]["candidates"][1:4:2]]
    made["spec"]["training"]["candidates"][1]["search"]["of"] = ["stump"]
    chosen = Trained(tmp_path, home, made)
    (taken,) = chosen.choice["chosen"]
    assert taken["name"] == "best"
    assert taken["settings"]["of"] == "stump"
    assert taken["settings"]["maxDepth"] > 1
    pipeline = joblib.load(chosen.model / "pipeline.joblib")
    assert pipeline.steps[-1][1].model.tree_.node_count > 3, "a stump has three"
    chosen.packaged()
    documents = [chosen.read(name) for name in ("report", "choice", "evaluation", "package")]
    parameters = Made(Job(tmp_path / "job"), *documents).parameters
    assert parameters["settings.of"] == "stump"
    assert float(parameters["settings.maxDepth"]) == taken["settings"]["maxDepth"]
    measured = Made(Job(tmp_path / "job"), *documents).measurements
    assert measured["search_trials.best"] == TRIALS
    assert measured["search_seconds.best"] > 0
    manifests = {0: json.loads((chosen.model / "manifest.json").read_text())}
    card = card_html(Made(Job(tmp_path / "job"), *documents, manifests=manifests).card(VersionName("v7")))
    assert "setting: of" in card
    assert "setting: maxDepth" in card
    candidates = card.partition(">Candidates<")[2].partition(">Confusion, slices and groups<")[0]
    assert all(title in candidates for title in ("Ladder", "Searches", "Best trials of best"))


def test_the_report_says_what_was_tried_and_what_it_cost(trained: Trained) -> None:
    tables = {
        one["title"]: one for one in read_result((trained.folder / "result").read_bytes()).details["tables"]
    }
    assert "best" in tables["Ladder"]["rows"]
    searches = tables["Searches"]
    assert searches["rows"] == ["near", "best"], "what failed is told among the candidates"
    line = dict(zip(searches["columns"], searches["cells"][1], strict=True))
    assert line["trials"] == TRIALS
    assert line["s"] > 0
    assert line["found"] >= line["ROC-AUC written"]
    assert [note.partition(" took trial ")[0] for note in searches["notes"]] == ["near", "best"]
    assert all(note.endswith("; what ended it: its trials.") for note in searches["notes"])
    best = tables["Best trials of best"]
    values = [cells[0] for cells in best["cells"]]
    assert values == sorted(values, reverse=True)
    assert len(values) == trained.read("best")["search"]["counts"]["finished"]
    assert "0 stump: leafRows 20, maxDepth 1" in best["rows"]


def test_whoever_watches_reads_of_every_trial(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = tmp_path / "job"
    shutil.copytree(trained.folder / "job", job)
    shutil.rmtree(job / "studies")
    fit.run(str(job), "best", str(trained.folder / "cases"), str(tmp_path / "best"))
    told = capsys.readouterr().out.splitlines()
    begun = [line for line in told if line.startswith("fit best: trial ")]
    assert len(begun) == TRIALS
    assert begun[0].startswith(f"fit best: trial 1 of {TRIALS}, best rocAuc 0.")
    assert begun[0].endswith(" by stump")
    assert told[-1].startswith("fit best: rocAuc 0.")
    assert f"after {TRIALS} trials" in told[-1]


def test_what_a_search_has_found_is_not_fitted_again_to_be_measured(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fitted_again(*_: Any, **__: Any) -> Any:
        raise AssertionError("the best trial has fitted it")

    monkeypatch.setattr("capstan.training.fitting.fit_candidate", fitted_again)
    job = tmp_path / "job"
    shutil.copytree(trained.folder / "job", job)
    shutil.rmtree(job / "studies")
    fit.run(str(job), "best", str(trained.folder / "cases"), str(tmp_path / "best"))
    found, first = json.loads((tmp_path / "best").read_text()), trained.read("best")
    told = ("metrics", "settings", "interval", "warnings", "failure")
    assert {name: found[name] for name in told} == {name: first[name] for name in told}
    assert found["cost"]["bytes"] > 0
    assert found["cost"]["fit_seconds"] > 0


def test_a_run_that_is_started_again_goes_on_with_its_trials(trained: Trained, tmp_path: Path) -> None:
    """The run's folder keeps a journal of each search; what it holds is not tried again."""
    job = tmp_path / "job"
    shutil.copytree(trained.folder / "job", job)
    journal = job / "studies" / "best.journal"
    before = journal.read_bytes()
    fit.run(str(job), "best", str(trained.folder / "cases"), str(tmp_path / "best"))
    again = json.loads((tmp_path / "best").read_text())
    first = trained.read("best")
    assert again["search"]["trials"] == first["search"]["trials"], "with the seconds of the first start"
    assert again["settings"] == first["settings"]
    assert journal.read_bytes().startswith(before)


def test_trials_are_judged_on_the_validation_rows_alone(trained: Trained, tmp_path: Path) -> None:
    """Other labels of the test rows change nothing; other labels of the validation rows do."""
    parted = Parted.read(trained.folder / "cases")

    def trials(name: str, rows: Any) -> Any:
        labels = parted.table["late"].to_numpy(zero_copy_only=False).copy()
        labels[rows] = ~labels[rows]
        place = parted.table.schema.get_field_index("late")
        table = parted.table.set_column(place, "late", pa.array(labels))
        replace(parted, table=table).write(tmp_path / name / "cases")
        job = tmp_path / name / "job"
        shutil.copytree(trained.folder / "job", job)
        shutil.rmtree(job / "studies")
        fit.run(str(job), "best", str(tmp_path / name / "cases"), str(tmp_path / name / "best"))
        found = json.loads((tmp_path / name / "best").read_text())["search"]["trials"]
        return [(one["of"], one["settings"], one["rocAuc"]) for one in found]

    same = trials("same", np.array([], dtype=int))
    assert trials("test", parted.test) == same
    assert trials("validation", parted.validation[::3]) != same


def test_states_of_trials_are_counted_by_name(trained: Trained) -> None:
    assert trained.read("best")["search"]["counts"].keys() == {state.name.lower() for state in TrialState}


def test_another_run_of_the_same_rows_and_code_takes_over_what_was_tried(
    trained: Trained, tmp_path: Path
) -> None:
    first = trained.read("best")["search"]["trials"]

    def again(run: str, *, code: str) -> Any:
        shutil.copytree(trained.folder / "job", tmp_path / run)
        shutil.rmtree(tmp_path / run / "studies")
        with (tmp_path / run / "factories" / "mymodels.py").open("a") as file:
            file.write(code)
        fit.run(str(tmp_path / run), "best", str(trained.folder / "cases"), str(tmp_path / f"{run}.json"))
        return json.loads((tmp_path / f"{run}.json").read_text())["search"]["trials"]

    shutil.copytree(trained.folder / "job", tmp_path / "first")
    assert again("same", code="") == first, "with the seconds that they took then"
    other = again("other", code="# changed\n")
    assert [one["settings"] for one in other] == [one["settings"] for one in first]
    assert [one["seconds"] for one in other] != [one["seconds"] for one in first]
