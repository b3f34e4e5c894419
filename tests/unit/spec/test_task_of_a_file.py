"""What a file leaves out is its task's: candidates, metrics, and numbers in the unit of a metric."""

from __future__ import annotations

from typing import Any

import pytest

from capstan.errors import InvalidSpecError
from capstan.spec import MLSystem
from capstan.spec.loading import parse

REGRESSION = {"task": "Regression", "target": "minutes", "losses": {"maximumError": 180}}


def system(objective: dict[str, Any], **parts: Any) -> MLSystem:
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "toy"},
        "spec": {
            "objective": objective,
            "data": {
                "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
                "keys": {"id": "id", "time": "at"},
                "label": {"column": objective["target"], "availableAt": "known_at"},
            },
            "features": [{"name": "x", "numeric": {}}],
            **parts,
        },
    }
    from pathlib import Path

    return parse(document, base_dir=Path())


def test_a_number_is_learnt_by_the_families_that_can_and_compared_by_squared_errors() -> None:
    spec = system(REGRESSION).spec
    assert [one.key for one in spec.training.candidates] == [
        "mostFrequent",
        "linearRegression",
        "gradientBoosting",
    ]
    assert (spec.training.choose.metric, spec.monitoring.quality.metric) == ("rmse", "rmse")
    assert [one.metric for one in spec.rollout.analyses] == ["squaredError"]


def test_what_two_classes_are_learnt_by_is_as_it_was() -> None:
    spec = system({"task": "BinaryClassification", "target": "late"}).spec
    assert [one.name for one in spec.training.candidates] == ["baseline", "logistic", "trees"]
    assert spec.rollout.analyses[0].margin == 0.01
    assert spec.monitoring.quality.max_drop == 0.05


@pytest.mark.parametrize(
    ("metric", "margin"),
    [
        ("squaredError", 0.002 * 180**2),
        ("absoluteError", 1.8),
        ("huber", 0.001 * 180**2),
        ("quantileLoss", 0.9),
    ],
)
def test_a_margin_that_is_left_out_is_in_the_unit_of_its_loss(metric: str, margin: float) -> None:
    rollout = {"analyses": [{"name": "quality", "metric": metric}]}
    assert system(REGRESSION, rollout=rollout).spec.rollout.analyses[0].margin == pytest.approx(margin)


ERRORS = {"currency": "$", "over": -2, "under": -5}
CLASSES = {"right": 1, "wrong": -5, "pairs": [{"label": "fraud", "answer": "fine", "worth": -500}]}


@pytest.mark.parametrize(
    ("objective", "drop", "margin"),
    [
        ({**REGRESSION, "value": ERRORS}, 18, 4.5),
        ({"task": "MulticlassClassification", "target": "band", "value": CLASSES}, 10.02, 2.505),
    ],
    ids=["numbers", "classes"],
)
def test_value_may_be_named_wherever_a_metric_stands_once_the_objective_states_it(
    objective: dict[str, Any], drop: float, margin: float
) -> None:
    named: dict[str, Any] = {
        "training": {"choose": {"metric": "value"}},
        "evaluation": {"gates": [{"metric": "value", "margin": 0.5}]},
        "monitoring": {"quality": {"metric": "value"}},
        "rollout": {
            "analyses": [{"name": "quality", "metric": "value"}],
            "steps": [
                {"shadow": {"analyses": ["quality"]}},
                {"experiment": {"weight": 50, "metric": "value"}},
            ],
        },
    }
    spec = system(objective, **named).spec
    assert spec.monitoring.quality.max_drop == pytest.approx(drop)
    assert spec.rollout.analyses[0].margin == pytest.approx(margin)
    without = {key: part for key, part in objective.items() if key != "value"}
    with pytest.raises(InvalidSpecError, match=r"'value' needs objective\.value") as told:
        system(without, **named)
    assert len(told.value.mistakes) == 5


