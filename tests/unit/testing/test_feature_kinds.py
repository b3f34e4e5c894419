"""Every kind of feature keeps its suite, and the suite notices kinds that do not."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capstan.features.kinds import KINDS, FittedNumeric, NumericSettings, RowPlace
from capstan.features.kinds.kind import Booleans
from capstan.spec.features import Feature
from capstan.testing import NotConformingError, check_feature_kind
from capstan.training.factories import importable

CYCLE = """
import numpy as np

class Cycle:
    def __init__(self, period):
        self.period = period

    def fit(self, values):
        self.middle = float(np.nanmean(values))
        return self

    def transform(self, values):
        angle = np.where(np.isnan(values), self.middle, values) * 2 * np.pi / self.period
        return np.column_stack([np.sin(angle), np.cos(angle)])

def make(period=24):
    return Cycle(period)
"""
LENGTH = """
import numpy as np

class Length:
    def fit(self, texts):
        return self

    def transform(self, texts):
        return np.array([0 if text is None else len(text) for text in texts], dtype=float)

def make():
    return Length()
"""
EMBEDDED = """
import numpy as np

def lengths(values):
    return np.array([[len(text), text.count("e")] for text in values], dtype=float)

def of_texts():
    return lengths

def levels(values):
    return np.array([[image.mean(), image[0].max()] for image in values])

def of_images():
    return levels
