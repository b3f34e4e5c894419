"""The ladder of a run tells of every candidate how good it is, how sure that is, and what it costs."""

from __future__ import annotations

import time

import numpy as np
import pytest
from unit.pipelines.test_own_metric import Trained, document, write_home

from capstan.training.cost import fit_cost
from capstan.training.result import read_result
from capstan_pipelines.steps import register
from capstan_pipelines.steps.ladder import ladder


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Simple to complex: a baseline, a tree, trees, and an ensemble of both; and one that fails."""
    made = document(choose={"metric": "rocAuc", "simplestWithin": 0.2})
    made["spec"]["training"]["candidates"] = [
        {"name": "baseline", "mostFrequent": {}},
        {"name": "tree", "decisionTree": {}},
        {"name": "forest", "randomForest": {"trees": 40}},
        {"name": "both", "stacking": {"of": ["tree", "forest"], "folds": 2}},
        {"name": "small", "distil": {"of": "forest", "into": "tree"}},
        {"name": "broken", "custom": {"factory": "mymodels:nothing"}},
    ]
    made["spec"]["evaluation"]["gates"] = []
    home = write_home(tmp_path_factory.mktemp("visits") / "home")
    trained = Trained(tmp_path_factory.mktemp("ladder"), home, made)
    trained.packaged()
    at = {
        name: str(trained.folder / name) for name in ("job", "runners_up", "report", "choice", "evaluation")
    }
    register.unregistered(*at.values(), str(trained.folder / "package"), str(trained.folder / "result"))
    return trained


def test_every_candidate_has_its_metric_with_an_interval_and_what_it_costs(trained: Trained) -> None:
    (found,) = (
        one
        for one in read_result((trained.folder / "result").read_bytes()).details["tables"]
        if one["title"] == "Ladder"
    )
    assert found["whose"] == "the validation rows"
    assert found["rows"] == ["baseline", "tree", "forest", "both", "small", "broken"], (
        "in the order of the file"
    )
    lines = dict(zip(found["rows"], found["cells"], strict=True))
    for name in ("tree", "forest", "both"):
        value, low, high, seconds, row, size, memory = lines[name]
        assert 0.5 < low < value < high < 1
        assert seconds > 0
        assert row > 0
        assert size > 0
        assert memory >= 0
    assert lines["forest"][5] > 5 * lines["tree"][5], "forty trees are larger than one"
    assert lines["both"][5] > lines["forest"][5], "an ensemble carries its members"
    assert lines["forest"][4] > lines["tree"][4], "and forty take longer to ask"
    assert lines["baseline"][3:] == [None] * 4, "it is known without a model"
    assert lines["broken"] == [None] * 7


def test_a_student_stands_beside_its_teacher_and_beside_its_family_without_one(trained: Trained) -> None:
    (found,) = (
        one
        for one in read_result((trained.folder / "result").read_bytes()).details["tables"]
        if one["title"] == "Distilled"
    )
    assert found["rows"] == ["forest, teacher of small", "small", "tree, without a teacher"]
    assert found["columns"] == ["ROC-AUC", "row µs", "size KiB"]
    teacher, student, alone = found["cells"]
    assert student[2] < teacher[2] / 5, "forty trees stay behind"
    assert student[1] < teacher[1]
    assert student[0] != alone[0]
    assert all(0.5 < line[0] < 1 for line in found["cells"])


def test_the_simplest_within_the_margin_is_taken_and_the_ladder_says_so(trained: Trained) -> None:
    assert trained.choice["chosen"][0]["name"] == "tree"
    table = ladder(
        trained.choice["candidates"],
        next(metric for metric in _facts().metrics if metric.name == "rocAuc"),
        trained.choice["reason"],
    )
    assert table["notes"][0].startswith("tree has rocAuc")


def _facts():  # type: ignore[no-untyped-def]
    from capstan.spec.tasks import TASK_FACTS

    return TASK_FACTS["BinaryClassification"]


def test_a_fits_memory_is_what_it_took_while_it_ran() -> None:
    with fit_cost() as nothing:
        time.sleep(0.05)
    with fit_cost() as much:
        held = np.ones(40_000_000)
        time.sleep(0.1)
        del held
    assert much.memory_bytes > 250 * 2**20
    assert nothing.memory_bytes < 100 * 2**20
    assert much.seconds > 0.1


def test_a_table_says_of_which_rows_it_is_where_the_report_is_of_others(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from capstan.cli.tables_shown import print_tables

    print_tables([ladder([], _facts().metrics[0], "nothing")], "the test window")
    printed = capsys.readouterr().out
    assert "Ladder of the validation rows" in printed
    assert "test window" not in printed
