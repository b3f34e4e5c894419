"""What each encoding makes of a category, also of one that is missing, unseen, or the only one."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.feature_extraction import FeatureHasher

from capstan.errors import InvalidDataError
from capstan.features.kinds import unfitted
from capstan.features.rowwise import compile_row
from capstan.features.transform import FeatureTransform
from capstan.spec.features import Feature
from capstan.spec.tasks import LabelKind
from capstan.tasks import task_with
from capstan.training.cases import Cases
from capstan.training.preparing import prepare

SIZES = ["low", "high", None, "mid", "low", "huge"]
ORDERED = {"encode": "Integer", "order": ["low", "mid", "high"]}


def feature(**settings: Any) -> Feature:
    return Feature.model_validate({"name": "c", "categorical": settings})


def fitted(column: Any, **settings: Any) -> FeatureTransform:
    return FeatureTransform((unfitted(feature(**settings)),)).fit({"c": column})


def cases(column: Any, label: LabelKind = "Boolean") -> Cases:
    truth = np.arange(len(column)) % 2 == 0
    return Cases(task_with(label), pa.table({"c": column}), truth)


def test_hashed_categories_have_the_columns_of_scikit_learn() -> None:
    texts = [f"é {number}" for number in range(400)]
    (wanted,) = (
        FeatureHasher(16, input_type="string", alternate_sign=False).transform([[t] for t in texts]),
    )
    found = fitted(texts, encode="Hashing", buckets=16).transform({"c": texts})
    assert np.array_equal(found[:, :16], wanted.toarray())
    assert not found[:, 16].any()


def test_a_hash_is_the_same_in_another_process() -> None:
    code = (
        "from capstan.features.kinds import HashingSettings\n"
        "print(HashingSettings('c', 'c', 7).fit(['a']).codes(['a', 'b', '7', None]).tolist())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert said == {"[4, 3, 1, 7]\n"}


@pytest.mark.parametrize("column", [[None, None], [], ["a", "a"]], ids=["all missing", "empty", "constant"])
def test_whatever_training_held_every_later_category_has_one_column_of_a_hash(column: list[Any]) -> None:
    transform = fitted(column, encode="Hashing", buckets=4)
    later = ["b", "", None, "\ud800", 3, float("inf"), True]
    matrix = transform.transform({"c": np.array(later, dtype=object)})
    assert matrix.shape == (7, 5)
    assert matrix.sum(axis=1).tolist() == [1] * 7
    assert matrix[:, 4].tolist() == [0, 1, 1, 0, 0, 1, 0]
    row_of = compile_row(transform)
    assert np.array_equal(np.array([row_of({"c": value}) for value in later]), matrix)


def test_an_order_of_the_file_numbers_categories_from_the_lowest() -> None:
    transform = fitted(SIZES, **ORDERED)
    assert transform.transform({"c": SIZES})[:, 0].tolist() == [0, 2, -1, 1, 0, -2]
    assert transform.transform({"c": ["never"]})[0, 0] == -2
    assert transform.count_unseen({"c": SIZES}) == {"c": 1}
    assert not transform.categorical_mask_.any(), "trees cut it as a number"
    plain = fitted(SIZES, encode="Integer").transform({"c": SIZES})[:, 0].tolist()
    assert plain != [0, 2, -1, 1, 0, -2]


def test_an_order_of_numbers_is_read_as_the_column_is() -> None:
    transform = fitted([3, 1, None, 2.0], encode="Integer", order=["3", 2, 1])
    assert transform.transform({"c": [1, 2, 3, "3", None]})[:, 0].tolist() == [2, 1, 0, 0, -1]


def test_an_order_that_the_column_does_not_hold_is_refused_with_what_it_holds() -> None:
    with pytest.raises(
        InvalidDataError, match=r"features.c.categorical.order: lists 'Low', 'Mid'.*holds 'low'"
    ):
        fitted(["low", "mid"], encode="Integer", order=["Low", "Mid"])
    with pytest.raises(InvalidDataError, match="'1' is there twice as a value"):
        fitted([1, 2], encode="Integer", order=["1", "1.0"])


def test_what_an_order_lacks_is_told() -> None:
    noted = prepare([feature(**ORDERED)], cases(SIZES), seed=0).notes
    assert noted == ("feature c: `order` lacks huge (1 rows); such rows count as one category, `other`",)
