"""What scales, buckets and stand-ins make of a number: each against its formula, so that none can be a no-op."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from capstan.features.columns import as_they_are, numbers
from capstan.features.kinds import NumericSettings
from capstan.features.rowwise import compile_row
from capstan.features.transform import FeatureTransform
from capstan.features.values import number

MANY = st.lists(
    st.none() | st.floats() | st.integers(-(10**400), 10**400) | st.booleans() | st.just(""),
    min_size=1,
    max_size=6,
)
VALUES = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 100.0])


def made(
    values: NDArray[np.float64] = VALUES, *, seen: NDArray[np.float64] = VALUES, **settings: Any
) -> list[float]:
    """What a feature fitted on `seen` makes of `values`."""
    fitted = NumericSettings("x", "x", **settings).fit(seen)
    return [float(value) for value in fitted.transform(values)[:, 0]]


def test_a_z_score_has_mean_0_and_deviation_1_on_what_it_was_fitted_on() -> None:
    scaled = np.array(made(scale="ZScore"))

    assert scaled == pytest.approx((VALUES - VALUES.mean()) / VALUES.std())
    assert (scaled.mean(), scaled.std()) == pytest.approx((0, 1))


def test_min_max_brings_the_fitted_range_to_0_and_1_and_goes_beyond_it_outside() -> None:
    assert made(np.array([0.0, 25.0, 100.0, 200.0]), scale="MinMax") == pytest.approx([0, 0.25, 1, 2])


def test_log_is_the_signed_logarithm_of_1_and_the_size() -> None:
    values = np.array([-np.e + 1, 0.0, np.e - 1, 999.0])

    assert made(values, scale="Log") == pytest.approx([-1, 0, 1, np.log(1000)])


@pytest.mark.parametrize(
    ("settings", "buckets"),
    [
        ({"bucket_edges": (2.0, 50.0)}, [0, 0, 1, 1, 1, 2]),
        ({"bucket_quantiles": 2}, [0, 0, 0, 1, 1, 1]),
        ({"bucket_widths": 4}, [0, 0, 0, 0, 0, 3]),
    ],
    ids=["given edges: a value on an edge is above it", "equal counts", "equal widths"],
)
def test_a_bucket_is_numbered_from_below(settings: dict[str, Any], buckets: list[float]) -> None:
    assert made(**settings) == buckets


@pytest.mark.parametrize(
    ("settings", "stand_in"),
    [
        ({"impute": "Mean"}, 110 / 6),
        ({"impute": "Median"}, 2.5),
        ({"impute": "Default", "default": -1}, -1),
    ],
)
def test_a_missing_value_becomes_what_was_asked_for(settings: dict[str, Any], stand_in: float) -> None:
    assert made(np.array([np.nan, 4.0]), **settings) == pytest.approx([stand_in, 4])


def test_the_mode_is_the_value_that_was_seen_most_often() -> None:
    seen = np.array([7.0, 3.0, 7.0, 1.0])

    assert made(np.array([np.nan]), seen=seen, impute="Mode") == [7]


@given(MANY)
def test_a_column_of_values_is_read_as_each_of_them_alone(values: list[object]) -> None:
    alone = [number(value, "x") for value in values]
    for column in (tuple(values), as_they_are(values)):
        assert numbers(column, "x").tobytes() == np.array(alone).tobytes()


@given(st.lists(st.tuples(*[st.floats() | st.none()] * 4), min_size=1, max_size=5))
def test_columns_that_are_transformed_together_have_the_bits_of_each_alone(
    rows: list[tuple[Any, ...]],
) -> None:
    scales = ("ZScore", "None", "MinMax", "Log")
    settings = [NumericSettings(scale, scale, scale=scale) for scale in scales]  # type: ignore[arg-type]
    fitted = FeatureTransform(settings).fit({scale: VALUES * (at + 1) / 3 for at, scale in enumerate(scales)})
    table = dict(zip(scales, zip(*rows, strict=True), strict=True))
    together = fitted.transform(table)
    alone = [one.transform(as_they_are(table[one.settings.column])) for one in fitted.features_]
    assert together.tobytes() == np.concatenate(alone, axis=1).tobytes()


GAPS = np.array([1.0, np.nan, 3.0, np.inf, -np.inf, 5.0])


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({}, [1, 3, 3, 3, 3, 5]),
        ({"impute": "Default", "default": 9.0, "scale": "Log"}, np.log([2, 10, 4, 10, 10, 6]).tolist()),
        ({"bucket_edges": (2.0, 4.0)}, [0, 1, 1, 1, 1, 2]),
    ],
    ids=["plain", "scaled", "buckets"],
)
def test_an_indicator_says_where_no_finite_number_was_beside_what_stands_in(
    settings: dict[str, Any], values: list[float]
) -> None:
    fitted = NumericSettings("x", "x", indicator=True, **settings).fit(GAPS)
    assert fitted.names == ("x", "x=missing")
    found = fitted.transform(GAPS)
    assert found[:, 0] == pytest.approx(values)
    assert found[:, 1].tolist() == [0, 1, 0, 1, 1, 0]
    assert NumericSettings("x", "x", **settings).fit(GAPS).transform(GAPS).shape == (6, 1)


@pytest.mark.parametrize(
    ("seen", "said"),
    [([None, None], [0, 1]), ([2.0, 2.0], [0, 1]), ([], [0, 1])],
    ids=["missing", "constant", "empty"],
)
def test_an_indicator_does_not_depend_on_what_training_held(seen: list[Any], said: list[float]) -> None:
    transform = FeatureTransform((NumericSettings("x", "x", indicator=True),)).fit({"x": seen})
    row_of = compile_row(transform)
    for later, missing in zip((7, None), said, strict=True):
        assert transform.transform({"x": [later]})[0, 1] == missing
        assert row_of({"x": later}).tobytes() == transform.transform({"x": [later]})[0].tobytes()
    assert row_of({})[1] == 1


def test_indicators_beside_each_other_keep_their_places() -> None:
    settings = [NumericSettings(name, "x", indicator=name != "b") for name in "abc"]
    found = FeatureTransform(settings).fit({"x": GAPS}).transform({"x": GAPS[:2]})
    assert found.tolist() == [[1, 0, 1, 1, 0], [3, 1, 3, 3, 1]]


def test_a_model_learns_from_an_indicator_what_the_stand_in_hides() -> None:
    """The label is whether the value is missing, and the mean stands in."""
    values = np.where(np.arange(400) % 3 == 0, np.nan, np.random.default_rng(1).normal(size=400))
    truth = np.isnan(values)
    right = {}
    for indicator in (False, True):
        transform = FeatureTransform((NumericSettings("x", "x", "Mean", indicator=indicator),))
        model = LogisticRegression().fit(transform.fit_transform({"x": values}), truth)
        right[indicator] = (model.predict(transform.transform({"x": values})) == truth).mean()
    assert right[True] == 1
    assert right[False] < 0.7
