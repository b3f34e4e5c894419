"""What a training tells of its choice: which columns matter, how the answer moves, and whether it learnt by heart."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from unit.pipelines.test_own_metric import Trained, document, write_home

from capstan.training.result import read_result
from capstan_pipelines.steps import register


def file(candidate: dict[str, Any]) -> dict[str, Any]:
    made = deepcopy(document(choose={"metric": "rocAuc"}))
    made["spec"]["training"]["candidates"] = [{"name": "baseline", "mostFrequent": {}}, candidate]
    made["spec"]["features"] = [{"name": "delay", "numeric": {}}, {"name": "side", "categorical": {}}]
    made["spec"]["evaluation"]["gates"] = []
    return made


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    home = write_home(tmp_path_factory.mktemp("visits") / "home")
    return Trained(tmp_path_factory.mktemp("line"), home, file({"name": "line", "logisticRegression": {}}))


@pytest.fixture(scope="module")
def by_heart(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    home = write_home(tmp_path_factory.mktemp("visits") / "home")
    tree = {"name": "tree", "decisionTree": {"maxDepth": 40, "leafRows": 1}}
    return Trained(tmp_path_factory.mktemp("tree"), home, file(tree))


def test_the_column_that_labels_are_made_from_matters_and_the_other_does_not(trained: Trained) -> None:
    found = trained.evaluation["explained"]
    assert found["untold"] == {}
    first, second = found["importances"]
    assert (first["column"], second["column"]) == ("delay", "side")
    assert first["drop"] > 0.2, "of a ROC-AUC near 0.8"
    assert abs(second["drop"]) < 0.02
    means = found["contributions"]["means"]
    assert found["contributions"]["exact"] is True
    assert means["delay"][""] > 10 * means["side"][""]


def test_the_answer_rises_with_what_makes_visits_late(trained: Trained) -> None:
    delay, side = trained.evaluation["explained"]["dependence"]
    assert delay["column"] == "delay"
    assert delay["means"][""] == sorted(delay["means"][""])
    assert delay["means"][""][-1] - delay["means"][""][0] > 0.5
    assert set(side["values"]) == {"left", "right"}


def test_a_learning_curve_ends_with_the_metric_of_the_report(trained: Trained) -> None:
    learning = trained.evaluation["explained"]["learning"]
    rows = [point["rows"] for point in learning["points"]]
    assert len(rows) == 3
    assert rows == sorted(rows)
    assert learning["points"][-1]["new"] == pytest.approx(trained.evaluation["metrics"]["rocAuc"])
    assert learning["baseline"] == 0.5
    assert not learning["overfits"]
    assert not learning["underfits"]


def test_a_tree_that_knows_its_rows_by_heart_is_flagged_in_words(by_heart: Trained) -> None:
    learning = by_heart.evaluation["explained"]["learning"]
    assert learning["overfits"]
    assert learning["points"][-1]["learnt"] > 0.99
    (warning,) = (one for one in by_heart.evaluation["warnings"] if one.startswith("Overfitting"))
    assert "on rows that it learnt from" in warning


def test_the_report_of_the_run_has_the_tables_and_the_warning(by_heart: Trained) -> None:
    by_heart.packaged()
    at = {
        name: str(by_heart.folder / name) for name in ("job", "runners_up", "report", "choice", "evaluation")
    }
    register.unregistered(*at.values(), str(by_heart.folder / "package"), str(by_heart.folder / "result"))
    status = read_result((by_heart.folder / "result").read_bytes())
    tables = {one["title"]: one for one in status.details["tables"]}
    assert tables["Importance of columns"]["columns"] == ["ROC-AUC lost", "standard error", "mean |SHAP|"]
    assert tables["Learning curve"]["rows"][-1] == f"{_learnt(by_heart):,}"
    assert any(one.startswith("Overfitting") for one in status.warnings)


def _learnt(trained: Trained) -> int:
    return int(trained.evaluation["explained"]["learning"]["points"][-1]["rows"])


def test_what_cannot_be_told_says_why_and_the_training_goes_on(
    trained: Trained, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from capstan_pipelines.steps import evaluate, explaining

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no way")

    monkeypatch.setattr(explaining, "explainer_of", broken)
    other = str(tmp_path_factory.mktemp("other") / "evaluation")
    at = [str(trained.folder / name) for name in ("job", "cases", "choice")]
    evaluate.run(*at, other)
    import json
    from pathlib import Path

    found = json.loads(Path(other).read_text())["explained"]
    assert found["untold"] == {"contributions": "RuntimeError: no way"}
    assert found["contributions"] is None
    assert found["importances"], "the rest is told"


def test_a_file_that_wants_no_explanations_gets_the_same_metrics_and_curves_alone(
    trained: Trained, tmp_path_factory: pytest.TempPathFactory
) -> None:
    wanted = file({"name": "line", "logisticRegression": {}})
    wanted["spec"]["evaluation"]["explanations"] = False
    home = write_home(tmp_path_factory.mktemp("visits") / "home")
    silent = Trained(tmp_path_factory.mktemp("silent"), home, wanted)
    found, told = silent.evaluation["explained"], trained.evaluation["explained"]
    assert silent.evaluation["metrics"] == trained.evaluation["metrics"]
    assert silent.evaluation["gates"] == trained.evaluation["gates"]
    assert (found["importances"], found["contributions"], found["dependence"]) == ([], None, [])
    assert (found["learning"], found["untold"]) == (None, {})
    assert found["curves"] == [one for one in told["curves"] if one in found["curves"]] != []
    titles = {table["title"] for table in silent.evaluation["details"]["tables"]}
    assert not titles & {"Importance of columns", "Learning curve"}
