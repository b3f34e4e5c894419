"""A gate by slices passes only what each of them passes, and never a slice about which nothing is known."""

from __future__ import annotations

import numpy as np
import pytest

from capstan.domain.verdicts.quality import Decide
from capstan.evaluation.gates import GateRule, Rival, Window
from capstan.evaluation.grouping import group_by
from capstan.evaluation.slice_gates import judge_slices
from capstan.tasks import TASKS, Predictions

BINARY = TASKS["BinaryClassification"]
RNG = np.random.default_rng(3)
ROWS = 6000
DAYS = np.repeat(np.arange(20), ROWS // 20)
SCORE = RNG.normal(size=ROWS)
TRUTH = RNG.random(ROWS) < 1 / (1 + np.exp(-2 * SCORE))
GOOD = 1 / (1 + np.exp(-2 * SCORE))
CARRIER = np.array(["AA", "UA", "B6", "DL"])[RNG.integers(0, 4, ROWS)]
BAD_FOR_UA = np.where(CARRIER == "UA", RNG.random(ROWS), GOOD)
"""As good as before for three carriers in four."""


def judge(mine, rule, carriers=CARRIER, rival=None, least_rows=100, leaves_out=False, only=()):
    window = Window(
        BINARY,
        TRUTH,
        Predictions({"probability": mine}),
        DAYS,
        rival=None if rival is None else Rival("v1", Predictions({"probability": rival})),
    )
    grouping = group_by({"carrier": list(carriers)}, least_rows=least_rows, leaves_out=leaves_out, only=only)
    return judge_slices(rule, window, grouping, seed=1)


def with_few(count: int) -> list[str]:
    """A carrier of its own for the first row of so many days."""
    found = CARRIER.astype("<U4").copy()
    found[:: ROWS // 20][:count] = "HA"
    return found.tolist()


@pytest.mark.parametrize(
    ("rule", "rival"),
    [
        (GateRule("rocAuc", least=0.75), None),
        (GateRule("rocAuc", margin=0.02), GOOD),
        (GateRule("logLoss", Decide.UNLESS_WORSE, margin=0.02), GOOD),
    ],
    ids=["bound", "not-worse", "unless-worse"],
)
def test_a_good_mean_does_not_hide_a_bad_slice(rule: GateRule, rival: np.ndarray | None) -> None:
    outcome, table = judge(BAD_FOR_UA, rule, rival=rival)
    assert outcome.passed is False
    assert "by carrier: 3 of 4 groups passed; missed by UA (" in outcome.message
    assert {name: row[-1] for name, row in zip(table["rows"], table["cells"], strict=True)} == {
        "AA": "passed", "B6": "passed", "DL": "passed", "UA": "missed",
    }  # fmt: skip


def test_every_slice_passing_is_passing() -> None:
    outcome, table = judge(GOOD, GateRule("rocAuc", least=0.75))
    assert outcome.passed is True
    assert outcome.message == "rocAuc by carrier: 4 of 4 groups passed"
    assert [row[0] for row in table["cells"]] == sorted((row[0] for row in table["cells"]), reverse=True)


@pytest.mark.parametrize(
    ("leaves_out", "passed", "words"),
    [
        (False, None, "no evidence: HA (20 rows, needs 100)"),
        (True, True, "left out, for want of evidence: HA (20"),
    ],
)
def test_a_slice_of_few_rows_is_no_evidence_unless_the_file_leaves_it_out(
    leaves_out: bool, passed: bool | None, words: str
) -> None:
    outcome, _ = judge(GOOD, GateRule("rocAuc", least=0.75), with_few(20), leaves_out=leaves_out)
    assert outcome.passed is passed
    assert words in outcome.message


def test_a_slice_that_is_missed_is_told_before_one_without_evidence() -> None:
    outcome, _ = judge(BAD_FOR_UA, GateRule("rocAuc", least=0.75), with_few(20))
    assert outcome.passed is False
    assert "missed by UA" in outcome.message
    assert "no evidence: HA" in outcome.message


def test_a_slice_of_many_rows_and_few_days_is_no_evidence() -> None:
    carriers = np.where(DAYS < 4, "HA", "AA")
    outcome, _ = judge(GOOD, GateRule("rocAuc", least=0.75), carriers)
    assert outcome.passed is None
    assert "HA (too little evidence: 1,200 rows of 4 days, needs 5 days)" in outcome.message


@pytest.mark.parametrize("leaves_out", [False, True])
def test_nothing_passes_where_no_slice_has_evidence(leaves_out: bool) -> None:
    outcome, _ = judge(GOOD, GateRule("rocAuc", least=0.75), least_rows=5000, leaves_out=leaves_out)
    assert outcome.passed is None


def test_only_the_named_slices_count_and_one_that_is_not_there_is_no_evidence() -> None:
    rule = GateRule("rocAuc", least=0.75)
    assert judge(BAD_FOR_UA, rule, only=("AA", "DL"))[0].passed is True
    outcome, _ = judge(BAD_FOR_UA, rule, only=("AA", "HA"))
    assert outcome.passed is None
    assert "HA (0 rows, needs 100)" in outcome.message


def test_more_slices_than_are_judged_are_no_evidence() -> None:
    outcome, table = judge(GOOD, GateRule("accuracy", least=0.1), [str(row % 60) for row in range(ROWS)])
    assert outcome.passed is None
    assert "only the 50 largest are judged; list those that count in `only`" in outcome.message
    assert len(table["rows"]) == 50


def test_unless_worse_seldom_refuses_an_equal_model_however_many_slices_there_are() -> None:
    """Twelve slices at 5 % each would refuse nearly every second time."""
    refused = 0
    for run in range(60):
        rng = np.random.default_rng(run)
        noise = [1 / (1 + np.exp(-(2 * SCORE + rng.normal(0, 0.5, ROWS)))) for _ in range(2)]
        carriers = rng.integers(0, 12, ROWS).astype(str)
        rule = GateRule("logLoss", Decide.UNLESS_WORSE)
        refused += judge(noise[0], rule, carriers, rival=noise[1])[0].passed is False
    assert refused <= 8
