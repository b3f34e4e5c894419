"""A gate passes on evidence, fails on evidence, and says neither without any."""

from __future__ import annotations

import math

import numpy as np
import pytest

from capstan.domain.verdicts.quality import Decide
from capstan.evaluation.gates import GateRule, Rival, Window, judge, judge_value
from capstan.evaluation.slices import slice_metrics
from capstan.tasks import TASKS, Learnt, Predictions

BINARY = TASKS["BinaryClassification"]
DAYS = np.repeat(np.arange(14), 500)
RNG = np.random.default_rng(5)
SCORE = RNG.normal(size=7000)
TRUTH = RNG.random(7000) < 1 / (1 + np.exp(-SCORE))
GOOD = 1 / (1 + np.exp(-SCORE))
POOR = 1 / (1 + np.exp(-(SCORE + RNG.normal(0, 2, 7000))))


def of(probability):
    return Predictions({"probability": probability})


def judge_versions(mine, rival, metric="rocAuc", truth=TRUTH, days=DAYS, margin=0.005, decide="NotWorse"):
    window = Window(BINARY, truth, of(mine), days, rival=Rival("v1", of(rival)))
    return judge(GateRule(metric, Decide(decide), margin), window, seed=1)


def judge_bounds(mine, metric="rocAuc", truth=TRUTH, days=DAYS, **rule):
    return judge(GateRule(metric, **rule), Window(BINARY, truth, of(mine), days), seed=1)


@pytest.mark.parametrize("metric", ["rocAuc", "logLoss", "averagePrecision"])
def test_a_better_model_passes_and_a_worse_one_does_not(metric: str) -> None:
    assert judge_versions(GOOD, POOR, metric).passed is True
    assert judge_versions(POOR, GOOD, metric).passed is False


def test_the_message_tells_both_values_the_interval_and_what_is_needed() -> None:
    message = judge_versions(GOOD, POOR).message
    assert message.startswith("rocAuc 0.7")
    for piece in ("against v1's 0.", "7,000 rows of 14 days", "difference +0.", "must be above -0.005"):
        assert piece in message


def test_equal_models_pass_within_the_margin_but_not_without_one() -> None:
    assert judge_versions(GOOD, GOOD).passed is True
    assert judge_versions(GOOD, GOOD, margin=0.0).passed is False


SLIGHTLY_NOISY = 1 / (1 + np.exp(-(SCORE + np.random.default_rng(6).normal(0, 0.22, 7000))))


@pytest.mark.parametrize("metric", ["rocAuc", "logLoss"])
def test_unless_worse_lets_through_what_is_not_shown_to_be_worse(metric: str) -> None:
    """The noise costs about the margin: neither rule could prove its side."""
    assert judge_versions(SLIGHTLY_NOISY, GOOD, metric, decide="NotWorse").passed is False
    assert judge_versions(SLIGHTLY_NOISY, GOOD, metric, decide="UnlessWorse").passed is True


@pytest.mark.parametrize("metric", ["rocAuc", "logLoss"])
def test_unless_worse_stops_what_is_shown_to_be_worse(metric: str) -> None:
    assert judge_versions(POOR, GOOD, metric, decide="UnlessWorse").passed is False


@pytest.mark.parametrize(
    "case",
    [
        {"truth": np.zeros(7000, bool)},
        {"days": np.zeros(7000, int)},
        {"mine": np.full(7000, math.nan)},
        {"rival": np.full(7000, math.nan)},
        {"mine": GOOD[:0], "rival": POOR[:0], "truth": TRUTH[:0], "days": DAYS[:0]},
    ],
    ids=["one-class", "one-day", "nan-prediction", "nan-champion", "empty"],
)
def test_missing_evidence_is_not_passed_and_not_failed(case: dict) -> None:
    outcome = judge_versions(**{"mine": GOOD, "rival": POOR, **case})
    assert outcome.passed is None


def test_the_same_seed_gives_the_same_outcome() -> None:
    assert judge_versions(GOOD, POOR) == judge_versions(GOOD, POOR)


def test_better_asks_for_the_effect_and_not_only_for_a_difference() -> None:
    assert judge_versions(GOOD, GOOD, decide="Better").passed is False
    window = Window(BINARY, TRUTH, of(GOOD), DAYS, rival=Rival("v1", of(POOR)))
    for effect, passed in ((0.01, True), (0.3, False)):
        outcome = judge(GateRule("rocAuc", Decide.BETTER, minimum_effect=effect), window, seed=1)
        assert outcome.passed is passed, outcome.message
        assert f"must be above {effect:+g}" in outcome.message


VALUE = BINARY.metrics["rocAuc"].value(TRUTH, of(GOOD))


