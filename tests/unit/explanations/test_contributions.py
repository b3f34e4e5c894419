"""What each column adds to a score: by Shapley's definition where it is exact, and always adding up to the score."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations
from math import factorial
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits
from unit.explanations.models import COLUMNS, Row, fitted

from capstan.explanations.contributions import Contributions, explainer_of
from capstan.explanations.sampled import SampledExplainer
from capstan.features.columns import Floats
from capstan.features.transform import as_columns

EXACT: list[tuple[str, str, dict[str, Any]]] = [
    ("BinaryClassification", "logisticRegression", {}),
    ("MulticlassClassification", "logisticRegression", {}),
    ("Regression", "linearRegression", {}),
    ("Regression", "linearRegression", {"loss": "Huber"}),
    ("BinaryClassification", "gradientBoosting", {"iterations": 20, "leaves": 8}),
    ("BinaryClassification", "gradientBoosting", {"iterations": 10, "focus": 2}),
    ("MulticlassClassification", "gradientBoosting", {"iterations": 10, "leaves": 8}),
    ("Regression", "gradientBoosting", {"iterations": 20, "leaves": 8}),
    ("BinaryClassification", "randomForest", {"trees": 10}),
    ("MulticlassClassification", "decisionTree", {}),
    ("Regression", "randomForest", {"trees": 10}),
]
DRAWN: list[tuple[str, str, dict[str, Any]]] = [
    ("BinaryClassification", "naiveBayes", {}),
    ("MulticlassClassification", "nearestNeighbors", {}),
    ("Regression", "supportVectorMachine", {}),
    ("Regression", "voting", {"of": ["tree", "trees"]}),
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As a training has; threads of a busy machine wait for each other."""
    with threadpool_limits(1):
        yield


def named(case: tuple[str, str, dict[str, Any]]) -> str:
    return "-".join([case[0], case[1], *map(str, case[2])])


def explained(task: str, family: str, settings: dict[str, Any], rows: int = 3) -> tuple[Contributions, Any]:
    pipeline, of_task, learnt, given = fitted(task, family, **settings)
    explainer = explainer_of(pipeline, of_task, learnt, given[:40], COLUMNS)
    return explainer.explain(given[-rows:]), (pipeline, of_task, given[:40], given[-rows:])


def said(pipeline: Any, task: Any, rows: list[Row], scale: str) -> Floats:
    """(n, outputs): what the model itself says, on the scale of its contributions."""
    answers = task.scores(pipeline, as_columns(rows, COLUMNS)).reshape(len(rows), -1)
    if scale.startswith("log odds"):
        return np.log(answers / (1 - answers))
    if scale.startswith("logits"):
        return np.log(answers)
    return answers


def shapley(pipeline: Any, task: Any, background: list[Row], row: Row, scale: str) -> Floats:
    """(columns, outputs): by the definition, over all coalitions of columns."""
    size = len(COLUMNS)

    @cache
    def worth(players: frozenset[str]) -> Floats:
        mixed = [{**other, **{name: row[name] for name in players}} for other in background]
        return said(pipeline, task, mixed, scale).mean(axis=0)

    values = []
    for name in COLUMNS:
        others = [one for one in COLUMNS if one != name]
        total = np.zeros_like(worth(frozenset()))
        for count in range(size):
            weight = factorial(count) * factorial(size - count - 1) / factorial(size)
            for chosen in combinations(others, count):
                total += weight * (worth(frozenset({*chosen, name})) - worth(frozenset(chosen)))
        values.append(total)
    return np.array(values)


def centred(values: Floats) -> Floats:
    """The logits of classes are known up to a number that is the same for all."""
    return values - values.mean(axis=-1, keepdims=True) if values.shape[-1] > 1 else values


@pytest.mark.parametrize("case", EXACT, ids=named)
def test_an_exact_way_gives_shapleys_values_of_the_raw_columns(case: tuple[str, str, dict[str, Any]]) -> None:
    found, (pipeline, task, background, rows) = explained(*case)
    assert found.exact
    assert found.columns == COLUMNS, "a column that two features read is one player"
    is_of_classes = found.scale.startswith("logits")
    for at, row in enumerate(rows):
        wanted = shapley(pipeline, task, background, row, found.scale)
        here = found.values[at]
        if is_of_classes:
            wanted, here = centred(wanted), centred(here)
        np.testing.assert_allclose(here, wanted, atol=1e-6)
        assert np.abs(wanted).max() > 1e-3, "the model says something"


