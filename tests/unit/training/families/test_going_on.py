"""A fitted model that goes on with further rows: what it equals, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

from capstan.errors import InvalidDataError
from capstan.spec.families import Candidate
from capstan.spec.tasks import LabelKind
from capstan.testing.lessons import lesson, loss
from capstan.training.families import fit_model, fits_of
from capstan.training.lesson import Lesson


def candidate(family: str, settings: dict[str, Any]) -> Candidate:
    return Candidate.model_validate({"name": "one", family: settings})


def halves(label: LabelKind) -> tuple[Lesson, Lesson]:
    whole = lesson(label, seed=3)
    return whole.chosen(slice(None, 300)), whole.chosen(slice(300, None))


def going_on(one: Candidate, older: Lesson, newer: Lesson, rounds: int | None = None) -> tuple[Any, Any]:
    """The model of the older rows, and that after the newer ones, as a fineTune of it is fitted."""
    parent = fit_model(one, {}, older)
    fine = Candidate.model_validate({"name": "onward", "fineTune": {"of": "one", "rounds": rounds}})
    return parent, fit_model(fine, {}, replace(newer, parent=parent, candidates=fits_of([one])))


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
@pytest.mark.parametrize("label", ["Boolean", "Category"])
def test_naive_bayes_that_goes_on_is_that_of_all_rows(label: LabelKind, weighted: bool) -> None:
    whole = lesson(label, seed=3)
    if weighted:
        whole = replace(whole, weights=np.random.default_rng(0).uniform(0.5, 2, len(whole.truth)))
    one = candidate("naiveBayes", {"smoothing": 0.01})
    _, found = going_on(one, whole.chosen(slice(None, 250)), whole.chosen(slice(250, None)))
    every: Any = fit_model(one, {}, whole)
    np.testing.assert_allclose(
        found.predict_proba(whole.matrix), every.predict_proba(whole.matrix), rtol=1e-9
    )


def test_boosted_trees_go_on_as_scikit_learn_boosts_what_is_left() -> None:
    older, newer = (replace(one, categorical=None) for one in halves("Number"))
    one = candidate("gradientBoosting", {"iterations": 20, "leaves": 7})
    parent, found = going_on(one, older, newer, rounds=6)
    plain = HistGradientBoostingRegressor(max_leaf_nodes=7, max_iter=6, early_stopping=False, random_state=3)
    plain.fit(newer.matrix, newer.truth - parent.predict(newer.matrix))
    expected = parent.predict(newer.matrix) + plain.predict(newer.matrix)
    np.testing.assert_allclose(found.predict(newer.matrix), expected, rtol=1e-9)
    assert (len(parent._predictors), len(found._predictors)) == (20, 26)


@pytest.mark.parametrize("label", ["Boolean", "Category", "Number"])
def test_more_trees_read_categories_by_the_codes_of_those_before(label: LabelKind) -> None:
    older, newer = halves(label)
    # The newer rows lack the first category, so codes of their own would be others.
    newer = newer.chosen(newer.matrix[:, 2] > 0)
    parent, found = going_on(candidate("gradientBoosting", {"iterations": 10, "leaves": 7}), older, newer, 10)
    judged = replace(newer, validation=None)

    def worth(model: Any) -> float:
        said = model.predict(judged.matrix) if label == "Number" else model.predict_proba(judged.matrix)
        return loss(judged, label, said)

    assert worth(found) < worth(parent)


@pytest.mark.parametrize("settings", [{"focus": 2}, {"columnShare": "50%"}, {"l2": 3}], ids=str)
def test_boosted_trees_with_other_settings_go_on_too(settings: dict[str, Any]) -> None:
    older, newer = halves("Boolean")
    parent, found = going_on(candidate("gradientBoosting", {"iterations": 10, **settings}), older, newer)
    assert len(found._predictors) == 12, "a fifth more"
    assert loss(newer, "Boolean", found.predict_proba(newer.matrix)) < loss(
        newer, "Boolean", parent.predict_proba(newer.matrix)
    )


def test_a_forest_goes_on_with_trees_of_the_newer_rows_beside_its_own() -> None:
    older, newer = halves("Number")
    one = candidate("randomForest", {"trees": 8, "columnShare": "100%"})
    parent, found = going_on(one, older, newer, rounds=4)
    plain = RandomForestRegressor(4, max_depth=16, min_samples_leaf=5, max_features=1.0, random_state=3)
    plain.fit(newer.matrix, newer.truth)
    rows = newer.matrix.astype(np.float32)
    expected = (8 * parent.predict(rows) + 4 * plain.predict(rows)) / 12
    np.testing.assert_allclose(found.predict(rows), expected, rtol=1e-12)


MOVED: list[tuple[str, dict[str, Any], LabelKind]] = [
    ("linearRegression", {}, "Number"),
    ("logisticRegression", {}, "Boolean"),
    ("logisticRegression", {}, "Category"),
    ("multilayerPerceptron", {"layers": [8], "epochs": 40}, "Number"),
    ("multilayerPerceptron", {"layers": [8], "epochs": 40, "optimizer": "SGD"}, "Boolean"),
    ("multilayerPerceptron", {"layers": [8], "epochs": 40}, "Category"),
]


@pytest.mark.parametrize(("family", "settings", "label"), MOVED, ids=[f"{one[0]}-{one[2]}" for one in MOVED])
def test_passes_bring_a_model_nearer_to_rows_that_have_moved(
    family: str, settings: dict[str, Any], label: LabelKind
) -> None:
    older, newer = halves(label)
    # What the first column says has turned round.
    newer = replace(newer, matrix=newer.matrix * np.array([-1, 1, 1, 1]))

    def worth(model: Any) -> float:
        said = model.predict(newer.matrix) if label == "Number" else model.predict_proba(newer.matrix)
        return loss(newer, label, said)

    one = candidate(family, settings)
    worths = [worth(going_on(one, older, newer, rounds)[1]) for rounds in (1, 20)]
    assert worth(fit_model(one, {}, older)) > worths[0] > worths[1]


def test_an_infinitely_short_way_leaves_a_line_where_it_was() -> None:
    """Columns and labels are made alike on the way, and folded back."""
    from capstan.training.families.passes import further_passes

    older, newer = halves("Number")
    parent: Any = fit_model(candidate("linearRegression", {}), {}, older)
    weights, biases = further_passes(
        newer,
        [parent.coef_.reshape(-1, 1)],
        [np.array([parent.intercept_])],
        passes=1,
        learning_rate_init=1e-12,
    )
    np.testing.assert_allclose(weights[0][:, 0], parent.coef_, rtol=1e-6)
    np.testing.assert_allclose(biases[0], parent.intercept_, rtol=1e-6)


@pytest.mark.parametrize(
    "family",
    ["gradientBoosting", "randomForest", "logisticRegression", "naiveBayes", "multilayerPerceptron"],
)
def test_a_class_that_the_model_does_not_know_is_refused_by_name(family: str) -> None:
    older, newer = halves("Category")
    older = older.chosen(older.truth != "low")
    with pytest.raises(
        InvalidDataError, match=r"have the class 'low', which the model does not know; train from"
    ):
        going_on(candidate(family, {}), older, newer)


@pytest.mark.parametrize("family", ["gradientBoosting", "randomForest"])
def test_trees_are_not_grown_from_rows_that_lack_a_class(family: str) -> None:
    older, newer = halves("Category")
    with pytest.raises(InvalidDataError, match=r"none of the \d+ rows that came since has the class 'low'"):
        going_on(candidate(family, {}), older, newer.chosen(newer.truth != "low"))


@pytest.mark.parametrize("family", ["logisticRegression", "naiveBayes", "multilayerPerceptron"])
def test_others_go_on_with_rows_that_lack_a_class_and_still_know_it(family: str) -> None:
    older, newer = halves("Category")
    _, found = going_on(candidate(family, {}), older, newer.chosen(newer.truth != "low"))
    assert found.classes_.tolist() == sorted(set(older.truth.tolist()))
    assert found.predict_proba(newer.matrix).shape == (len(newer.truth), 3)


@pytest.mark.parametrize(
    ("family", "settings", "setting"),
    [
        ("logisticRegression", {"l1": 2}, "l1: 2"),
        ("linearRegression", {"l1": 2}, "l1: 2"),
        ("linearRegression", {"loss": "Huber"}, "loss: Huber"),
        ("multilayerPerceptron", {"optimizer": "LBFGS"}, "optimizer: LBFGS"),
    ],
    ids=lambda value: str(value),
)
def test_settings_that_learn_from_nothing_only_are_refused(
    family: str, settings: dict[str, Any], setting: str
) -> None:
    label: LabelKind = "Number" if family == "linearRegression" else "Boolean"
    given = lesson(label)
    with pytest.raises(InvalidDataError, match=f"{family} with `{setting}` can't go on"):
        fit_model(candidate(family, settings), {}, replace(given, parent="a fitted model"))


def test_a_network_of_other_layers_is_refused() -> None:
    older, newer = halves("Number")
    parent = fit_model(candidate("multilayerPerceptron", {"layers": [4], "epochs": 2}), {}, older)
    with pytest.raises(
        InvalidDataError, match=r"has layers of \(4, 4\) and ReLU, and \(4, 6\) and ReLU are written"
    ):
        fit_model(
            candidate("multilayerPerceptron", {"layers": [6], "epochs": 2}), {}, replace(newer, parent=parent)
        )


def test_another_kind_of_model_or_other_columns_are_refused() -> None:
    older, newer = halves("Number")
    line, trees = candidate("linearRegression", {}), candidate("gradientBoosting", {"iterations": 3})
    parent = fit_model(line, {}, older)
    with pytest.raises(InvalidDataError, match="the model is a LinearRegression; train from all rows"):
        fit_model(trees, {}, replace(newer, parent=parent))
    with pytest.raises(InvalidDataError, match="the model reads 4 columns, and there are 3"):
        fit_model(line, {}, replace(newer, matrix=newer.matrix[:, :3], parent=parent))
