"""Every family keeps its suite, and the suite notices families that do not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capstan.errors import InvalidDataError
from capstan.spec.families import (
    CLASSES,
    NUMBERS,
    Bagging,
    Candidate,
    Custom,
    Distil,
    EarlyStopping,
    FactorizationMachine,
    FamilySettings,
    FineTune,
    GradientBoosting,
    LambdaMart,
    LinearRegression,
    LogisticRegression,
    MostFrequent,
    MultilayerPerceptron,
    NearestNeighbors,
    RandomForest,
    Search,
    Stacking,
    SupportVectorMachine,
    Voting,
)
from capstan.spec.tasks import LabelKind
from capstan.testing import NotConformingError, check_family
from capstan.testing.lessons import lesson
from capstan.training.factories import importable
from capstan.training.families import FAMILIES, Family, fit_model
from capstan.training.families.family import Dimension, Fitted, SearchSpace
from capstan.training.families.gradient_boosting import GradientBoostingFamily
from capstan.training.families.logistic_regression import LogisticRegressionFamily
from capstan.training.families.most_frequent import MostFrequentFamily
from capstan.training.lesson import Lesson

EXAMPLE = Path(__file__).parents[3] / "examples" / "flight-delays"


def test_every_alternative_of_a_candidate_is_a_family() -> None:
    assert list(Candidate.alternatives().values()) == list(FAMILIES)
    assert all(family.settings is settings for settings, family in FAMILIES.items())


def test_whoever_can_be_taught_takes_weights() -> None:
    taught = {settings for settings in FAMILIES if settings.can_be_taught}
    assert {settings.__name__ for settings in FAMILIES if settings not in taught} == {
        *(
            "MostFrequent",
            "NearestNeighbors",
            "LambdaMart",
            "IsolationForest",
            "LocalOutlierFactor",
            "KMeans",
        ),
        *("Search", "FineTune"),
    }
    assert all("weights" in FAMILIES[settings].uses for settings in taught)


EXAMPLES: dict[type[FamilySettings], FamilySettings] = {
    # Small: the suite fits each of them dozens of times.
    RandomForest: RandomForest(trees=10),
    GradientBoosting: GradientBoosting(iterations=20, leaves=7),
    LambdaMart: LambdaMart(iterations=20, leaves=7),
    MultilayerPerceptron: MultilayerPerceptron(layers=(6,), epochs=20),
    Voting: Voting(of=("line", "trees"), weights=(1, 3)),
    Bagging: Bagging(of="tree", members=4),
    Search: Search(of=("line", "trees")),
    FineTune: FineTune(of="trees", rounds=5),
    Distil: Distil(of="trees", into="tree"),
    Stacking: Stacking(of=("line", "trees"), folds=3),
    FactorizationMachine: FactorizationMachine(factors=2, iterations=30),
}


MEMBERS: dict[LabelKind, list[Candidate]] = {
    label: [
        Candidate.model_validate({"name": "tree", "decisionTree": {}}),
        Candidate.model_validate({"name": "trees", "gradientBoosting": {"iterations": 10, "leaves": 7}}),
        Candidate.model_validate({"name": "line", line: {}}),
    ]
    for line, labels in (("logisticRegression", CLASSES), ("linearRegression", NUMBERS))
    for label in labels
}
"""What the ensembles are made of."""


EVERYWHERE = {settings: family for settings, family in FAMILIES.items() if not settings.extra}
"""Those that need an extra are tried by the tests of that extra."""


@pytest.mark.parametrize("family", EVERYWHERE.values(), ids=[settings.__name__ for settings in EVERYWHERE])
def test_a_family_keeps_its_suite(family: Family[Any]) -> None:
    if family.settings is Custom:
        with importable(EXAMPLE):
            check_family("mymodels:make")
    else:
        check_family(family, EXAMPLES.get(family.settings), others=MEMBERS)


@pytest.mark.parametrize(
    "settings",
    [
        GradientBoosting(iterations=20, leaves=7, early_stopping=EarlyStopping(share="20%")),
        GradientBoosting(iterations=20, leaves=7, focus=2),
        GradientBoosting(iterations=20, leaves=7, loss="Huber"),
        GradientBoosting(iterations=20, leaves=7, loss="Absolute"),
        NearestNeighbors(voting="Distance"),
        SupportVectorMachine(kernel="Linear"),
        SupportVectorMachine(kernel="Polynomial", degree=2),
        MultilayerPerceptron(layers=(6,), epochs=40, optimizer="LBFGS"),
        MultilayerPerceptron(layers=(6,), epochs=20, early_stopping=EarlyStopping(share="20%")),
        LogisticRegression(l1=3),
        LinearRegression(l1=3),
        LinearRegression(loss="Huber"),
    ],
    ids=[
        *("early-stopping", "focal", "huber", "absolute", "near-rows", "svm-linear", "svm-polynomial"),
        *("lbfgs", "epochs", "logistic-l1", "line-l1", "line-huber"),
    ],
)
def test_other_settings_of_a_family_keep_the_suite_too(settings: FamilySettings) -> None:
    check_family(FAMILIES[type(settings)], settings)


class Broken(GradientBoostingFamily):
    """Boosted trees with one fault."""

    def __init__(self, fault: Callable[[Any, Lesson], Any]) -> None:
        self._fault = fault

    def fit(self, settings: GradientBoosting, given: Lesson) -> Fitted:
        return self._fault(super(), replace(given, matrix=given.matrix, truth=given.truth))


def boosted(family: Any, given: Lesson, **changes: Any) -> Any:
    return family.fit(GradientBoosting(iterations=20), replace(given, **changes))


class Shouting:
    """A model whose probabilities are too large."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.classes_ = model.classes_

    def predict_proba(self, matrix: Any) -> Any:
        return 2 * self.model.predict_proba(matrix)


