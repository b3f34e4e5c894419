"""Folds are those of scikit-learn's splitters, and no unit is in two of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
)

from capstan.data.folds import LEFT_OUT, NOT_JUDGED, Kind, fold
from capstan.errors import InvalidDataError

ROWS, COUNT, SEED = 203, 5, 7
LABELS = np.arange(ROWS) % 7 == 0
GROUPS = np.random.default_rng(3).integers(0, 40, ROWS)
EVERY = np.arange(ROWS)
THEIRS: dict[str, tuple[Kind, Any, Any, Any]] = {
    "random": ("random", KFold(COUNT, shuffle=True, random_state=SEED), EVERY, None),
    "stratified": ("stratified", StratifiedKFold(COUNT, shuffle=True, random_state=SEED), EVERY, LABELS),
    "group": ("group", GroupKFold(COUNT), GROUPS, None),
    "group of classes": (
        "group",
        StratifiedGroupKFold(COUNT, shuffle=True, random_state=SEED),
        GROUPS,
        LABELS,
    ),
    "byTime": ("byTime", TimeSeriesSplit(COUNT), EVERY, LABELS),
}


@pytest.mark.parametrize(("kind", "splitter", "units", "labels"), THEIRS.values(), ids=THEIRS)
def test_folds_are_those_of_scikit_learn(kind: Kind, splitter: Any, units: Any, labels: Any) -> None:
    ours = list(fold(kind, COUNT, EVERY, of=ROWS, units=units, labels=labels, seed=SEED))
    theirs = list(splitter.split(EVERY, labels, groups=units if kind == "group" else None))
    assert len(ours) == len(theirs) == COUNT
    for (learns, judged), (their_learning, their_judged) in zip(ours, theirs, strict=True):
        assert learns.tolist() == sorted(their_learning)
        assert judged.tolist() == sorted(their_judged)


def test_rows_of_one_moment_are_in_one_fold_and_none_learns_from_later_ones() -> None:
    days = np.repeat(np.arange(20), 10)
    folds = fold("byTime", 4, np.arange(200), of=200, units=days, labels=None, seed=0)
    for learns, judged in folds:
        assert days[learns].max() < days[judged].min()
    assert folds.of_rows.min() == NOT_JUDGED, "the oldest days only learn"
    for day in range(20):
        assert len(set(folds.of_rows[days == day])) == 1


def test_rows_of_the_test_are_in_no_fold() -> None:
    rows = np.arange(0, 90, 2)
    folds = fold("random", 3, rows, of=90, units=rows, labels=None, seed=0)
    assert (folds.of_rows[1::2] == LEFT_OUT).all()
    for learns, judged in folds:
        assert not set(learns) & set(judged)
        assert sorted([*learns, *judged]) == rows.tolist()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 12), min_size=30, max_size=120),
    st.sampled_from(["random", "stratified", "group", "byTime"]),
    st.integers(0, 99),
)
def test_no_unit_is_on_both_sides_of_a_fold(units: list[int], kind: Kind, seed: int) -> None:
    unit = np.array(units)
    labels = unit % 2 == 0
    try:
        folds = fold(kind, 3, np.arange(len(unit)), of=len(unit), units=unit, labels=labels, seed=seed)
    except InvalidDataError:
        return
    for learns, judged in folds:
        assert not set(unit[learns]) & set(unit[judged])


@pytest.mark.parametrize(
    ("kind", "what"), [("random", "5 rows that differ"), ("group", "5 groups"), ("byTime", "6 moments")]
)
def test_fewer_units_than_folds_are_refused_with_the_way_out(kind: Kind, what: str) -> None:
    unit = np.array([1, 1, 2, 2, 3, 3])
    with pytest.raises(
        InvalidDataError, match=f"5 folds need {what}, and training and validation have 3; write fewer"
    ):
        fold(kind, 5, np.arange(6), of=6, units=unit, labels=None, seed=0)