@pytest.mark.parametrize(
    ("rule", "passed"),
    [
        ({"least": VALUE - 0.03}, True),
        ({"least": VALUE - 0.001}, False),
        ({"least": VALUE + 0.03}, False),
        ({"least": VALUE + 0.001, "decide": Decide.UNLESS_WORSE}, True),
        ({"least": VALUE + 0.03, "decide": Decide.UNLESS_WORSE}, False),
        ({"most": VALUE + 0.03}, True),
        ({"most": VALUE + 0.001}, False),
        ({"most": VALUE - 0.001, "decide": Decide.UNLESS_WORSE}, True),
        ({"most": VALUE - 0.03, "decide": Decide.UNLESS_WORSE}, False),
        ({"least": VALUE - 0.03, "most": VALUE + 0.001}, False),
    ],
)
def test_a_metric_must_be_shown_to_keep_its_bound_or_not_be_shown_to_break_it(rule, passed: bool) -> None:
    """A thousandth is less than the days tell: the value alone would say otherwise."""
    outcome = judge_bounds(GOOD, **rule)
    assert outcome.passed is passed, outcome.message


@pytest.mark.parametrize(
    "case",
    [
        {"truth": np.zeros(7000, bool)},
        {"days": np.repeat(np.arange(4), 1750)},
        {"mine": np.full(7000, math.nan)},
    ],
    ids=["one-class", "four-days", "nan-prediction"],
)
def test_a_bound_is_not_kept_on_missing_evidence(case: dict) -> None:
    assert judge_bounds(**{"mine": GOOD, "least": 0.0, **case}).passed is None


def test_the_bounds_of_a_metric_cover_it_as_often_as_they_say() -> None:
    """Fourteen days whose rows are alike: a bound by rows would be far too narrow."""
    rng = np.random.default_rng(11)
    missed = 0
    for run in range(200):
        daily = np.repeat(rng.normal(0.5, 0.1, 28), 60)
        truth = rng.random(len(daily)) < daily
        window = Window(BINARY, truth, of(np.ones(len(daily))), np.repeat(np.arange(28), 60))
        missed += judge(GateRule("accuracy", least=0.5), window, seed=run).passed is True
    assert 3 <= missed <= 22, "5 % of 200, where the true accuracy is the bound itself"


@pytest.mark.parametrize(("value", "passed"), [(0.8, True), (0.6, False), (math.nan, None)])
def test_a_value_is_held_against_its_bound(value: float, passed: bool | None) -> None:
    assert judge_value("rocAuc", value, least=0.7).passed is passed


def test_slices_list_every_value_with_its_rows_and_own_metrics() -> None:
    carrier = np.where(SCORE > 0, "AA", "UA").tolist()
    carrier[0] = None
    found = {part.value: part for part in slice_metrics(BINARY, {"carrier": carrier}, TRUTH, of(GOOD))}
    assert set(found) == {"AA", "UA", "(missing)"}
    assert sum(part.rows for part in found.values()) == 7000
    assert math.isnan(found["(missing)"].metrics["rocAuc"])
    assert found["AA"].metrics["accuracy"] != found["UA"].metrics["accuracy"]


@pytest.mark.parametrize("metric", ["logLoss", "accuracy", "macroF1", "rocAuc"])
def test_a_champion_that_never_saw_a_class_is_compared_by_what_it_costs(metric: str) -> None:
    """The new model knows `cancelled`, which a tenth of the rows are; else both say the same."""
    rng = np.random.default_rng(8)
    task = TASKS["MulticlassClassification"]
    names = np.array(["cancelled", "late", "onTime"])
    truth = names[rng.choice(3, 600, p=[0.1, 0.3, 0.6])]
    scores = rng.dirichlet([1, 1, 1], 600) + 0.8 * (truth[:, None] == names)
    scores /= scores.sum(axis=1, keepdims=True)
    known = scores[:, 1:] / scores[:, 1:].sum(axis=1, keepdims=True)
    champion = task.predictions(known, Learnt(("late", "onTime")))
    said = task.predictions(scores, Learnt(tuple(names.tolist())))
    window = Window(task, truth, said, np.repeat(np.arange(20), 30), rival=Rival("v1", champion))
    outcome = judge(GateRule(metric), window, seed=1)
    assert outcome.passed, outcome.message


def test_the_confusion_matrix_of_two_classes_counts_what_was_answered_at_the_threshold() -> None:
    truth = np.array([True, True, True, False, False])
    (table,) = BINARY.details(truth, of(np.array([0.5, 0.9, 0.1, 0.7, 0.49])))["tables"]
    assert (table["rows"], table["columns"]) == (["false", "true"], ["false", "true"])
    assert table["cells"] == [[1, 1], [1, 2]]
    assert BINARY.details(truth[:0], of(np.empty(0))) == {}
