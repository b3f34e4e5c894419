"""Metrics of an order are means over all orders of tied items, and scikit-learn's where it has the same ones."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from capstan.domain.verdicts.quality import Decide
from capstan.evaluation.bootstrap import paired_difference
from capstan.evaluation.gates import GateRule, Rival, Window, judge
from capstan.evaluation.metrics import evaluate
from capstan.evaluation.slices import slice_metrics
from capstan.spec.tasks import RANKING
from capstan.tasks import TASKS, Predictions
from capstan.tasks.metric import numbered

TASK = TASKS["Ranking"]
GROUP = st.lists(
    st.tuples(st.sampled_from([0.0, 1.0, 2.0, 3.5]), st.sampled_from([-1.0, 0.0, 0.5, 2.0])),
    min_size=1,
    max_size=6,
)


def _of_one_order(name: str, relevance: Sequence[float]) -> float:
    """The textbook's definition for a list without ties."""
    relevant = [value > 0 for value in relevance]
    if name.startswith("ndcgAt"):
        cut = int(name.removeprefix("ndcgAt"))

        def gain(order: Sequence[float]) -> float:
            return sum(value / math.log2(place + 2) for place, value in enumerate(order[:cut]))

        return gain(relevance) / gain(sorted(relevance, reverse=True))
    if name.startswith("precisionAt"):
        first = relevant[: int(name.removeprefix("precisionAt"))]
        return sum(first) / len(first)
    if name == "meanReciprocalRank":
        return 1 / (relevant.index(True) + 1)
    precisions = [
        sum(relevant[: at + 1]) / (at + 1) for at, is_relevant in enumerate(relevant) if is_relevant
    ]
    return sum(precisions) / len(precisions)


def _expected(name: str, items: Sequence[tuple[float, float]]) -> float:
    """The mean over all orders that the scores allow."""
    orders = [
        [relevance for relevance, _ in order]
        for order in itertools.permutations(items)
        if all(first[1] >= second[1] for first, second in itertools.pairwise(order))
    ]
    return sum(_of_one_order(name, order) for order in orders) / len(orders)