@pytest.mark.parametrize("case", EXACT + DRAWN, ids=named)
def test_base_and_contributions_add_up_to_what_the_model_says(case: tuple[str, str, dict[str, Any]]) -> None:
    found, (pipeline, task, background, rows) = explained(*case)
    wanted, base = (said(pipeline, task, some, found.scale) for some in (rows, background))
    scores, mean = found.scores, base.mean(axis=0)
    if found.scale.startswith("logits"):
        wanted, scores = centred(wanted), centred(scores)
        mean, known = centred(mean), centred(found.base)
    else:
        known = found.base
    np.testing.assert_allclose(scores, wanted, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(known, mean, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", DRAWN, ids=named)
def test_estimates_lie_near_shapleys_values_and_say_how_near(case: tuple[str, str, dict[str, Any]]) -> None:
    found, (pipeline, task, background, rows) = explained(*case, rows=1)
    assert not found.exact
    assert found.errors is not None
    wanted = shapley(pipeline, task, background, rows[0], found.scale)
    assert (np.abs(found.values[0] - wanted) < 4 * found.errors[0] + 1e-3).all()
    largest = np.abs(wanted).max()
    assert found.errors[0].max() < 0.25 * largest, "and they are of use"


@pytest.mark.parametrize("family", ["linearRegression", "gradientBoosting"])
def test_contributions_equal_those_of_the_library_shap(family: str) -> None:
    import shap

    rng = np.random.default_rng(8)
    # shap compares numbers of 32 bits; quarters are the same in both.
    matrix = np.round(rng.normal(size=(500, 5)) * 4) / 4
    truth = matrix[:, 0] * (matrix[:, 1] > 0) + np.abs(matrix[:, 2]) + rng.normal(0, 0.1, 500)
    background, rows = matrix[:60], matrix[-20:]
    owners = np.arange(5)
    if family == "linearRegression":
        from sklearn.linear_model import LinearRegression

        from capstan.explanations.linear import LinearWay

        linear = LinearRegression().fit(matrix, truth)
        here: Any = LinearWay(linear, background, owners, 5)
        there = shap.LinearExplainer(linear, background)
    else:
        from sklearn.ensemble import HistGradientBoostingRegressor

        from capstan.explanations.trees import TreeWay, forest_of

        trees = HistGradientBoostingRegressor(max_iter=40).fit(matrix, truth)
        here = TreeWay(forest_of(trees, owners, 5), background)
        there = shap.TreeExplainer(trees, background, feature_perturbation="interventional")
    wanted = there.shap_values(rows)
    found = np.stack([here.values(row)[:, 0] for row in rows])
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    np.testing.assert_allclose(here.base[0], there.expected_value, atol=1e-6)
    assert np.abs(wanted).max() > 0.1


def test_a_document_tells_the_largest_contribution_first() -> None:
    found, _ = explained("BinaryClassification", "gradientBoosting", {"iterations": 10}, rows=1)
    (told,) = found.documents()
    values = list(told["contributions"].values())
    assert sorted(values, key=abs, reverse=True) == values
    assert told["base"] + sum(values) == pytest.approx(told["score"])
    classes, _ = explained("MulticlassClassification", "gradientBoosting", {"iterations": 10}, rows=1)
    assert set(classes.documents()[0]["outputs"]) == {"none", "some", "much"}


def test_drawn_orders_stop_when_time_is_up_and_still_add_up() -> None:
    pipeline, task, learnt, given = fitted("Regression", "nearestNeighbors")
    explainer = explainer_of(pipeline, task, learnt, given[:40], COLUMNS)
    assert isinstance(explainer, SampledExplainer)
    whole, short = explainer.explain(given[-1:]), explainer.explain(given[-1:], seconds=1e-9 + 1.0, orders=10)
    np.testing.assert_allclose(short.scores, whole.scores)
    assert short.errors is not None
    assert whole.errors is not None
    assert short.errors.max() > whole.errors.max()


def test_a_model_without_a_sample_cannot_be_explained() -> None:
    pipeline, task, learnt, _ = fitted("Regression", "linearRegression")
    with pytest.raises(ValueError, match="no sample of its training rows"):
        explainer_of(pipeline, task, learnt, [], COLUMNS)
