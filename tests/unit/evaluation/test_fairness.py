"""Fairness is fairlearn's, its bounds keep what they promise, and a gate of it never passes on missing evidence."""

from __future__ import annotations

import math
from importlib import util

import numpy as np
import pytest
from fairlearn import metrics as fairlearn

from capstan.domain.verdicts.quality import Decide
from capstan.errors import MissingExtraError
from capstan.evaluation.fairness import FairnessRule, judge_fairness, spread_of
from capstan.evaluation.gates import Window
from capstan.evaluation.grouping import group_by
from capstan.evaluation.pairs import Shares, largest_difference, smallest_ratio
from capstan.tasks import TASKS, Predictions

BINARY = TASKS["BinaryClassification"]
METRICS = ("DemographicParity", "EqualOpportunity", "EqualisedOdds")
FAIRLEARN = {
    ("DemographicParity", "difference"): fairlearn.demographic_parity_difference,
    ("DemographicParity", "ratio"): fairlearn.demographic_parity_ratio,
    ("EqualOpportunity", "difference"): fairlearn.equal_opportunity_difference,
    ("EqualOpportunity", "ratio"): fairlearn.equal_opportunity_ratio,
    ("EqualisedOdds", "difference"): fairlearn.equalized_odds_difference,
    ("EqualisedOdds", "ratio"): fairlearn.equalized_odds_ratio,
}