@pytest.mark.parametrize("name", RANKING.metric_names)
@given(groups=st.lists(GROUP, min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_metric_is_the_mean_over_groups_and_over_the_orders_of_tied_items(
    name: str, groups: list[list[tuple[float, float]]]
) -> None:
    items = [(number, *item) for number, group in enumerate(groups) for item in group]
    # Rows of groups need not stand together.
    items = items[1::2] + items[::2]
    found = TASK.metrics[name].value(
        np.array([relevance for _, relevance, _ in items]),
        Predictions({"score": np.array([score for *_, score in items])}),
        np.array([number for number, *_ in items]),
    )
    judged = [group for group in groups if any(relevance > 0 for relevance, _ in group)]
    if not judged:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(np.mean([_expected(name, group) for group in judged]))


@pytest.mark.parametrize("cut", [3, 5, 10])
def test_ndcg_is_that_of_scikit_learn_with_ties_too(cut: int) -> None:
    rng = np.random.default_rng(cut)
    truth, scores = rng.integers(0, 4, (50, 20)).astype(float), rng.integers(0, 6, (50, 20)).astype(float)
    found = TASK.metrics[f"ndcgAt{cut}"].value(
        truth.ravel(), Predictions({"score": scores.ravel()}), np.repeat(np.arange(50), 20)
    )
    assert found == pytest.approx(reference.ndcg_score(truth, scores, k=cut))


def test_average_precision_is_that_of_scikit_learn_without_ties() -> None:
    rng = np.random.default_rng(1)
    truth, scores = rng.integers(0, 2, (50, 12)).astype(float), rng.normal(size=(50, 12))
    found = TASK.metrics["meanAveragePrecision"].value(
        truth.ravel(), Predictions({"score": scores.ravel()}), np.repeat(np.arange(50), 12)
    )
    expected = [
        reference.average_precision_score(*one) for one in zip(truth, scores, strict=True) if one[0].any()
    ]
    assert found == pytest.approx(np.mean(expected))


def test_a_group_without_a_relevant_item_is_left_out_and_told() -> None:
    metric = TASK.metrics["ndcgAt10"]
    truth, groups = np.array([1.0, 0, 0, 0, 2, 0]), np.array([0, 0, 1, 1, 2, 2])
    predictions = Predictions({"score": np.array([1.0, 0, 1, 0, 0, 1])})
    assert metric.losses is not None
    assert metric.value(truth, predictions, groups) == pytest.approx((1 + 1 / math.log2(3)) / 2)
    assert metric.losses(truth, predictions, groups)[1] == 0
    assert metric.counted(truth, groups) == (
        "6 rows in 3 groups (1 of them without a relevant item, which are left out)"
    )
    assert TASK.details(truth, predictions, groups) == {
        "groups": 3,
        "groups_without_relevance": 1,
        "notes": ["1 of 3 groups have no relevant item and are left out"],
    }


def test_resampled_days_without_a_judged_group_define_no_metric() -> None:
    metric = TASK.metrics["ndcgAt10"]
    truth, groups = np.array([1.0, 0, 0, 0]), np.array([0, 0, 1, 1])
    predictions = Predictions({"score": np.array([1.0, 0, 1, 0])})
    weights = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    found = metric.resampled(truth, predictions, groups, np.array([0, 1]), weights)
    assert found[0] == found[2] == 1
    assert math.isnan(found[1])


def test_one_score_for_all_items_is_worth_chance_wherever_the_relevant_one_stands() -> None:
    for place in range(4):
        truth = np.eye(4)[place]
        constant = Predictions({"score": np.zeros(4)})
        assert TASK.metrics["precisionAt1"].value(truth, constant) == pytest.approx(0.25)
        assert TASK.metrics["meanReciprocalRank"].value(truth, constant) == pytest.approx(
            (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4
        )


def test_ranks_follow_scores_and_the_first_named_item_wins_a_tie() -> None:
    outputs = TASK.outputs(Predictions({"score": np.array([0.5, 2.0, 0.5, 0.5 + 1e-14])}))
    assert [one["rank"] for one in outputs] == [2, 1, 3, 4]


def test_orders_that_differ_below_the_top_agree_and_tops_that_differ_disagree() -> None:
    groups = np.array([0, 0, 0, 1, 1])
    one = Predictions({"score": np.array([3.0, 2, 1, 2, 1])})
    below = Predictions({"score": np.array([3.0, 1, 2, 9, 1])})
    top = Predictions({"score": np.array([1.0, 2, 1, 2, 1])})
    assert not TASK.disagree(one, below, groups).any()
    assert TASK.disagree(one, top, groups).tolist() == [True, True, False, False, False]


def test_a_large_group_of_one_score_is_measured_as_exactly_as_a_small_one() -> None:
    size = 1000
    truth = np.zeros(size)
    truth[:3] = 1
    measured = evaluate(TASK, truth, Predictions({"score": np.zeros(size)}))
    assert measured["precisionAt10"] == pytest.approx(3 / size)
    ways = [math.comb(size - place, 2) / math.comb(size, 3) for place in range(1, size - 1)]
    expected = sum(way / place for place, way in enumerate(ways, start=1))
    assert measured["meanReciprocalRank"] == pytest.approx(expected)


DAYS, GROUPS_A_DAY, ITEMS = 10, 12, 8


def _days() -> tuple[np.ndarray, Predictions, np.ndarray, np.ndarray]:
    """Relevance, scores that follow it, groups and days."""
    rng = np.random.default_rng(4)
    rows = DAYS * GROUPS_A_DAY * ITEMS
    truth = rng.integers(0, 4, rows).astype(float)
    scores = truth + rng.normal(0, 1, rows)
    groups = np.arange(rows) // ITEMS
    return truth, Predictions({"score": scores}), groups, groups // GROUPS_A_DAY


@pytest.mark.parametrize(
    ("spoil", "passes"),
    [(lambda s: s, True), (lambda s: -s, False), (np.zeros_like, False)],
    ids=["the same", "reversed", "one score"],
)
def test_a_gate_stops_reversed_orders_and_equal_scores(spoil: Callable[[Any], Any], *, passes: bool) -> None:
    truth, good, groups, days = _days()
    said = Predictions({"score": spoil(good["score"])})
    window = Window(TASK, truth, said, days, groups, Rival("v1", good))
    outcome = judge(GateRule("ndcgAt10", Decide.UNLESS_WORSE, 0.01), window, seed=0)
    assert outcome.passed is passes, outcome.message
    assert "960 rows in 120 groups of 10 days" in outcome.message


def test_a_gate_gives_no_verdict_on_a_score_that_is_none() -> None:
    truth, good, groups, days = _days()
    scores = good["score"].copy()
    scores[3] = np.nan
    window = Window(TASK, truth, Predictions({"score": scores}), days, groups, Rival("v1", good))
    outcome = judge(GateRule("ndcgAt10", margin=0.01), window, seed=0)
    assert outcome.passed is None
    assert "a prediction is not a finite score of every item" in outcome.message


def test_resampling_days_draws_groups_and_not_rows() -> None:
    """Ten equal copies of each group are ten times the rows and no more evidence by day."""
    truth, good, groups, days = _days()
    noisy = Predictions({"score": good["score"] + np.random.default_rng(1).normal(0, 1, len(truth))})
    metric = TASK.metrics["ndcgAt10"]
    found = paired_difference(metric, truth, noisy, good, days, rng=np.random.default_rng(2), groups=groups)
    copies = np.repeat(np.arange(len(truth)).reshape(-1, ITEMS), 10, axis=0).ravel()
    copied = paired_difference(
        metric,
        truth[copies],
        noisy.rows(copies),
        good.rows(copies),
        days[copies],
        rng=np.random.default_rng(2),
        groups=np.arange(len(copies)) // ITEMS,
    )
    assert found is not None
    assert copied is not None
    assert copied.value == pytest.approx(found.value)
    assert np.allclose(copied.resampled, found.resampled)


def test_a_slice_of_whole_groups_has_their_metric_and_one_of_items_orders_them_among_themselves() -> None:
    truth, good, groups, _ = _days()
    shop = np.where(groups % 2 == 0, "north", "south")
    kind = np.where(np.arange(len(truth)) % 2 == 0, "a", "b")
    found = slice_metrics(TASK, {"shop": shop, "kind": kind}, truth, good, groups)
    by_name = {(one.column, one.value): one for one in found}
    metric = TASK.metrics["ndcgAt10"]
    north = groups % 2 == 0
    expected = metric.value(truth[north], good.rows(north), numbered(groups[north]))
    assert by_name["shop", "north"].metrics["ndcgAt10"] == pytest.approx(expected)
    of_kind = kind == "a"
    expected = metric.value(truth[of_kind], good.rows(of_kind), numbered(groups[of_kind]))
    assert by_name["kind", "a"].metrics["ndcgAt10"] == pytest.approx(expected)