class Forgetful(Shouting):
    def predict_proba(self, matrix: Any) -> Any:
        return self.model.predict_proba(matrix)

    def __getstate__(self) -> dict[str, Any]:
        from sklearn.dummy import DummyClassifier

        other = DummyClassifier().fit(np.zeros((2, 1)), self.model.classes_)
        return {"model": other, "classes_": self.classes_}


def unseeded(family: Any, given: Lesson) -> Any:
    noise = np.random.normal(0, 1e-3, (600, 4)) * ~given.categorical
    return boosted(family, given, matrix=given.matrix + noise)


def scaling_in_place(family: Any, given: Lesson) -> Any:
    model = boosted(family, given)
    given.matrix[:, 0] *= 2
    return model


def reversed_classes(family: Any, given: Lesson) -> Any:
    model = boosted(family, given)
    model.classes_ = model.classes_[::-1]
    return model


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        (lambda family, given: boosted(family, given, weights=None), "weights, so they make a difference"),
        (unseeded, "the same lesson gives the same bytes: two fits differ"),
        (scaling_in_place, "fit leaves the lesson as it was: the matrix is another"),
        (lambda family, given: Shouting(boosted(family, given)), "a probability is not between 0 and 1"),
        (lambda family, given: Forgetful(boosted(family, given)), "saved and loaded answers the same"),
        (reversed_classes, r"classes_ is array\(\[ True, False\]\)"),
        (
            lambda family, given: boosted(family, given, truth=np.random.default_rng(0).random(600) < 0.5),
            "it learns more than labels tell without a column",
        ),
        (lambda family, given: 1 / 0, "ZeroDivisionError"),
        (lambda family, given: boosted(family, given), "search of leaves tries different models"),
    ],
    ids=[
        *("weights", "seed", "in-place", "no-probability", "forgetful", "classes-reversed"),
        *("learns-nothing", "raises", "search-changes-nothing"),
    ],
)
def test_the_suite_notices_a_broken_family(fault: Callable[[Any, Lesson], Any], rule: str) -> None:
    with pytest.raises(NotConformingError, match=rule):
        check_family(Broken(fault))