@pytest.mark.parametrize(
    ("objective", "told"),
    [
        ({**REGRESSION, "value": CLASSES}, "holds no worth of an answer of Regression; write over, under"),
        (
            {"task": "MulticlassClassification", "target": "band", "value": ERRORS},
            "holds no worth of an answer of MulticlassClassification; write right, wrong, pairs",
        ),
        (
            {"task": "BinaryClassification", "target": "late", "value": ERRORS},
            "holds no worth of an answer of BinaryClassification; write truePositive",
        ),
        (
            {"task": "Ranking", "target": "clicked", "value": ERRORS},
            "is not for Ranking, where no single answer is worth anything; drop it",
        ),
    ],
)
def test_worths_of_another_tasks_answers_are_refused(objective: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidSpecError, match=told):
        system(objective)


@pytest.mark.parametrize(("metric", "drop"), [("rmse", 9), ("mae", 9), ("r2", 0.05), ("mape", 0.05)])
def test_a_drop_that_is_left_out_is_in_the_unit_of_its_metric(metric: str, drop: float) -> None:
    spec = system(REGRESSION, monitoring={"quality": {"metric": metric}}).spec
    assert spec.monitoring.quality.max_drop == pytest.approx(drop)


def test_what_is_written_goes_before_what_the_task_knows() -> None:
    spec = system(
        REGRESSION,
        training={"candidates": [{"name": "only", "gradientBoosting": {}}], "choose": {"metric": "mae"}},
        rollout={"analyses": [{"name": "quality", "margin": 3}]},
        monitoring={"quality": {"maxDrop": 2}},
    ).spec
    assert [one.name for one in spec.training.candidates] == ["only"]
    assert spec.training.choose.metric == "mae"
    assert (spec.rollout.analyses[0].margin, spec.monitoring.quality.max_drop) == (3, 2)


def test_what_was_left_out_is_still_left_out_when_the_file_is_written_again() -> None:
    written = system(REGRESSION).to_yaml()
    for key in ("candidates", "margin", "maxDrop", "metric"):
        assert key not in written


def test_a_number_without_its_losses_is_refused_with_the_line_to_write() -> None:
    with pytest.raises(
        InvalidSpecError, match=r"has no losses, which Regression needs; add `losses: \{maximumError"
    ) as told:
        system({"task": "Regression", "target": "minutes"})
    assert "in units of minutes" in str(told.value)


def test_a_family_that_can_not_learn_numbers_is_refused_by_name() -> None:
    training = {"candidates": [{"name": "line", "logisticRegression": {}}]}
    with pytest.raises(
        InvalidSpecError, match="can't learn the labels of Regression \\(candidate 'line'\\)"
    ) as told:
        system(REGRESSION, training=training)
    assert "these can: mostFrequent, linearRegression, nearestNeighbors, decisionTree, " in str(told.value)
    assert "naiveBayes" not in str(told.value)


def test_a_metric_of_another_task_is_refused_and_nothing_breaks_before() -> None:
    with pytest.raises(InvalidSpecError, match="'rocAuc' is not a metric of Regression"):
        system(REGRESSION, monitoring={"quality": {"metric": "rocAuc"}})


@pytest.mark.parametrize(
    ("objective", "keys", "metric", "words"),
    [
        (REGRESSION, {}, "r2", "'r2' can't be estimated without labels; write one of rmse, mae, "),
        (REGRESSION, {}, "mape", "as monitoring.quality.metric, or drop the alert"),
        (
            {"task": "Ranking", "target": "bought"},
            {"group": "search"},
            "ndcgAt5",
            "no metric of Ranking can be",
        ),
    ],
    ids=["r2", "mape", "ranking"],
)
def test_an_alert_by_what_can_never_be_estimated_is_refused(
    objective: dict[str, Any], keys: dict[str, str], metric: str, words: str
) -> None:
    """Else its only effect would be MonitorBlind, some weeks later."""
    data = {
        "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
        "keys": {"id": "id", "time": "at", **keys},
        "label": {"column": objective["target"], "availableAt": "known_at"},
    }
    watched = {"quality": {"metric": metric}, "estimate": {"alert": True}}
    with pytest.raises(InvalidSpecError) as refused:
        system(objective, data=data, monitoring=watched)
    assert [mistake.path for mistake in refused.value.mistakes] == ["monitoring.estimate.alert"]
    assert words in str(refused.value)
    system(objective, data=data, monitoring={"quality": {"metric": metric}})


