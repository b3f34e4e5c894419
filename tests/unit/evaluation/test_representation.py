"""Who the rows are of, with Wilson's intervals, and what weighing makes of it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import binomtest

from capstan.evaluation.representation import Share, grouped, representation_table
from capstan.training.reweighing import reweigh

RNG = np.random.default_rng(2)
SEX = RNG.choice(["f", "m"], 900, p=[0.3, 0.7])
AGE = RNG.choice(["old", "young"], 900)
HIRED = RNG.random(900) < np.where(SEX == "m", 0.6, 0.2)
TABLE = pa.table({"sex": SEX, "age": AGE})


@pytest.mark.parametrize(("count", "rows"), [(0, 5), (3, 40), (270, 900), (7, 7)])
def test_intervals_are_those_of_wilson(count: int, rows: int) -> None:
    theirs = binomtest(count, rows).proportion_ci(0.95, method="wilson")
    found = Share.of(count, rows)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_shares_and_rates_are_those_of_the_rows() -> None:
    first, second = grouped(TABLE.select(["sex"]), HIRED)
    assert (first.name, second.name) == ("m", "f"), "the largest first"
    assert first.rows == (SEX == "m").sum()
    assert first.share.value == pytest.approx((SEX == "m").mean())
    assert second.rates["true"].value == pytest.approx(HIRED[SEX == "f"].mean())
    assert first.weighed_share is None


def test_reweighing_makes_the_rate_of_every_group_that_of_all() -> None:
    weights = reweigh(TABLE, ["sex"], HIRED).weights
    for group in grouped(TABLE.select(["sex"]), HIRED, weights):
        assert group.weighed_rates["true"] == pytest.approx(HIRED.mean())
        assert group.weighed_share == pytest.approx(group.share.value)
    by_age = grouped(TABLE.select(["age"]), HIRED, weights)
    expected = np.average(HIRED[by_age[0].name == AGE], weights=weights[by_age[0].name == AGE])
    assert by_age[0].weighed_rates["true"] == pytest.approx(expected)


def test_the_table_shows_both_and_says_in_words_which_groups_differ() -> None:
    found = representation_table(TABLE.select(["sex"]), HIRED, reweigh(TABLE, ["sex"], HIRED).weights)
    assert found["columns"] == ["rows", "share of rows", "true", "share reweighed", "true reweighed"]
    (of_m, of_f) = (HIRED[sex == SEX] for sex in "mf")
    assert found["cells"][0][2] == str(Share.of(int(of_m.sum()), len(of_m)))
    assert found["cells"][0][4] == found["cells"][1][4] == f"{HIRED.mean():.1%}"
    mean = f"{HIRED.mean():.1%}"
    assert found["notes"] == [
        f"The label is true in {of_m.mean():.1%} of m and in {of_f.mean():.1%} of f; reweighed {mean} and {mean}."
    ]


def test_groups_of_several_columns_missing_values_and_classes_are_named() -> None:
    table = pa.table({"sex": ["f", None, "f", "f"], "age": ["old", "old", "young", "old"]})
    found = grouped(table, np.array(["a", "b", "b", "c"]))
    assert {group.name: group.rows for group in found} == {"f, old": 2, "(missing), old": 1, "f, young": 1}
    shown = representation_table(table, np.array(["a", "b", "b", "c"]))
    assert shown["columns"] == ["rows", "share of rows", "b", "a", "c"]
    assert shown["notes"] == [], "groups of few rows are not compared"


def test_numbers_have_a_mean_and_no_labels_have_shares_alone() -> None:
    values = np.where(SEX == "m", 2.0, 1.0)
    found = representation_table(TABLE.select(["sex"]), values)
    assert found["columns"] == ["rows", "share of rows", "mean label"]
    assert [row[2] for row in found["cells"]] == [2.0, 1.0]
    assert representation_table(TABLE.select(["sex"]), None)["columns"] == ["rows", "share of rows"]


def test_of_very_many_groups_the_largest_are_shown() -> None:
    many = pa.table({"name": [f"n{index // 2}" for index in range(400)]})
    found = representation_table(many, np.ones(400, dtype=np.bool_))
    assert len(found["rows"]) == 50
    assert found["notes"] == ["The 50 largest of 200 groups are shown."]