class Wide(LogisticRegressionFamily):
    def search_space(self, settings: LogisticRegression) -> SearchSpace:
        return SearchSpace((Dimension("l3", 5.0, 6.0, 7.0),), 3)


class Claims(LogisticRegressionFamily):
    uses = frozenset({"weights", "parent"})

    def fit(self, settings: LogisticRegression, given: Lesson) -> Fitted:
        return super().fit(settings, replace(given, parent=None))


class NotQuiteConstant(MostFrequentFamily):
    def fit(self, settings: MostFrequent, given: Lesson) -> Fitted:
        return LogisticRegressionFamily().fit(LogisticRegression(), given)


class Nothing(FamilySettings):
    learns = frozenset()


@pytest.mark.parametrize(
    ("family", "settings", "rule"),
    [
        (Wide(), LogisticRegression(), "'l3' is no setting"),
        (Claims(), LogisticRegression(), "`uses` says parent"),
        (NotQuiteConstant(), MostFrequent(), "a baseline says the same of every row"),
        (MostFrequentFamily(), Nothing(), "it learns some kind of label"),
    ],
    ids=["no-setting", "parent", "baseline", "learns-nothing"],
)
def test_the_suite_notices_facts_that_are_not_so(
    family: Family[Any], settings: FamilySettings, rule: str
) -> None:
    with pytest.raises(NotConformingError, match=rule):
        check_family(family, settings)