"""
OWN_NUMBER = {
    "name": "own",
    "custom": {"factory": "theirs:make", "parameters": {"period": 12}, "reads": "Number"},
}
OWN_CATEGORY = {"name": "own", "custom": {"factory": "lengths:make", "reads": "Category"}}
EXAMPLES: list[dict[str, Any]] = [
    {"name": "x", "numeric": {}},
    {"name": "x", "numeric": {"impute": "DropRow"}},
    {"name": "x", "column": "other", "numeric": {"scale": "Log", "impute": "Mean"}},
    {"name": "x", "numeric": {"scale": "ZScore", "impute": "Default", "default": -1, "outside": "Refuse"}},
    {"name": "x", "numeric": {"bucketQuantiles": 4, "impute": "Mode"}},
    {"name": "x", "numeric": {"indicator": True, "scale": "Log"}},
    {"name": "x", "numeric": {"indicator": True, "bucketWidths": 3}},
    {"name": "c", "categorical": {}},
    {"name": "c", "categorical": {"encode": "Integer", "minFrequency": 5, "unseen": "Refuse"}},
    {"name": "c", "categorical": {"encode": "Hashing"}},
    {"name": "c", "categorical": {"encode": "Hashing", "buckets": 2}},
    {"name": "c", "categorical": {"encode": "Target", "minFrequency": 5, "unseen": "Refuse"}},
    {"name": "when", "date": {"parts": ["Minute", "Hour", "Weekday", "Day", "Month", "Quarter", "Year"]}},
    {"name": "when", "date": {"parts": ["DayOfYear", "Hour"], "cyclic": True, "indicator": True}},
    {"name": "t", "text": {"maxWords": 2}},
    {"name": "t", "text": {"encode": "Hashing", "buckets": 3, "ngrams": 2}},
    {"name": "i", "image": {"width": 4, "height": 3}},
    {
        "name": "i",
        "image": {"width": 2, "height": 2, "channels": "RGB", "normalize": "ZScore", "unreadable": "Missing"},
    },
    {"name": "i", "image": {"width": 3, "height": 2, "channels": "RGB", "normalize": "ImageNet"}},
    {"name": "t", "text": {"embed": {"factory": "embedded:of_texts"}}},
    {
        "name": "i",
        "image": {"width": 4, "height": 3, "channels": "RGB", "embed": {"factory": "embedded:of_images"}},
    },
    OWN_NUMBER,
    OWN_CATEGORY,
]


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    (tmp_path / "theirs.py").write_text(CYCLE)
    (tmp_path / "lengths.py").write_text(LENGTH)
    (tmp_path / "embedded.py").write_text(EMBEDDED)
    return tmp_path


def test_every_alternative_of_a_feature_is_a_kind_with_an_example() -> None:
    assert list(Feature.alternatives()) == list(KINDS)
    assert {Feature.model_validate(example).key for example in EXAMPLES} == set(KINDS)


@pytest.mark.parametrize("example", EXAMPLES, ids=str)
def test_a_kind_keeps_its_suite(example: dict[str, Any], theirs: Path) -> None:
    with importable(theirs):
        check_feature_kind(example)


@dataclass(frozen=True)
class Broken(NumericSettings):
    """Numbers, whose fitted form is another."""

    fault: type[FittedNumeric] | None = None

    def fit(self, table_column: Any) -> FittedNumeric:
        fitted = super().fit(table_column)
        assert self.fault is not None
        return self.fault(**{**vars(fitted), "settings": replace(self, fault=None)})


@dataclass(frozen=True)
class OtherRow(FittedNumeric):
    def row_source(self, place: RowPlace) -> list[str]:
        return [*super().row_source(place), f" x{place.output} += 1e-9"]


@dataclass(frozen=True)
class Neighbours(FittedNumeric):
    def transform(self, table_column: Any) -> Any:
        found = super().transform(table_column)
        return found - found.mean()


@dataclass(frozen=True)
class Gaps(FittedNumeric):
    def transform(self, table_column: Any) -> Any:
        found = super().transform(table_column)
        return np.where(found == self.missing, np.nan, found)


@dataclass(frozen=True)
class Random(FittedNumeric):
    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "missing": random.random()}


@dataclass(frozen=True)
class OneName(FittedNumeric):
    @property
    def names(self) -> tuple[str, ...]:
        return ("x", "x")


@dataclass(frozen=True)
class Claimed(FittedNumeric):
    @property
    def is_one_hot(self) -> bool:
        return True

    @property
    def is_code(self) -> bool:
        return True


@dataclass(frozen=True)
class FrameOnly(FittedNumeric):
    def transform(self, table_column: Any) -> Any:
        return super().transform(table_column.combine_chunks())


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        (OtherRow, "row_source gives, bit by bit, what transform gives"),
        (Neighbours, "a row gives the same alone as among others: transform looks at other rows"),
        (Gaps, "a number is not finite"),
        (Random, "the same column gives the same bytes: two fits differ"),
        (OneName, r"shape \(300, 1\) for 300 rows and the names \('x', 'x'\)"),
        (Claimed, "`is_one_hot` says that one output of a row is 1"),
        (Claimed, "`is_code` says that its one output is a whole number"),
        (FrameOnly, "a column of a request gives what the same one of a table gives: AttributeError"),
    ],
)
def test_the_suite_notices_a_broken_kind(fault: type[FittedNumeric], rule: str) -> None:
    class Kind(Broken):
        @classmethod
        def of(cls, feature: Feature) -> Broken:
            return Broken(**{**vars(NumericSettings.of(feature)), "fault": fault})

    with pytest.raises(NotConformingError, match=rule):
        check_feature_kind({"name": "x", "numeric": {}}, Kind)


def test_the_suite_notices_a_kind_that_keeps_rows_it_cannot_use() -> None:
    class Careless(NumericSettings):
        def kept_rows(self, table_column: Any) -> Booleans | None:
            return None

    with pytest.raises(NotConformingError, match="`needs_value` of its settings says otherwise"):
        check_feature_kind({"name": "x", "numeric": {"impute": "DropRow"}}, Careless)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        (
            "return self\n",
            "pass\n",
            "fit gave NoneType; it must return the fitted transformer, `return self`",
        ),
        (
            "np.isnan(values)",
            "np.isnan(values) & False",
            r"transform gave \[nan, nan\] for nan; every output must be",
        ),
        (
            "return np.column_stack([",
            "return np.stack([",
            r"transform gave shape \(2, 50\) for 50 values; it must be",
        ),
        (
            "self.middle, values)",
            "np.nanmean(values), values)",
            "every output must be|something else alone than",
        ),
        ("return Cycle(period)", "return period", "gave int, which has no fit and no transform"),
        (
            "return Cycle(period)",
            "one = Cycle(period); one.key = lambda: 1; return one",
            "can't be saved before",
        ),
        ("self.middle = float", "self.key = lambda: 1; self.middle = float", "can't be saved after fit"),
        (
            "self.middle = float",
            "raise KeyError('hour'); self.middle = float",
            "theirs:make: fit: KeyError: 'hour'",
        ),
    ],
    ids=[
        "returns-nothing",
        "missing",
        "shape",
        "neighbours",
        "no-transformer",
        "lambda",
        "lambda-later",
        "raises",
    ],
)
def test_an_own_feature_that_cannot_be_served_fails_when_it_is_fitted(
    theirs: Path, old: str, new: str, problem: str
) -> None:
    assert old in CYCLE
    (theirs / "theirs.py").write_text(CYCLE.replace(old, new, 1))
    with importable(theirs), pytest.raises(NotConformingError, match=problem) as caught:
        check_feature_kind(OWN_NUMBER)
    assert "theirs:make" in str(caught.value)
