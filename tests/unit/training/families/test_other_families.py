"""Families that are no trees: each setting changes the model in the way that it says."""

from __future__ import annotations

import itertools
import pickle
import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.naive_bayes import CategoricalNB, GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.svm import SVC, SVR
from threadpoolctl import threadpool_limits

from capstan.errors import InvalidDataError
from capstan.spec.families import Candidate
from capstan.testing.lessons import lesson, loss
from capstan.training.families import factorization_machine as machine
from capstan.training.families import fit_model
from capstan.training.fitted.factorization_machine import pair_totals
from capstan.training.lesson import Lesson


def fitted(given: Lesson, family: str, **settings: Any) -> Any:
    candidate = Candidate.model_validate({"name": "one", family: settings})
    with threadpool_limits(1):
        return fit_model(candidate, {}, given)


def alike(matrix: Any, of: Any) -> Any:
    return (matrix - of.mean(axis=0)) / of.std(axis=0)


# Naive Bayes


def test_naive_bayes_is_that_of_scikit_learn_for_numbers_and_for_codes() -> None:
    given = lesson("Category")
    assert given.validation is not None
    rows = given.validation.matrix
    numbers, codes = [0, 1, 3], [2]
    normal = GaussianNB(var_smoothing=0).fit(given.matrix[:, numbers], given.truth)
    counted = CategoricalNB(alpha=1).fit(given.matrix[:, codes], given.truth)
    joint = normal.predict_joint_log_proba(rows[:, numbers]) + counted.predict_joint_log_proba(rows[:, codes])
    joint -= np.log(normal.class_prior_)
    expected = np.exp(joint - joint.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    found = fitted(given, "naiveBayes", smoothing=1e-12)
    np.testing.assert_allclose(found.predict_proba(rows), expected, rtol=1e-6)
    flat = fitted(given, "naiveBayes", smoothing=1)
    assert flat.predict_proba(rows).max() < found.predict_proba(rows).max()


def test_a_code_that_never_came_tells_naive_bayes_nothing_and_neither_does_a_row_out_of_this_world() -> None:
    given = lesson("Boolean")
    model = fitted(given, "naiveBayes")
    row = given.matrix[0].copy()
    without = replace(given, matrix=given.matrix[:, [0, 1, 3]], categorical=None)
    for code in (-1, 3, 99, 1e300):
        row[2] = code
        expected = fitted(without, "naiveBayes").predict_proba(row[[0, 1, 3]].reshape(1, -1))
        np.testing.assert_allclose(model.predict_proba(row.reshape(1, -1)), expected, rtol=1e-9)
    assert np.isfinite(model.predict_proba(np.full((1, 4), 1e300))).all()


def test_naive_bayes_learns_from_codes_alone() -> None:
    given = lesson("Boolean")
    codes = replace(given, matrix=given.matrix[:, 2:3], categorical=np.array([True]))
    chances = fitted(codes, "naiveBayes").predict_proba(np.array([[0.0], [1.0]]))[:, 1]
    shares = [given.truth[given.matrix[:, 2] == code].mean() for code in (0, 1)]
    np.testing.assert_allclose(chances, shares, atol=0.01)


# Nearest neighbours


@pytest.mark.parametrize(("voting", "weights"), [("Equal", "uniform"), ("Distance", "distance")])
def test_neighbours_vote_as_scikit_learns_do_with_one_vote_more_for_the_shares(
    voting: str, weights: Any
) -> None:
    given = lesson("Category")
    assert given.validation is not None
    rows = given.validation.matrix
    theirs = KNeighborsClassifier(15, weights=weights).fit(alike(given.matrix, given.matrix), given.truth)
    shares = np.array([(given.truth == one).mean() for one in theirs.classes_])
    expected = (15 * theirs.predict_proba(alike(rows, given.matrix)) + shares) / 16
    found = fitted(given, "nearestNeighbors", neighbors=15, voting=voting)
    np.testing.assert_allclose(found.predict_proba(rows), expected, rtol=1e-9)
    number = lesson("Number")
    theirs = KNeighborsRegressor(15, weights=weights).fit(alike(number.matrix, number.matrix), number.truth)
    mine = fitted(number, "nearestNeighbors", neighbors=15, voting=voting)
    np.testing.assert_allclose(mine.predict(rows), theirs.predict(alike(rows, number.matrix)), rtol=1e-9)


def test_neighbours_do_not_depend_on_the_unit_of_a_column() -> None:
    given = lesson("Number")
    unit = np.array([1000.0, 1, 1, 1])
    plain = fitted(given, "nearestNeighbors").predict(given.matrix)
    other = fitted(replace(given, matrix=given.matrix * unit), "nearestNeighbors").predict(
        given.matrix * unit
    )
    np.testing.assert_allclose(plain, other)


@pytest.mark.parametrize("family", ["nearestNeighbors", "supportVectorMachine"])
def test_of_too_many_rows_some_are_taken_evenly_and_a_warning_says_so(family: str) -> None:
    given = lesson("Number")
    with pytest.warns(UserWarning, match=r"learns from 100 of 600 rows, evenly spread; raise its `rows`"):
        few = fitted(given, family, rows=100)
    every = np.linspace(0, 599, 100).astype(int)
    assert np.array_equal(
        few.predict(given.matrix), fitted(given.chosen(every), family).predict(given.matrix)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted(given, "supportVectorMachine", kernel="Linear", rows=100)


def test_neighbours_cannot_weigh_rows_and_say_so() -> None:
    weighed = replace(lesson("Boolean"), weights=np.ones(600))
    with pytest.raises(InvalidDataError, match="nearestNeighbors cannot use weights; take another family"):
        fitted(weighed, "nearestNeighbors")


# Support vector machines


@pytest.mark.parametrize(
    ("kernel", "theirs"),
    [("RBF", {"kernel": "rbf"}), ("Polynomial", {"kernel": "poly", "degree": 2, "coef0": 1})],
)
def test_a_machine_has_the_values_of_libsvm(kernel: str, theirs: dict[str, Any]) -> None:
    given = lesson("Boolean")
    assert given.validation is not None
    rows = given.validation.matrix
    model = fitted(given, "supportVectorMachine", kernel=kernel, degree=2, gamma=0.3, cost=2)
    expected = SVC(**theirs, gamma=0.3, C=2).fit(alike(given.matrix, given.matrix), given.truth)
    values = model.machines[0].values(rows)
    np.testing.assert_allclose(
        values, expected.decision_function(alike(rows, given.matrix)), rtol=1e-6, atol=1e-9
    )
    number = lesson("Number")
    truth = (number.truth - number.truth.mean()) / number.truth.std()
    curve = SVR(**theirs, gamma=0.3, C=2, epsilon=0.5).fit(alike(number.matrix, number.matrix), truth)
    found = fitted(number, "supportVectorMachine", kernel=kernel, degree=2, gamma=0.3, cost=2, tolerance=0.5)
    np.testing.assert_allclose(
        found.predict(rows),
        curve.predict(alike(rows, number.matrix)) * number.truth.std() + number.truth.mean(),
        rtol=1e-6,
        atol=1e-9,
    )


def test_a_bent_border_finds_a_ring_that_a_straight_one_does_not() -> None:
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(500, 2))
    given = Lesson(matrix, (matrix**2).sum(axis=1) < 1.4, label="Boolean")
    right = {
        kernel: (fitted(given, "supportVectorMachine", kernel=kernel).predict(matrix) == given.truth).mean()
        for kernel in ("Linear", "RBF", "Polynomial")
    }
    assert right["RBF"] > 0.95
    assert right["Polynomial"] > 0.95
    assert right["Linear"] < 0.75


def test_probabilities_of_a_machine_are_about_the_shares_that_come_true() -> None:
    given = lesson("Boolean")
    assert given.validation is not None
    chances = fitted(given, "supportVectorMachine", kernel="Linear").predict_proba(given.validation.matrix)[
        :, 1
    ]
    for low, high in ((0.0, 0.3), (0.3, 0.7), (0.7, 1.0)):
        there = (chances >= low) & (chances <= high)
        assert given.validation.truth[there].mean() == pytest.approx(chances[there].mean(), abs=0.1)


def test_probabilities_are_fitted_on_rows_that_the_machine_has_not_learnt() -> None:
    rng = np.random.default_rng(0)
    noise = Lesson(rng.normal(size=(600, 4)), rng.random(600) < 0.5, label="Boolean")
    # A machine that knows each row by heart; its values say nothing of other rows.
    chances = fitted(noise, "supportVectorMachine", gamma=50, cost=1000).predict_proba(noise.matrix)
    assert np.abs(chances - 0.5).max() < 0.35


def test_a_machine_whose_newest_rows_have_one_class_says_so() -> None:
    given = lesson("Boolean")
    late = replace(given, truth=np.r_[given.truth[:480], np.ones(120, dtype=bool)])
    with pytest.raises(
        InvalidDataError, match="the newest 120 of 600 rows do not hold both True and other labels"
    ):
        fitted(late, "supportVectorMachine")


# Multilayer perceptron


@pytest.mark.parametrize(
    ("activation", "theirs"), [("ReLU", "relu"), ("Tanh", "tanh"), ("Logistic", "logistic")]
)
@pytest.mark.parametrize("optimizer", ["Adam", "SGD", "LBFGS"])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_perceptron_is_that_of_scikit_learn_on_columns_made_alike(
    activation: str, theirs: Any, optimizer: str
) -> None:
    given = lesson("Category")
    assert given.validation is not None
    rows = given.validation.matrix
    settings = {"activation": activation, "optimizer": optimizer, "epochs": 5, "layers": [6, 4]}
    model = fitted(replace(given, seed=3), "multilayerPerceptron", **settings)
    expected = MLPClassifier(
        (6, 4), activation=theirs, solver=optimizer.lower(), max_iter=5, random_state=3,
        learning_rate_init=0.005, batch_size=100, tol=1e-6 if optimizer == "LBFGS" else 0, n_iter_no_change=9,
    )  # fmt: skip
    with threadpool_limits(1):
        expected.fit(alike(given.matrix, given.matrix), given.truth)
    np.testing.assert_allclose(
        model.predict_proba(rows), expected.predict_proba(alike(rows, given.matrix)), rtol=1e-7
    )


def test_the_newest_rows_say_after_how_many_passes_a_perceptron_stops() -> None:
    given = lesson("Boolean")
    settings = {"layers": [32], "epochs": 60, "learningRate": 0.05, "batchRows": 20}
    plain = fitted(given, "multilayerPerceptron", **settings)
    stopped = fitted(given, "multilayerPerceptron", **settings, earlyStopping={"share": "30%", "patience": 3})
    assert given.validation is not None
    losses = [
        loss(given.validation, "Boolean", one.predict_proba(given.validation.matrix))
        for one in (plain, stopped)
    ]
    assert losses[1] < losses[0], "it has learnt by heart"
    same = [
        fitted(given, "multilayerPerceptron", **{**settings, "epochs": epochs}).predict_proba(given.matrix)
        for epochs in range(1, 30)
    ]
    assert any(np.array_equal(one, stopped.predict_proba(given.matrix)) for one in same), (
        "learnt from all rows"
    )


def test_a_stronger_penalty_makes_a_flatter_perceptron() -> None:
    given = lesson("Number")
    spread = [
        float(np.ptp(fitted(given, "multilayerPerceptron", l2=l2, layers=[8]).predict(given.matrix)))
        for l2 in (0, 100)
    ]
    assert spread[1] < spread[0] / 2


# Factorization machines


def test_pairs_are_summed_as_rendle_has_it() -> None:
    rng = np.random.default_rng(0)
    matrix, factors = rng.normal(size=(20, 6)), rng.normal(size=(6, 3))
    by_pairs = [
        sum(factors[i] @ factors[j] * row[i] * row[j] for i, j in itertools.combinations(range(6), 2))
        for row in matrix
    ]
    np.testing.assert_allclose(pair_totals(matrix, factors), by_pairs, rtol=1e-10)


@pytest.mark.parametrize(
    ("loss_of", "targets"),
    [
        (machine._of_numbers, np.array([[0.3], [-1.0], [2.0], [0.0]])),
        (machine._of_two, np.array([[1.0], [0.0], [0.0], [1.0]])),
        (machine._of_many, np.eye(3)[[0, 2, 1, 1]]),
    ],
    ids=["numbers", "two", "many"],
)
def test_the_slopes_of_a_factorization_machine_are_those_of_what_is_minimised(
    loss_of: Any, targets: Any
) -> None:
    rng = np.random.default_rng(1)
    shape = machine._Shape(targets.shape[1], 5, 2)
    objective = machine.Objective(
        rng.normal(size=(4, 5)), targets, np.array([0.1, 0.2, 0.3, 0.4]), 0.05, shape, loss_of
    )
    at = rng.normal(size=shape.outputs * (1 + 5 * 3))
    value, slopes = objective(at)
    assert np.isfinite(value)
    step = 1e-6
    numeric = [
        (objective(at + step * one)[0] - objective(at - step * one)[0]) / (2 * step)
        for one in np.eye(len(at))
    ]
    np.testing.assert_allclose(slopes, numeric, rtol=1e-5, atol=1e-8)


def _pairs(rows: int, seed: int) -> Lesson:
    """Which of ten users like which of ten items: by two hidden numbers of each, so that no column tells by itself."""
    rng = np.random.default_rng(7)
    users, items = rng.normal(size=(10, 2)), rng.normal(size=(10, 2))
    draw = np.random.default_rng(seed)
    user, item = draw.integers(0, 10, rows), draw.integers(0, 10, rows)
    matrix = np.hstack([np.eye(10)[user], np.eye(10)[item]])
    return Lesson(matrix, (users[user] * items[item]).sum(axis=1) + draw.normal(0, 0.1, rows), label="Number")


def test_a_factorization_machine_learns_pairs_that_a_line_cannot() -> None:
    given, later = _pairs(800, 1), _pairs(400, 2)
    errors = {
        family: loss(later, "Number", fitted(given, family, **settings).predict(later.matrix))
        for family, settings in {
            "linearRegression": {},
            "factorizationMachine": {"factors": 4, "l2": 0.1},
        }.items()
    }
    assert errors["factorizationMachine"] < 0.1 * errors["linearRegression"]
    few = loss(
        later, "Number", fitted(given, "factorizationMachine", factors=1, l2=0.1).predict(later.matrix)
    )
    assert few > 3 * errors["factorizationMachine"], "two hidden numbers are not one"


def test_a_stronger_penalty_makes_a_factorization_machine_flat() -> None:
    given = _pairs(800, 1)
    model = fitted(given, "factorizationMachine", l2=1e5)
    assert float(np.ptp(model.predict(given.matrix))) < 0.1


# All


@pytest.mark.parametrize(
    "family",
    [
        "naiveBayes",
        "nearestNeighbors",
        "supportVectorMachine",
        "multilayerPerceptron",
        "factorizationMachine",
    ],
)
def test_what_a_row_needs_is_loaded_without_the_grammar(family: str) -> None:
    import subprocess
    import sys

    model = fitted(lesson("Boolean"), family)
    code = (
        "import pickle, sys, numpy as np; model = pickle.loads(sys.stdin.buffer.read()); "
        "print(model.answer_one(np.array([0.5, 40.0, 1.0, 0.0]))[1]); "
        "heavy = {'pydantic', 'optuna', 'capstan.spec'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(model), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert float(done.stdout) == pytest.approx(model.predict_proba(np.array([[0.5, 40.0, 1.0, 0.0]]))[0, 1])
