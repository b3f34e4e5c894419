"""A gate passes on evidence, fails on evidence, and says neither without any."""

from __future__ import annotations

import math

import numpy as np
import pytest

from capstan.domain.verdicts.quality import Decide
from capstan.evaluation.gates import Rival, judge_against, judge_value
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


def judge(mine, rival, metric="rocAuc", truth=TRUTH, days=DAYS, margin=0.005, decide="NotWorse"):
    return judge_against(
        None if rival is None else Rival("v1", of(rival)),
        BINARY,
        metric,
        truth,
        of(mine),
        days,
        margin=margin,
        confidence=0.95,
        seed=1,
        decide=Decide(decide),
    )


@pytest.mark.parametrize("metric", ["rocAuc", "logLoss", "averagePrecision"])
def test_a_better_model_passes_and_a_worse_one_does_not(metric: str) -> None:
    assert judge(GOOD, POOR, metric).passed is True
    assert judge(POOR, GOOD, metric).passed is False


def test_the_message_tells_both_values_the_interval_and_what_is_needed() -> None:
    message = judge(GOOD, POOR).message
    assert message.startswith("rocAuc 0.7")
    for piece in ("against v1's 0.", "7,000 rows of 14 days", "difference +0.", "must be above -0.005"):
        assert piece in message


def test_equal_models_pass_within_the_margin_but_not_without_one() -> None:
    assert judge(GOOD, GOOD).passed is True
    assert judge(GOOD, GOOD, margin=0.0).passed is False


SLIGHTLY_NOISY = 1 / (1 + np.exp(-(SCORE + np.random.default_rng(6).normal(0, 0.22, 7000))))


@pytest.mark.parametrize("metric", ["rocAuc", "logLoss"])
def test_unless_worse_lets_through_what_is_not_shown_to_be_worse(metric: str) -> None:
    """The noise costs about the margin: neither rule could prove its side."""
    assert judge(SLIGHTLY_NOISY, GOOD, metric, decide="NotWorse").passed is False
    assert judge(SLIGHTLY_NOISY, GOOD, metric, decide="UnlessWorse").passed is True


@pytest.mark.parametrize("metric", ["rocAuc", "logLoss"])
def test_unless_worse_stops_what_is_shown_to_be_worse(metric: str) -> None:
    assert judge(POOR, GOOD, metric, decide="UnlessWorse").passed is False


def test_the_first_version_passes() -> None:
    assert judge(GOOD, None).passed is True


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
    outcome = judge(**{"mine": GOOD, "rival": POOR, **case})
    assert outcome.passed is None


def test_the_same_seed_gives_the_same_outcome() -> None:
    assert judge(GOOD, POOR) == judge(GOOD, POOR)


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
    outcome = judge_against(
        Rival("v1", champion),
        task,
        metric,
        truth,
        task.predictions(scores, Learnt(tuple(names.tolist()))),
        np.repeat(np.arange(20), 30),
        margin=0.0,
        confidence=0.95,
        seed=1,
    )
    assert outcome.passed, outcome.message
