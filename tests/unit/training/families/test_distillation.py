"""A student learns what its teacher answers: the same as by hand in scikit-learn."""

from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeRegressor

from capstan.errors import InvalidDataError
from capstan.spec.families import Candidate
from capstan.spec.tasks import LabelKind
from capstan.testing.lessons import lesson, loss
from capstan.training.families import fit_model, fits_of
from capstan.training.families.distil import taught
from capstan.training.lesson import Lesson

FOREST = {"trees": 30, "leafRows": 5}
TREE = {"maxDepth": 4, "leafRows": 20}


def named(name: str, family: str, settings: dict[str, Any]) -> Candidate:
    return Candidate.model_validate({"name": name, family: settings})


def distilled(given: Lesson, student: Candidate, **settings: Any) -> Any:
    forest = named("forest", "randomForest", FOREST)
    small = named("small", "distil", {"of": "forest", "into": student.name, **settings})
    return fit_model(small, {}, replace(given, candidates=fits_of([forest, student])))


def teacher_by_hand(given: Lesson) -> Any:
    of_classes = given.label in ("Boolean", "Category")
    make = RandomForestClassifier if of_classes else RandomForestRegressor
    forest = make(30, max_depth=16, min_samples_leaf=5, max_features=0.33, random_state=given.seed)
    return forest.fit(given.matrix, given.truth)


@pytest.mark.parametrize("label", ["Boolean", "Category"])
def test_a_tree_of_a_forests_probabilities_is_scikit_learns_tree_of_them(label: LabelKind) -> None:
    """The gain of a split by Gini of weighed classes is that by squared errors of their probabilities."""
    given = lesson(label, seed=3)
    found = distilled(given, named("tree", "decisionTree", TREE))
    answers = teacher_by_hand(given).predict_proba(given.matrix)
    by_hand = DecisionTreeRegressor(max_depth=4, min_samples_leaf=20, random_state=3).fit(
        given.matrix, answers
    )
    np.testing.assert_allclose(found.predict_proba(given.matrix), by_hand.predict(given.matrix), atol=1e-6)


def test_a_tree_of_a_forests_numbers_is_scikit_learns_tree_of_them() -> None:
    given = lesson("Number", seed=3)
    found = distilled(given, named("tree", "decisionTree", TREE))
    answers = teacher_by_hand(given).predict(given.matrix)
    by_hand = DecisionTreeRegressor(max_depth=4, min_samples_leaf=20, random_state=3).fit(
        given.matrix, answers
    )
    np.testing.assert_array_equal(found.predict(given.matrix), by_hand.predict(given.matrix))


@pytest.mark.parametrize("label_share", [0, 40], ids=["answers", "answers-and-labels"])
def test_a_line_minimises_cross_entropy_with_the_answers_as_by_hand(label_share: int) -> None:
    given = lesson("Boolean", seed=3)
    student = named("line", "logisticRegression", {"l2": 2})
    found = distilled(given, student, labelShare=f"{label_share}%")
    chance = teacher_by_hand(given).predict_proba(given.matrix)[:, 1]
    target = (1 - label_share / 100) * chance + label_share / 100 * given.truth
    scaled = (given.matrix - given.matrix.mean(axis=0)) / given.matrix.std(axis=0)
    by_hand = LogisticRegression(C=0.5, max_iter=300).fit(
        np.concatenate([scaled, scaled]),
        np.r_[np.zeros(len(target)), np.ones(len(target))],
        sample_weight=np.r_[1 - target, target],
    )
    np.testing.assert_allclose(
        found.predict_proba(given.matrix)[:, 1], by_hand.predict_proba(scaled)[:, 1], atol=2e-3
    )


def test_the_teacher_is_not_in_what_is_saved_and_the_answers_are_nearer_to_its() -> None:
    given = lesson("Category", seed=3)
    tree = named("tree", "decisionTree", TREE)
    student, alone = distilled(given, tree), fit_model(tree, {}, given)
    assert (
        len(pickle.dumps(student))
        < 1.2 * len(pickle.dumps(alone))
        < len(pickle.dumps(teacher_by_hand(given))) / 20
    )
    answers = teacher_by_hand(given).predict_proba(given.matrix)

    def apart(model: Any) -> float:
        return float(((model.predict_proba(given.matrix) - answers) ** 2).mean())

    assert apart(student) < apart(alone)


def test_of_all_the_label_there_is_nothing_of_the_teacher_left() -> None:
    """Nearly: the file refuses 100%."""
    given = lesson("Number", seed=3)
    tree = named("tree", "decisionTree", TREE)
    almost = distilled(given, tree, labelShare="99.99%")
    np.testing.assert_allclose(
        almost.predict(given.matrix), np.asarray(fit_model(tree, {}, given).predict(given.matrix)), atol=0.01
    )


def test_weights_of_rows_are_multiplied_by_the_teachers_shares() -> None:
    given = lesson("Category", seed=3)
    weights = np.random.default_rng(0).uniform(0.5, 2, len(given.truth))
    teacher = teacher_by_hand(given)
    found = taught(replace(given, weights=weights), teacher, 0.25)
    own = (given.truth[:, None] == teacher.classes_).astype(float)
    shares = 0.75 * teacher.predict_proba(given.matrix) + 0.25 * own
    assert found.weights is not None
    np.testing.assert_allclose(found.weights.reshape(-1, 3), shares * weights[:, None], atol=1e-11)
    assert found.truth[:4].tolist() == [*teacher.classes_.tolist(), teacher.classes_[0]]
    assert found.copies == 3


def test_a_student_that_stops_early_learns_too() -> None:
    given = lesson("Category", seed=3)
    settings = {"iterations": 60, "leaves": 7, "earlyStopping": {"share": "20%"}}
    found = distilled(given, named("trees", "gradientBoosting", settings))
    assert given.validation is not None
    chance = np.tile(np.unique(given.truth, return_counts=True)[1] / len(given.truth), (len(given.truth), 1))
    said = found.predict_proba(given.validation.matrix)
    assert loss(given.validation, "Category", said) < 0.8 * loss(given.validation, "Category", chance)


def test_neighbours_cannot_be_taught() -> None:
    given = lesson("Boolean", seed=3)
    with pytest.raises(InvalidDataError, match="nearestNeighbors cannot use weights"):
        distilled(given, named("near", "nearestNeighbors", {}))
