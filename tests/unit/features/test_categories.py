"""What each encoding makes of a category, also of one that is missing, unseen, or the only one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.feature_extraction import FeatureHasher
from sklearn.model_selection import KFold
from sklearn.preprocessing import TargetEncoder

from capstan.errors import InvalidDataError, InvalidSpecError
from capstan.features.kinds import Target, unfitted
from capstan.features.rowwise import compile_row
from capstan.features.transform import FeatureTransform
from capstan.spec.features import Feature
from capstan.spec.loading import parse
from capstan.spec.tasks import LabelKind
from capstan.tasks import task_with
from capstan.tasks.areas import roc_auc
from capstan.training.cases import Cases
from capstan.training.preparing import prepare

FLIGHTS = Path(__file__).parents[1] / "spec" / "flight_delays.yaml"
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


def labels(column: list[Any], *, in_time_order: bool = True) -> Target:
    values = (np.arange(len(column), dtype=np.float64) * 7 % 5).reshape(-1, 1)
    return Target(values, ("",), in_time_order)


def by_label(
    column: list[Any], *, in_time_order: bool = True, **settings: Any
) -> tuple[FeatureTransform, Any]:
    """The fitted transform, and the matrix that a model learns from."""
    target = labels(column, in_time_order=in_time_order)
    kind = unfitted(feature(encode="Target", **settings))
    transform = FeatureTransform((kind,)).fit({"c": column}, target)
    return transform, transform.transform_training({"c": column}, target)


LETTERS = [None if number % 11 == 0 else "abcd"[number % 4] for number in range(300)]


def test_mean_labels_are_those_of_scikit_learn() -> None:
    transform, learnt = by_label(LETTERS, in_time_order=False)
    known = np.array(["missing" if one is None else one for one in LETTERS], dtype=object).reshape(-1, 1)
    values = labels(LETTERS).values[:, 0]
    folds = KFold(5, shuffle=True, random_state=0)
    encoder = TargetEncoder(target_type="continuous", cv=folds)
    assert np.allclose(learnt, encoder.fit_transform(known, values), rtol=1e-12, atol=0)
    assert np.allclose(transform.transform({"c": LETTERS}), encoder.transform(known), rtol=1e-12, atol=0)
    assert transform.transform({"c": ["never"]})[0, 0] == pytest.approx(values.mean())


def test_of_rows_in_order_of_time_no_row_is_told_by_itself_or_by_later_ones() -> None:
    kind = unfitted(feature(encode="Target"))
    target = labels(LETTERS)
    _, before = by_label(LETTERS)
    for row in (0, 29, 30, 150, 299):
        values = target.values.copy()
        values[row] += 1000
        changed = Target(values, ("",), in_time_order=True)
        transform = FeatureTransform((kind,)).fit({"c": LETTERS}, changed)
        after = transform.transform_training({"c": LETTERS}, changed)
        next_stretch = row - row % 30 + 30
        first = 30 if row < 30 else 0
        assert np.array_equal(after[first:next_stretch], before[first:next_stretch])
        assert len(np.unique(after[:30])) == 1, "the first stretch tells no category from another"
        if next_stretch < 300:
            assert not np.array_equal(after[next_stretch:], before[next_stretch:])


def test_a_category_that_says_nothing_tells_a_model_nothing_of_its_rows_own_labels() -> None:
    """2,000 categories of two rows: means that hold a row's own label would look like knowledge."""
    rng = np.random.default_rng(4)
    column = [f"k{number}" for number in rng.permutation(np.arange(4000) // 2)]
    truth = (rng.random(4000) < 0.5).astype(np.float64)
    kind = unfitted(feature(encode="Target"))
    for in_time_order in (True, False):
        target = Target(truth.reshape(-1, 1), ("",), in_time_order)
        transform = FeatureTransform((kind,)).fit({"c": column}, target)
        assert roc_auc(truth > 0, transform.transform({"c": column})[:, 0]) > 0.7
        assert abs(roc_auc(truth > 0, transform.transform_training({"c": column}, target)[:, 0]) - 0.5) < 0.05


@pytest.mark.parametrize(
    "column", [[None] * 20, ["a"] * 20, ["a"], []], ids=["missing", "constant", "one", "empty"]
)
@pytest.mark.parametrize("in_time_order", [True, False], ids=["time", "random"])
def test_means_of_whatever_column_are_finite(column: list[Any], in_time_order: bool) -> None:
    transform, learnt = by_label(column, in_time_order=in_time_order)
    assert learnt.shape == (len(column), 1)
    later = np.array(["b", None, 3, float("inf"), "\ud800"], dtype=object)
    matrix = transform.transform({"c": later})
    assert np.isfinite(learnt).all()
    assert np.isfinite(matrix).all()
    row_of = compile_row(transform)
    assert np.array_equal(np.array([row_of({"c": value}) for value in later]), matrix)


def test_labels_that_are_classes_give_a_share_of_each() -> None:
    column = ["a", "a", "a", "b", "b", "b"] * 20
    truth = np.array(["no", "no", "no", "so", "so", "yes"] * 20)
    table = pa.table({"c": column})
    prepared = prepare([feature(encode="Target")], Cases(task_with("Category"), table, truth), seed=0)
    assert prepared.transform.get_feature_names_out().tolist() == ["c:no", "c:so", "c:yes"]
    found = prepared.transform.transform(table)
    assert np.allclose(found[:4:3], np.array([[1, 0, 0], [0, 2 / 3, 1 / 3]]), atol=0.01)
    assert prepared.lesson.matrix.shape == (120, 3)
    assert not np.array_equal(prepared.lesson.matrix, found)
    row_of = compile_row(prepared.transform)
    assert np.array_equal([row_of({"c": one}) for one in column], found)


def test_a_feature_of_labels_is_not_fitted_without_any() -> None:
    with pytest.raises(InvalidDataError, match=r"features.c.categorical.encode: Target learns from labels"):
        fitted(LETTERS, encode="Target")


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("task: BinaryClassification", "task: Ranking", "labels of Ranking compare rows of one group alone"),
        ("task: BinaryClassification", "task: AnomalyDetection", "AnomalyDetection learns without labels"),
        (
            "    window: {type: Expanding}",
            "    reweigh: {by: [carrier]}",
            "weights of training.reweigh, so it brings back",
        ),
    ],
    ids=["ranking", "anomalies", "weights"],
)
def test_mean_labels_are_refused_where_they_say_nothing(old: str, new: str, problem: str) -> None:
    text = FLIGHTS.read_text().replace("encode: OneHot", "encode: Target", 1)
    parse(text, base_dir=FLIGHTS.parent)
    assert old in text
    with pytest.raises(InvalidSpecError) as refused:
        parse(text.replace(old, new, 1), base_dir=FLIGHTS.parent)
    (told,) = [one for one in refused.value.mistakes if "encode" in str(one)]
    assert "features[3].categorical.encode" in str(told)
    assert problem in str(told)
    assert "take another `encode`" in str(told)
