"""Ensembles: means, drawn rows, and a last model that learns only from answers to rows that were not learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import PoissonRegressor, SGDClassifier

from capstan.errors import InvalidDataError
from capstan.spec.families import Candidate
from capstan.spec.tasks import LabelKind
from capstan.testing.lessons import lesson, loss
from capstan.training.families import fit_model, fits_of
from capstan.training.fitted.answering import NumberModel
from capstan.training.lesson import Lesson

MEMBERS = [
    Candidate.model_validate({"name": "line", "linearRegression": {}}),
    Candidate.model_validate({"name": "trees", "gradientBoosting": {"iterations": 20}}),
    Candidate.model_validate({"name": "tree", "decisionTree": {"leafRows": 2, "maxDepth": 20}}),
    Candidate.model_validate({"name": "odds", "logisticRegression": {}}),
    Candidate.model_validate({"name": "near", "nearestNeighbors": {}}),
]


def fitted(given: Lesson, family: str, **settings: Any) -> Any:
    candidate = Candidate.model_validate({"name": "one", family: settings})
    members = given.candidates or fits_of(MEMBERS)
    return fit_model(candidate, {}, replace(given, candidates=members))


def test_voting_is_the_weighted_mean_of_its_members() -> None:
    given = lesson("Number")
    line, trees = (fit_model(MEMBERS[at], {}, given).predict(given.matrix) for at in (0, 1))
    found = fitted(given, "voting", of=["line", "trees"], weights=[1, 3]).predict(given.matrix)
    np.testing.assert_allclose(found, 0.25 * line + 0.75 * trees)
    classes = lesson("Category")
    odds, trees = (fit_model(MEMBERS[at], {}, classes).predict_proba(classes.matrix) for at in (3, 1))  # type: ignore[attr-defined]
    found = fitted(classes, "voting", of=["odds", "trees"]).predict_proba(classes.matrix)
    np.testing.assert_allclose(found, (odds + trees) / 2)


def test_bagging_draws_other_rows_for_each_member_and_tames_a_tree_that_learns_by_heart() -> None:
    given = lesson("Number")
    assert given.validation is not None
    bag = fitted(given, "bagging", of="tree", members=20)
    one = fit_model(MEMBERS[2], {}, given)
    errors = [loss(given.validation, "Number", each.predict(given.validation.matrix)) for each in (one, bag)]
    assert errors[1] < 0.8 * errors[0]
    answers = {member.predict(given.matrix).tobytes() for member in bag.members}
    assert len(answers) == 20
    few = fitted(given, "bagging", of="tree", members=2, rowShare="10%")
    assert few.members[0].model.tree_.n_node_samples[0] == 60


def test_bagging_of_an_order_draws_whole_groups() -> None:
    seen: list[Lesson] = []

    def fit(drawn: Lesson) -> Any:
        seen.append(drawn)
        return fit_model(MEMBERS[1], {}, drawn)

    given = lesson("Relevance")
    fitted(replace(given, candidates={"trees": fit}), "bagging", of="trees", members=2)
    for drawn in seen:
        assert drawn.groups is not None
        assert np.bincount(drawn.groups).tolist() == [12] * 50
        assert len(np.unique(drawn.matrix[:, 1])) < 600, "some group came twice"


class _Remembers(NumberModel):
    """Knows the labels of the rows that it has seen, and says nothing of others."""

    def __init__(self, known: dict[float, float], newest: float) -> None:
        self.known, self.newest = known, newest

    def answers(self, matrix: Any) -> Any:
        return np.array([self.known.get(row, 0.0) for row in matrix[:, 0].tolist()])


def _remembering(fits: list[tuple[float, float]]) -> Callable[[Lesson], Any]:
    def fit(given: Lesson) -> Any:
        keys = given.matrix[:, 0].tolist()
        fits.append((min(keys), max(keys)))
        return _Remembers(dict(zip(keys, given.truth.tolist(), strict=True)), max(keys))

    return fit


def test_the_last_model_of_a_stack_learns_from_answers_to_rows_that_come_later() -> None:
    """A member that knows its rows by heart says nothing of others: the last model must not trust it."""
    rng = np.random.default_rng(0)
    matrix = np.column_stack([np.arange(600.0), rng.normal(size=600)])
    given = Lesson(matrix, 2 * matrix[:, 1] + rng.normal(0, 0.1, 600), label="Number")
    fits: list[tuple[float, float]] = []
    members = {"by-heart": _remembering(fits), "line": fits_of(MEMBERS)["line"]}
    stack = fitted(replace(given, candidates=members), "stacking", of=["by-heart", "line"], folds=5)
    assert fits == [(0, 99), (0, 199), (0, 299), (0, 399), (0, 499), (0, 599)], "always the rows before"
    later = np.column_stack([np.arange(1000.0, 1100), rng.normal(size=100)])
    np.testing.assert_allclose(stack.predict(later), 2 * later[:, 1], atol=0.2)
    assert stack.final.coef_[0] == pytest.approx(0, abs=1e-6)
    assert stack.final.coef_[1] == pytest.approx(1, abs=0.05)


def test_a_stack_trusts_the_better_member_of_each_part() -> None:
    given = lesson("Boolean")
    assert given.validation is not None
    rows = given.validation
    noise = replace(given, matrix=given.matrix[:, 3:], categorical=None)
    blind = Candidate.model_validate({"name": "blind", "logisticRegression": {}})

    class _Blind:
        def __init__(self, model: Any) -> None:
            self.model, self.classes_ = model, model.classes_

        def predict_proba(self, matrix: Any) -> Any:
            return self.model.predict_proba(matrix[:, 3:])

    def fit_blind(one: Lesson) -> Any:
        return _Blind(fit_model(blind, {}, replace(one, matrix=one.matrix[:, 3:], categorical=None)))

    members = {"blind": fit_blind, "odds": fits_of(MEMBERS)["odds"]}
    both = replace(given, candidates=members)
    stacked = fitted(both, "stacking", of=["blind", "odds"]).predict_proba(rows.matrix)
    voted = fitted(both, "voting", of=["blind", "odds"]).predict_proba(rows.matrix)
    assert loss(rows, "Boolean", stacked) < 0.9 * loss(rows, "Boolean", voted)
    assert noise.matrix.shape == (600, 1)


def test_a_stack_takes_another_last_model_by_its_name_and_more_folds_teach_it_more_rows() -> None:
    given = lesson("Category")
    stack = fitted(given, "stacking", of=["odds", "trees"], final="near")
    assert type(stack.final).__name__ == "NeighborsOfClasses"
    assert stack.final.rows.shape == (500, 6), "five of six parts; three probabilities of each member"
    assert fitted(given, "stacking", of=["odds", "trees"], final="near", folds=1).final.rows.shape == (300, 6)


def test_no_group_of_a_ranking_is_parted_by_the_folds_of_a_stack() -> None:
    seen: list[Lesson] = []

    def fit(given: Lesson) -> Any:
        seen.append(given)
        return fit_model(MEMBERS[1], {}, given)

    members = {"trees": fit, "line": fits_of(MEMBERS)["line"]}
    fitted(replace(lesson("Relevance"), candidates=members), "stacking", of=["trees", "line"], folds=6)
    assert len(seen) == 7
    assert all(len(one.truth) % 12 == 0 for one in seen)


def test_a_stack_whose_oldest_rows_have_one_class_says_what_to_do() -> None:
    given = lesson("Boolean")
    late = replace(given, truth=np.r_[np.zeros(150, dtype=bool), given.truth[150:]])
    with pytest.raises(
        InvalidDataError, match=r"stacking: odds on the oldest 100 rows .* take fewer `folds`"
    ):
        fitted(late, "stacking", of=["odds", "trees"])
    fitted(late, "stacking", of=["odds", "trees"], folds=2)


def test_a_stack_of_few_rows_says_what_to_do() -> None:
    given = lesson("Number").chosen(slice(0, 8))
    with pytest.raises(InvalidDataError, match="8 rows are too few for 20 parts; take fewer `folds`"):
        fitted(given, "stacking", of=["line", "tree"], folds=20)


def test_ensembles_may_be_made_of_ensembles() -> None:
    inner = Candidate.model_validate({"name": "both", "voting": {"of": ["line", "trees"]}})
    given = replace(lesson("Number"), candidates=fits_of([*MEMBERS, inner]))
    found = fitted(given, "voting", of=["both", "line"]).predict(given.matrix)
    line, trees = (fit_model(MEMBERS[at], {}, given).predict(given.matrix) for at in (0, 1))
    np.testing.assert_allclose(found, 0.75 * line + 0.25 * trees)


@pytest.mark.parametrize("label", ["Number", "Category"])
def test_a_last_model_of_ones_own_answers_one_row_as_it_answers_a_table(label: LabelKind) -> None:
    """A Poisson regression has weights and answers their exponential; SGD of several classes has no softmax."""
    given = lesson(label)
    if label == "Number":
        given = replace(given, truth=np.exp(given.truth / np.abs(given.truth).max()))
        own: Any = PoissonRegressor()
        first = "line"
    else:
        own, first = SGDClassifier(loss="log_loss", random_state=0), "odds"
    members = {**fits_of(MEMBERS), "own": lambda one: own.fit(one.matrix, one.truth)}
    stack = fitted(replace(given, candidates=members), "stacking", of=[first, "trees"], final="own")
    rows = given.matrix[:20]
    for said, expected in zip(stack._each(rows), stack.answers(rows), strict=True):
        np.testing.assert_allclose(stack.answer_from(list(said)), expected)


def test_a_stack_whose_later_rows_have_one_class_says_what_to_do() -> None:
    given = lesson("Boolean")
    early = replace(given, truth=np.r_[given.truth[:100], np.ones(500, dtype=bool)])
    for final in (None, "odds"):
        with pytest.raises(
            InvalidDataError, match=r"stacking: the newest 500 of 600 rows, .* take more `folds`"
        ):
            fitted(early, "stacking", of=["odds", "trees"], final=final)


def test_the_last_model_of_a_stack_takes_no_answer_for_a_code_of_a_category() -> None:
    given = lesson("Number")
    columns = given.matrix.shape[1]
    codes = np.arange(columns) == columns - 1
    seen: list[Lesson] = []

    def last(one: Lesson) -> Any:
        seen.append(one)
        return fit_model(MEMBERS[0], {}, one)

    members = {**fits_of(MEMBERS), "last": last}
    fitted(
        replace(given, categorical=codes, coded=codes, candidates=members),
        "stacking", of=["line", "near"], final="last",
    )  # fmt: skip
    assert [(one.categorical, one.coded) for one in seen] == [(None, None)]
