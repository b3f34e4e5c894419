"""Rules that make one score of several, by values that were computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from capstan.spec.combination import Combination
from capstan.tasks.combining import combine_numbers_of, combine_of, in_sequence

VIOLENCE = np.array([0.9, 0.4, 0.1, 0.2])
NUDITY = np.array([0.2, 0.4, 0.7, 0.6])
BY_HAND = {
    "Any": [0.9, 0.4, 0.7, 0.6],
    "All": [0.2, 0.4, 0.1, 0.2],
    "Max": [0.9, 0.4, 0.7, 0.6],
    "Mean": [0.55, 0.4, 0.4, 0.4],
    # (3 p + q) / 4
    "Weighted": [0.725, 0.4, 0.25, 0.3],
}


def combination(rule: str) -> Combination:
    weights = (3.0, 1.0) if rule == "Weighted" else ()
    return Combination(rule, ("violence", "nudity"), weights)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", BY_HAND)
def test_two_scores_become_the_one_that_was_computed_by_hand(rule: str) -> None:
    found = combine_of(combination(rule))([VIOLENCE, NUDITY], None)
    assert found.tolist() == pytest.approx(BY_HAND[rule])


@pytest.mark.parametrize("rule", BY_HAND)
def test_one_row_is_combined_as_a_row_of_many(rule: str) -> None:
    rng = np.random.default_rng(1)
    scores = [rng.random(500), rng.random(500)]
    many = combine_of(combination(rule))(scores, None)
    one = combine_numbers_of(combination(rule))
    assert one is not None
    assert [one(pair) for pair in zip(*(column.tolist() for column in scores), strict=True)] == many.tolist()


def test_any_says_yes_exactly_where_a_model_does_and_all_where_every_model_does() -> None:
    scores = [VIOLENCE, NUDITY]
    said = np.stack(scores) >= 0.5
    assert np.array_equal(combine_of(combination("Any"))(scores, None) >= 0.5, said.any(axis=0))
    assert np.array_equal(combine_of(combination("All"))(scores, None) >= 0.5, said.all(axis=0))


@pytest.mark.parametrize("rule", BY_HAND)
def test_a_score_that_is_no_number_makes_none(rule: str) -> None:
    spoilt = VIOLENCE.copy()
    spoilt[2] = np.nan
    for scores in ([spoilt, NUDITY], [NUDITY, spoilt]):
        found = combine_of(combination(rule))(scores, None)
        assert np.isnan(found).tolist() == [False, False, True, False]


def test_probabilities_of_classes_are_averaged_class_by_class() -> None:
    first, second = np.array([[0.6, 0.3, 0.1]]), np.array([[0.2, 0.5, 0.3]])
    assert combine_of(combination("Mean"))([first, second], None)[0].tolist() == pytest.approx(
        [0.4, 0.4, 0.2]
    )


def test_a_sequence_lets_the_second_model_order_what_the_first_has_found() -> None:
    first = np.array([0.1, 0.9, 0.8, 0.5])
    second = np.array([9.0, 1.0, 2.0, 8.0])
    found = in_sequence(first, second, keep=2)
    # The first keeps the items 1 and 2, the second puts 2 before 1; then 3 and 0, as the first has them.
    assert np.argsort(-found).tolist() == [2, 1, 3, 0]
    assert found[[1, 2]].tolist() == [1.0, 2.0]


def test_a_sequence_orders_each_group_by_itself() -> None:
    first = np.array([0.1, 5.0, 0.9, 6.0, 0.8, 7.0])
    second = np.array([9.0, 1.0, 1.0, 2.0, 2.0, 3.0])
    groups = np.array([0, 1, 0, 1, 0, 1])
    found = in_sequence(first, second, keep=1, groups=groups)
    for group in (0, 1):
        rows = groups == group
        assert found[rows].tolist() == in_sequence(first[rows], second[rows], keep=1).tolist()
    assert np.argsort(-found[groups == 1]).tolist() == [2, 1, 0]


def test_a_sequence_that_keeps_all_is_the_second_model_alone() -> None:
    first, second = np.array([3.0, 1.0, 2.0]), np.array([0.1, 0.3, 0.2])
    assert in_sequence(first, second, keep=3).tolist() == second.tolist()


def test_of_equal_first_scores_the_earlier_item_is_kept() -> None:
    found = in_sequence(np.array([1.0, 1.0, 1.0]), np.array([0.0, 5.0, 9.0]), keep=1)
    assert np.argsort(-found, kind="stable").tolist() == [0, 1, 2]