def test_a_factory_of_ones_own_is_held_to_the_same_suite(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(
        "from sklearn.ensemble import RandomForestClassifier\n"
        "def make(): return RandomForestClassifier(n_estimators=5)\n"
    )
    with importable(tmp_path), pytest.raises(NotConformingError) as caught:
        check_family("theirs:make")
    assert str(caught.value).startswith("theirs:make does not conform")
    assert "the same lesson gives the same bytes: two fits differ" in str(caught.value)


def test_a_regressor_of_ones_own_is_held_to_the_suite_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(
        "from sklearn.tree import DecisionTreeRegressor\n"
        "class Blind(DecisionTreeRegressor):\n"
        "    def predict(self, rows): return super().predict(rows) * float('nan')\n"
        "def make(seed=0): return DecisionTreeRegressor(min_samples_leaf=20, random_state=seed)\n"
        "def blind(seed=0): return Blind(random_state=seed)\n"
    )
    with importable(tmp_path):
        check_family("theirs:make", task="Regression")
        with pytest.raises(NotConformingError, match="every answer must be a finite number"):
            check_family("theirs:blind", task="Regression")


def test_the_penalty_of_a_line_shrinks_its_weights_whatever_the_unit_of_a_column() -> None:
    given = lesson("Number")

    def weights(l2: float, unit: float = 1.0) -> np.ndarray[Any, np.dtype[np.float64]]:
        candidate = Candidate.model_validate({"name": "line", "linearRegression": {"l2": l2}})
        scaled = replace(given, matrix=given.matrix * np.array([unit, 1, 1, 1]))
        return np.asarray(fit_model(candidate, {}, scaled).coef_) * np.array([unit, 1, 1, 1])  # type: ignore[attr-defined]

    assert np.all(np.abs(weights(1e3))[:3] < np.abs(weights(0))[:3])
    np.testing.assert_allclose(weights(100), weights(100, unit=1e6), rtol=1e-9)


def test_a_line_without_a_penalty_bears_columns_that_add_up_to_one() -> None:
    given = lesson("Number")
    shares = np.eye(3)[given.matrix[:, 2].astype(int)]
    candidate = Candidate.model_validate({"name": "line", "linearRegression": {"l2": 0}})
    fitted: Any = fit_model(candidate, {}, replace(given, matrix=shares))
    means = [given.truth[given.matrix[:, 2] == code].mean() for code in range(3)]
    np.testing.assert_allclose(fitted.predict(np.eye(3)), means, rtol=1e-9)
    assert np.abs(fitted.coef_).max() < 100


@pytest.mark.parametrize("quantile", [0.5, 0.9])
def test_trees_of_a_quantile_stay_above_so_many_labels(quantile: float) -> None:
    given = lesson("Number")
    settings = {"quantile": quantile, "iterations": 50, "leaves": 5}
    candidate = Candidate.model_validate({"name": "trees", "gradientBoosting": settings})
    fitted: Any = fit_model(candidate, {}, given)
    above = (fitted.predict(given.matrix) >= given.truth).mean()
    assert above == pytest.approx(quantile, abs=0.05)


def test_the_baseline_of_a_number_is_the_mean() -> None:
    given = lesson("Number")
    fitted: Any = fit_model(Candidate.model_validate({"name": "mean", "mostFrequent": {}}), {}, given)
    assert fitted.predict(given.matrix[:2]) == pytest.approx([given.truth.mean()] * 2)


def test_a_family_refuses_by_name_what_it_cannot_learn_or_would_overlook() -> None:
    linear = Candidate.model_validate({"name": "one", "logisticRegression": {}})
    with pytest.raises(
        InvalidDataError, match="logisticRegression cannot learn labels of the kind Relevance"
    ):
        fit_model(linear, {}, lesson("Relevance"))
    of_parent = replace(lesson("Boolean"), parent="a fitted model")
    tree = Candidate.model_validate({"name": "one", "decisionTree": {}})
    with pytest.raises(InvalidDataError, match="decisionTree cannot use parent"):
        fit_model(tree, {}, of_parent)


def test_a_family_may_leave_groups_aside_and_learn_each_item_by_itself() -> None:
    trees = Candidate.model_validate({"name": "one", "gradientBoosting": {"iterations": 20}})
    given = lesson("Relevance")
    fitted = fit_model(trees, {}, given)
    regrouped = fit_model(trees, {}, replace(given, groups=np.arange(len(given.truth)) % 7))
    assert np.array_equal(fitted.predict(given.matrix), regrouped.predict(given.matrix))


class _Grouped(GradientBoostingFamily):
    uses = frozenset({"weights", "groups"})


def test_a_family_that_says_it_uses_groups_and_does_not_is_told() -> None:
    with pytest.raises(NotConformingError, match="rows in other groups give the same model"):
        check_family(_Grouped(), GradientBoosting(iterations=20, leaves=7))


def test_a_factory_without_weights_is_not_given_them_in_silence(tmp_path: Path) -> None:
    code = "from sklearn.neighbors import KNeighborsClassifier\ndef make(): return KNeighborsClassifier()\n"
    (tmp_path / "theirs.py").write_text(code)
    own = Candidate.model_validate({"name": "own", "custom": {"factory": "theirs:make"}})
    with importable(tmp_path), pytest.raises(InvalidDataError, match="takes no weights of rows"):
        fit_model(own, {}, replace(lesson("Boolean"), weights=np.ones(600)))


def test_families_are_known_without_importing_the_libraries_that_they_fit_with() -> None:
    code = (
        "import sys, capstan.training.families; "
        "print([name for name in ('sklearn', 'optuna', 'torch') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_a_factory_of_a_regressor_learns_an_order_item_by_item(tmp_path: Path) -> None:
    code = "from sklearn.linear_model import LinearRegression\ndef make(): return LinearRegression()\n"
    (tmp_path / "theirs.py").write_text(code)
    with importable(tmp_path):
        check_family("theirs:make", task="Ranking")


def test_a_factory_of_a_classifier_is_no_model_of_an_order(tmp_path: Path) -> None:
    code = "from sklearn.tree import DecisionTreeClassifier\ndef make(): return DecisionTreeClassifier()\n"
    (tmp_path / "theirs.py").write_text(code)
    with importable(tmp_path), pytest.raises(NotConformingError, match="fitted to classes"):
        check_family("theirs:make", task="Ranking")
