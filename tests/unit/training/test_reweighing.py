"""Weights that make group and label independent, and change nothing else."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from capstan.training.reweighing import reweigh

RNG = np.random.default_rng(1)
SEX = RNG.choice(["f", "m"], 2000, p=[0.3, 0.7])
HIRED = RNG.random(2000) < np.where(SEX == "f", 0.1, 0.4)
TABLE = pa.table({"sex": SEX, "race": pa.array([None if row % 5 == 0 else "x" for row in range(2000)])})


def test_every_group_has_every_label_as_often_as_all_rows_have_it() -> None:
    weights = reweigh(TABLE, ["sex"], HIRED).weights
    for name in ("f", "m"):
        mine = np.equal(SEX, name)
        share = float(np.average(HIRED[mine], weights=weights[mine]))
        assert share == pytest.approx(HIRED.mean())
        assert weights[mine].sum() == pytest.approx(mine.sum()), "a group counts as much as before"
    assert weights.mean() == pytest.approx(1)


def test_the_weight_of_a_row_is_what_was_expected_over_what_is_there() -> None:
    weights = reweigh(TABLE, ["sex"], HIRED).weights
    women = SEX == "f"
    hired = weights[women & HIRED]
    assert hired == pytest.approx(women.mean() * HIRED.mean() / (women & HIRED).mean())
    assert hired[0] > 2 > 1 > weights[women & ~HIRED][0]


def test_labels_that_do_not_differ_by_group_leave_all_rows_alike() -> None:
    alike = pa.table({"sex": ["f", "m"] * 4})
    found = reweigh(alike, ["sex"], np.array([True, True, False, False] * 2)).weights
    assert found.tolist() == pytest.approx([1.0] * 8)


def test_groups_are_of_all_columns_together_and_classes_are_labels_too() -> None:
    bands = np.array(["low", "high"])[HIRED.astype(int)]
    both = reweigh(TABLE, ["sex", "race"], bands).weights
    assert len(np.unique(both.round(9))) == 8, "two sexes, two races (one is missing), two classes"
    assert reweigh(TABLE, ["sex"], bands).weights == pytest.approx(reweigh(TABLE, ["sex"], HIRED).weights)


def test_a_group_that_lacks_a_label_is_told() -> None:
    found = reweigh(TABLE, ["sex"], (SEX == "m") & HIRED)
    assert found.notes == ("reweighing by sex can't mend groups that lack a label: f",)
    assert np.isfinite(found.weights).all()
    assert found.weights.mean() == pytest.approx(1)
    assert reweigh(TABLE, ["sex"], HIRED).notes == ()