@pytest.mark.parametrize(
    "objective",
    [
        {"task": "BinaryClassification", "target": "late"},
        {"task": "MulticlassClassification", "target": "band", "value": CLASSES},
        {**REGRESSION, "value": ERRORS},
        {"task": "Ranking", "target": "bought"},
    ],
    ids=lambda objective: objective["task"],
)
def test_what_the_file_takes_for_estimable_is_what_the_task_can_estimate(objective: dict[str, Any]) -> None:
    from capstan.spec.objective import Objective
    from capstan.tasks import TASKS

    stated = Objective.model_validate(objective)
    task = TASKS[stated.task].with_objective(stated)
    able = [
        name
        for name, one in task.metrics.items()
        if task.facts.label in ("Boolean", "Category") or one.mean_loss is not None
    ]
    assert list(stated.facts.estimable_names) == able


@pytest.mark.parametrize(
    ("objective", "monitoring", "path", "words"),
    [
        (
            REGRESSION,
            {"quality": {"concept": "DDM"}},
            "monitoring.quality.concept",
            "Regression has none; write ADWIN",
        ),
        (
            {"task": "BinaryClassification", "target": "late"},
            {"estimate": {"alert": True, "enabled": False}},
            "monitoring.estimate.alert",
            "is of estimates, which the file turns off",
        ),
    ],
    ids=["DDM of numbers", "alert by no estimate"],
)
def test_what_could_never_alarm_is_refused(
    objective: dict[str, Any], monitoring: dict[str, Any], path: str, words: str
) -> None:
    data = {
        "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
        "keys": {"id": "id", "time": "at"},
        "label": {"column": objective["target"], "availableAt": "known_at"},
    }
    with pytest.raises(InvalidSpecError) as refused:
        system(objective, data=data, monitoring=monitoring)
    assert [mistake.path for mistake in refused.value.mistakes] == [path]
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("objective", "quality", "metric"),
    [
        ({"task": "BinaryClassification", "target": "late"}, {"concept": "DDM"}, "brierScore"),
        ({"task": "BinaryClassification", "target": "late"}, {"concept": "ADWIN"}, "logLoss"),
        ({"task": "MulticlassClassification", "target": "band"}, {"concept": "DDM"}, "accuracy"),
        (REGRESSION, {"concept": "PageHinkley", "metric": "absoluteError"}, "absoluteError"),
    ],
    ids=["DDM of yes or no", "ROC-AUC has no losses", "DDM of classes", "the watched metric"],
)
def test_a_detector_of_concept_drift_looks_at_losses_of_single_rows(
    objective: dict[str, Any], quality: dict[str, Any], metric: str
) -> None:
    data = {
        "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
        "keys": {"id": "id", "time": "at"},
        "label": {"column": objective["target"], "availableAt": "known_at"},
    }
    assert system(objective, data=data, monitoring={"quality": quality}).spec.concept_metric == metric


def test_an_ensemble_stands_behind_what_it_is_made_of() -> None:
    members = [{"name": "line", "linearRegression": {}}, {"name": "trees", "gradientBoosting": {}}]
    stack = {"name": "both", "stacking": {"of": ["line", "trees"], "final": "line"}}
    spec = system(REGRESSION, training={"candidates": [*members, stack]}).spec
    assert spec.training.candidates[2].chosen.made_of == ("line", "trees", "line")
    with pytest.raises(
        InvalidSpecError, match="'trees' stands behind 'both', which is made of it; move it before"
    ):
        system(REGRESSION, training={"candidates": [members[0], stack, members[1]]})
    wrong = {"name": "both", "stacking": {"of": ["line", "trees"], "final": "last"}}
    with pytest.raises(
        InvalidSpecError, match=r"stacking\.final: 'last' is no candidate; before it stand line, trees"
    ):
        system(REGRESSION, training={"candidates": [*members, wrong]})