class World:
    """Rows of twenty days in groups, each of which is answered true with a chance of its own."""

    def __init__(self, chances: dict[str, float], *, rows: int = 6000, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.group = rng.choice(list(chances), rows)
        self.truth = rng.random(rows) < 0.4
        chance = np.array([chances[name] for name in self.group.tolist()])
        self.selected = rng.random(rows) < np.where(self.truth, np.minimum(1, chance * 1.5), chance)
        self.days = np.sort(rng.integers(0, 20, rows))

    @property
    def window(self) -> Window:
        said = Predictions({"probability": np.where(self.selected, 0.9, 0.1)})
        return Window(BINARY, self.truth, said, self.days)

    def judge(self, rule: FairnessRule, *, least_rows: int = 100, leaves_out: bool = False):
        grouping = group_by({"sex": self.group.tolist()}, least_rows=least_rows, leaves_out=leaves_out)
        return judge_fairness(rule, self.window, grouping, BINARY.metrics["accuracy"], seed=1)


UNEQUAL = World({"a": 0.2, "b": 0.35, "c": 0.3})
EQUAL = World({"a": 0.3, "b": 0.3}, rows=10_000)


def of(metric: str, kind: str, **rule) -> FairnessRule:
    bound = {"most_difference": 0.1} if kind == "difference" else {"least_ratio": 0.8}
    return FairnessRule(metric, **{**bound, **rule})


@pytest.mark.parametrize("kind", ["difference", "ratio"])
@pytest.mark.parametrize("metric", METRICS)
def test_the_number_is_fairlearns_and_lies_within_its_bounds(metric: str, kind: str) -> None:
    spread = spread_of(of(metric, kind), UNEQUAL.window, UNEQUAL.group, seed=1)
    expected = FAIRLEARN[metric, kind](UNEQUAL.truth, UNEQUAL.selected, sensitive_features=UNEQUAL.group)
    assert spread is not None
    assert spread.value == pytest.approx(expected, abs=1e-12)
    assert spread.low < spread.value < spread.high


def test_the_table_holds_what_fairlearn_counts_and_the_metric_of_each_group() -> None:
    _, table = UNEQUAL.judge(of("EqualisedOdds", "difference"))
    frame = fairlearn.MetricFrame(
        metrics={
            "rows": fairlearn.count,
            "selection rate": fairlearn.selection_rate,
            "true positive rate": fairlearn.true_positive_rate,
            "false positive rate": fairlearn.false_positive_rate,
        },
        y_true=UNEQUAL.truth,
        y_pred=UNEQUAL.selected,
        sensitive_features=UNEQUAL.group,
    ).by_group
    assert table["columns"] == [*frame.columns, "accuracy", "gate"]
    for name, cells in zip(table["rows"], table["cells"], strict=True):
        assert cells[:4] == pytest.approx(frame.loc[name].tolist(), abs=5e-5)
        mine = UNEQUAL.group == name
        assert cells[4] == pytest.approx((UNEQUAL.truth == UNEQUAL.selected)[mine].mean(), abs=5e-5)
        assert cells[5] == "judged"


@pytest.mark.parametrize("kind", ["difference", "ratio"])
@pytest.mark.parametrize("metric", METRICS)
def test_unequal_groups_are_refused_and_equal_ones_pass(metric: str, kind: str) -> None:
    for decide in (Decide.NOT_WORSE, Decide.UNLESS_WORSE):
        refused, _ = UNEQUAL.judge(of(metric, kind, decide=decide))
        assert refused.passed is False, refused.message
        passed, _ = EQUAL.judge(of(metric, kind, decide=decide))
        assert passed.passed is True, passed.message


def test_the_message_names_the_groups_their_shares_and_what_was_needed() -> None:
    outcome, _ = UNEQUAL.judge(of("EqualisedOdds", "difference"))
    assert outcome.metric == "EqualisedOdds"
    for words in (
        "EqualisedOdds by sex: largest difference 0.2",
        "between b (true positive rate 0.5",
        "and a (0.2",
        "on 6,000 rows of 20 days; NotWorse: the upper bound must be at most 0.1",
    ):
        assert words in outcome.message, outcome.message


def test_few_rows_pass_unless_shown_unfair_and_not_when_fairness_must_be_shown() -> None:
    """Of 300 rows nothing is shown either way."""
    few = World({"a": 0.3, "b": 0.3}, rows=300, seed=4)
    assert few.judge(of("DemographicParity", "difference"))[0].passed is False
    assert few.judge(of("DemographicParity", "difference", decide=Decide.UNLESS_WORSE))[0].passed is True


@pytest.mark.parametrize(
    ("leaves_out", "passed", "words"),
    [(False, None, "; no evidence: c ("), (True, True, "; left out, for want of evidence: c (")],
)
def test_a_group_of_few_rows_is_no_evidence_unless_the_file_leaves_it_out(
    leaves_out: bool, passed: bool | None, words: str
) -> None:
    world = World({"a": 0.3, "b": 0.3}, rows=20_000)
    world.group[::400] = "c"
    outcome, table = world.judge(of("DemographicParity", "difference"), leaves_out=leaves_out)
    assert outcome.passed is passed
    assert f"{words}50 rows, needs 100)" in outcome.message
    assert table["cells"][-1][-1] == ("left out" if leaves_out else "no evidence")


def test_rows_are_counted_that_a_rate_is_of() -> None:
    """Group a has rows enough, and too few with a true label."""
    world = World({"a": 0.3, "b": 0.3})
    world.truth[(world.group == "a") & (np.arange(6000) % 50 != 0)] = False
    parity, _ = world.judge(of("DemographicParity", "difference"))
    odds, _ = world.judge(of("EqualisedOdds", "difference"))
    assert parity.passed is not None
    assert odds.passed is None
    assert "rows with a true label, needs 100" in odds.message


@pytest.mark.parametrize("leaves_out", [False, True])
def test_one_group_can_not_be_compared(leaves_out: bool) -> None:
    outcome, _ = World({"a": 0.3}).judge(of("DemographicParity", "difference"), leaves_out=leaves_out)
    assert outcome.passed is None
    assert "1 group with enough evidence, and two are compared" in outcome.message


def test_a_model_that_never_says_true_has_no_ratio_and_no_difference() -> None:
    world = World({"a": 0.0, "b": 0.0})
    assert world.judge(of("DemographicParity", "ratio"))[0].passed is None
    assert world.judge(of("DemographicParity", "difference"))[0].passed is True


def test_a_prediction_that_is_none_is_no_evidence() -> None:
    said = Predictions({"probability": np.full(6000, math.nan)})
    window = Window(BINARY, UNEQUAL.truth, said, UNEQUAL.days)
    grouping = group_by({"sex": UNEQUAL.group.tolist()}, least_rows=100, leaves_out=False)
    rule = of("DemographicParity", "difference")
    assert judge_fairness(rule, window, grouping, BINARY.metrics["accuracy"], seed=1)[0].passed is None


def test_groups_of_two_columns_are_their_values_together() -> None:
    grouping = group_by({"sex": ["f", "m", "f"], "race": ["x", None, "y"]}, least_rows=1, leaves_out=False)
    assert grouping.title == "sex, race"
    assert grouping.of_rows.tolist() == ["f, x", "m, (missing)", "f, y"]


def test_without_fairlearn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = util.find_spec
    monkeypatch.setattr(
        "capstan.evaluation.fairness.find_spec", lambda name: None if name == "fairlearn" else found(name)
    )
    with pytest.raises(MissingExtraError, match=r"evaluation.fairness needs the extra 'fair': pip install"):
        EQUAL.judge(of("DemographicParity", "difference"))


RUNS, GROUPS, SAMPLES = 200, 8, 300
ERRORS = 0.05 + 2.5 * math.sqrt(0.05 * 0.95 / RUNS)
"""Five in a hundred, and what chance adds to 200 runs."""


def drawn(rng: np.random.Generator, chances: np.ndarray, days: int) -> Shares:
    """The shares of one world whose groups have these chances and whose days differ."""
    rows = rng.poisson(60, (days, GROUPS)) + 1
    counted = rng.binomial(rows, np.clip(chances + rng.normal(0, 0.03, (days, GROUPS)), 0, 1))
    weights = rng.multinomial(days, np.full(days, 1 / days), size=SAMPLES)
    return Shares(counted.sum(axis=0) / rows.sum(axis=0), (weights @ counted) / (weights @ rows), days)


@pytest.mark.parametrize("days", [7, 40])
@pytest.mark.parametrize("kind", ["difference", "ratio"])
def test_bounds_are_wrong_no_oftener_than_they_say(kind: str, days: int) -> None:
    """One pair lies exactly at the bound, and six groups between."""
    rng = np.random.default_rng(9)
    chances = np.array([0.3, *np.linspace(0.32, 0.38, GROUPS - 2), 0.4])
    above = below = 0
    for _ in range(RUNS):
        shares = [drawn(rng, chances, days)]
        truth = 0.1 if kind == "difference" else 0.75
        low, high = (largest_difference if kind == "difference" else smallest_ratio)(shares, 0.95)
        above, below = above + (low > truth), below + (high < truth)
    assert above / RUNS <= ERRORS
    assert below / RUNS <= ERRORS


@pytest.mark.parametrize("days", [7, 40])
def test_equal_groups_are_seldom_shown_to_differ_though_the_largest_difference_is_never_nothing(
    days: int,
) -> None:
    rng = np.random.default_rng(10)
    lows, naive, ratios = [], [], []
    for _ in range(RUNS):
        shares = drawn(rng, np.full(GROUPS, 0.3), days)
        lows.append(largest_difference([shares], 0.95)[0])
        ratios.append(smallest_ratio([shares], 0.95)[1])
        naive.append(np.quantile(np.ptp(shares.resampled, axis=1), 0.05))
    assert np.mean(np.array(lows) > 0) <= ERRORS
    assert np.mean(np.array(ratios) < 1) <= ERRORS
    assert np.mean(np.array(naive) > 0) == 1, "resampling the largest difference itself always finds one"


def test_a_share_that_may_be_nothing_bounds_its_ratio_by_nothing() -> None:
    rng = np.random.default_rng(3)
    drawn_shares = np.stack([rng.normal(0.01, 0.01, SAMPLES), rng.normal(0.3, 0.02, SAMPLES)], axis=1)
    low, high = smallest_ratio([Shares(np.array([0.01, 0.3]), drawn_shares, 14)], 0.95)
    assert low == 0
    assert 0.03 < high < 0.2


def test_the_ratio_of_sure_shares_is_the_ratio() -> None:
    sure = np.tile([0.2, 0.3, 0.4], (SAMPLES, 1))
    assert smallest_ratio([Shares(sure[0], sure, 14)], 0.95) == pytest.approx((0.5, 0.5))
    assert largest_difference([Shares(sure[0], sure, 14)], 0.95) == pytest.approx((0.2, 0.2))
