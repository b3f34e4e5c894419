"""A single row through compiled code gives what the fitted transform and model give for a table."""

from __future__ import annotations

import io
import math
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Mapping
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits

from capstan.errors import InvalidDataError
from capstan.features import FeatureTransform, as_columns, build_transform
from capstan.features.columnwise import compile_columns
from capstan.features.kinds import CategoricalSettings, NumericSettings
from capstan.features.rowwise import compile_predict, compile_row
from capstan.features.trees import CannotCompileError, compile_trees
from capstan.spec.features import Feature

ROWS = 4000
NUMERIC = {
    "plain": {},
    "zscore": {"impute": "Mean", "scale": "ZScore"},
    "minmax": {"impute": "Mode", "scale": "MinMax"},
    "log": {"impute": "Default", "default": 3, "scale": "Log"},
    "edges": {"bucketEdges": [-1, 0, 2.5]},
    "quantiles": {"bucketQuantiles": 7},
    "widths": {"bucketWidths": 5},
    "said": {"indicator": True, "scale": "ZScore"},
}
CATEGORICAL = {
    "integer": {"encode": "Integer", "minFrequency": 5},
    "hot": {"encode": "OneHot", "minFrequency": 30},
    "code": {"encode": "Integer"},
    "hashed": {"encode": "Hashing", "buckets": 5},
    "ordered": {"encode": "Integer", "order": ["k9", "k1", "k0"], "unseen": "Refuse"},
}
FEATURES = [
    *(
        Feature.model_validate({"name": name, "column": f"n {name}", "numeric": how})
        for name, how in NUMERIC.items()
    ),
    *(
        Feature.model_validate({"name": n, "column": f"c'{n}", "categorical": how})
        for n, how in CATEGORICAL.items()
    ),
]


def training_rows() -> list[dict[str, object]]:
    rng = np.random.default_rng(1)
    rows = []
    for _ in range(ROWS):
        row: dict[str, object] = {}
        for name in NUMERIC:
            value = float(rng.normal(1, 3))
            row[f"n {name}"] = None if rng.random() < 0.05 else value if name != "log" else value**5
        row["c'integer"] = None if rng.random() < 0.1 else f"k{int(rng.exponential(12))}"
        row["c'hot"] = ["a", "b", "é 'quoted'"][int(rng.integers(3))] if rng.random() < 0.99 else "rare"
        row["c'code"] = int(rng.integers(200))
        row["c'hashed"] = row["c'ordered"] = row["c'integer"]
        rows.append(row)
    return rows


TRAINING = training_rows()
TRANSFORM = build_transform(FEATURES)
TRANSFORM.fit(as_columns(TRAINING, TRANSFORM.columns))
MATRIX = TRANSFORM.transform(as_columns(TRAINING, TRANSFORM.columns))
TRUTH = (np.nan_to_num(MATRIX[:, 1]) + MATRIX[:, 9] % 3 + np.random.default_rng(2).normal(size=ROWS)) > 1.5

numbers_sent = st.one_of(
    st.none(),
    st.floats(),
    st.integers(-(2**53), 2**53),
    st.booleans(),
    st.floats(-5, 5),
    st.sampled_from([-1, 0, 2.5]),
)
categories_sent = st.one_of(
    st.none(),
    st.text(max_size=3),
    st.integers(0, 300),
    st.integers(0, 300).map(float),
    st.integers(0, 300).map(str),
    st.floats(),
    st.booleans(),
    st.sampled_from(["a", "rare", "é 'quoted'", "k1", "k40"]),
)
requests = st.fixed_dictionaries(
    {},
    optional={
        **{f"n {name}": numbers_sent for name in NUMERIC},
        **{f"c'{name}": categories_sent for name in CATEGORICAL},
    },
)


def transformed(row: Mapping[str, object]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return TRANSFORM.transform(as_columns([row], TRANSFORM.columns))[0]


ROW_OF = compile_row(TRANSFORM)


@settings(max_examples=500, deadline=None)
@given(row=requests)
def test_any_row_alone_equals_the_row_in_a_table(row: dict[str, object]) -> None:
    assert ROW_OF(row).tobytes() == transformed(row).tobytes()


def test_every_training_row_alone_equals_its_row_in_the_table() -> None:
    assert np.array([ROW_OF(row) for row in TRAINING]).tobytes() == MATRIX.tobytes()


def models() -> dict[str, Any]:
    boosting = {"random_state": 0, "early_stopping": False}
    mask = TRANSFORM.categorical_mask_
    return {
        "boosting": HistGradientBoostingClassifier(categorical_features=mask, max_iter=30, **boosting),
        "deep boosting": HistGradientBoostingClassifier(
            categorical_features=mask, max_leaf_nodes=200, min_samples_leaf=2, max_iter=8, **boosting
        ),
        "boosting without categories": HistGradientBoostingClassifier(max_iter=8, **boosting),
        "logistic": LogisticRegression(max_iter=50),
        "prior": DummyClassifier(strategy="prior"),
        "most frequent": DummyClassifier(strategy="most_frequent"),
        "naive Bayes": GaussianNB(),
    }


@pytest.fixture(scope="module", params=models().keys())
def pipeline(request: pytest.FixtureRequest) -> Pipeline:
    model = models()[request.param]
    matrix = np.clip(MATRIX, -1e3, 1e3) if request.param in ("logistic", "naive Bayes") else MATRIX
    with threadpool_limits(1):
        model.fit(matrix, TRUTH)
    return Pipeline([("transform", TRANSFORM), ("model", model)])


def test_compiled_probability_equals_predict_proba(pipeline: Pipeline) -> None:
    predict = compile_predict(pipeline)
    strange = [dict.fromkeys(TRANSFORM.columns), {}, dict.fromkeys(TRANSFORM.columns, -12345.5)]
    rows = [*TRAINING[:1500], *strange]
    wanted = pipeline.predict_proba(as_columns(rows, TRANSFORM.columns))[:, -1]
    found = np.array([predict(row) for row in rows])
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_columns_have_the_bits_of_the_compiled_row(pipeline: Pipeline) -> None:
    rows = [*TRAINING[:300], dict.fromkeys(TRANSFORM.columns), {}, dict.fromkeys(TRANSFORM.columns, -12345.5)]
    if type(pipeline[-1]).__name__ not in ("HistGradientBoostingClassifier", "LogisticRegression"):
        with pytest.raises(CannotCompileError):
            compile_columns(pipeline)
        return
    row_by_row = compile_predict(pipeline)
    found = compile_columns(pipeline)(as_columns(rows, TRANSFORM.columns))
    assert found == [row_by_row(row) for row in rows], "bit for bit"


@settings(max_examples=60, deadline=None)
@given(row=requests)
def test_compiled_boosting_equals_predict_proba_on_any_row(row: dict[str, object]) -> None:
    with threadpool_limits(1):
        wanted = BOOSTED.predict_proba(as_columns([row], TRANSFORM.columns))[0, 1]
    assert PREDICT(row) == pytest.approx(wanted, rel=1e-12, abs=1e-12)


with threadpool_limits(1):
    BOOSTED = Pipeline([("transform", TRANSFORM), ("model", models()["boosting"].fit(MATRIX, TRUTH))])
PREDICT = compile_predict(BOOSTED)


NUMBER = 3 * np.clip(np.nan_to_num(MATRIX[:, 1]), -5, 5) + MATRIX[:, 9] % 3


def regressors() -> dict[str, Any]:
    boosting = {"random_state": 0, "early_stopping": False, "max_iter": 20}
    mask = TRANSFORM.categorical_mask_
    return {
        "boosting": HistGradientBoostingRegressor(categorical_features=mask, **boosting),
        "boosting of absolute errors": HistGradientBoostingRegressor(loss="absolute_error", **boosting),
        "boosting of counts": HistGradientBoostingRegressor(loss="poisson", **boosting),
        "ridge": Ridge(),
        "least squares": LinearRegression(),
        "mean": DummyRegressor(strategy="mean"),
        "neighbours": KNeighborsRegressor(3),
    }


@pytest.mark.parametrize("name", regressors())
def test_a_compiled_number_equals_predict(name: str) -> None:
    model = regressors()[name]
    # Counts are positive; lines and distances bear no value of 1e300.
    truth = np.abs(NUMBER) if "counts" in name else NUMBER
    straight = name in ("ridge", "least squares", "neighbours")
    with threadpool_limits(1):
        model.fit(np.clip(MATRIX, -1e3, 1e3) if straight else MATRIX, truth)
    pipeline = Pipeline([("transform", TRANSFORM), ("model", model)])
    predict = compile_predict(pipeline)
    rows = [*TRAINING[:300], dict.fromkeys(TRANSFORM.columns), {}, dict.fromkeys(TRANSFORM.columns, -12345.5)]
    found = [predict(row) for row in rows]
    assert all(type(one) is float for one in found)
    np.testing.assert_allclose(
        found, pipeline.predict(as_columns(rows, TRANSFORM.columns)), rtol=1e-9, atol=1e-9
    )


def test_a_number_of_boosted_trees_is_that_of_the_pipeline_bit_by_bit_and_takes_microseconds() -> None:
    with threadpool_limits(1):
        model = regressors()["boosting"].fit(MATRIX, NUMBER)
    pipeline = Pipeline([("transform", TRANSFORM), ("model", model)])
    predict = compile_predict(pipeline)
    found = [predict(row) for row in TRAINING[:1000]]
    assert found == pipeline.predict(as_columns(TRAINING[:1000], TRANSFORM.columns)).tolist()
    started = time.process_time()
    for row in TRAINING[:1000]:
        predict(row)
    assert (time.process_time() - started) / 1000 < 300e-6


def test_boosting_runs_compiled_and_in_microseconds() -> None:
    compile_trees(BOOSTED.steps[-1][1])
    for row in TRAINING[:500]:
        PREDICT(row)
    started = time.process_time()
    for row in TRAINING[:1000]:
        PREDICT(row)
    # The pipeline itself takes several milliseconds; the bound leaves room for slow machines.
    assert (time.process_time() - started) / 1000 < 300e-6


CLASSES = np.array(["late", "on time", "very.late"])[np.digitize(MATRIX[:, 0], [-1, 3])]
BOTH = np.array(["late", "on time"])[TRUTH.astype(np.int64)]


@pytest.fixture(scope="module", params=[name for name in models() if name != "deep boosting"])
def of_names(request: pytest.FixtureRequest) -> tuple[Pipeline, Pipeline]:
    """One pipeline of three classes with names, one of two."""
    matrix = np.clip(MATRIX, -1e3, 1e3) if request.param in ("logistic", "naive Bayes") else MATRIX
    with threadpool_limits(1):
        first, second = (models()[request.param].fit(matrix, truth) for truth in (CLASSES, BOTH))
    return tuple(Pipeline([("transform", TRANSFORM), ("model", model)]) for model in (first, second))


@pytest.mark.parametrize("classes", [3, 2])
@pytest.mark.filterwarnings("ignore:lbfgs failed")
def test_classes_with_names_have_all_their_probabilities_as_in_a_table(
    of_names: tuple[Pipeline, Pipeline], classes: int
) -> None:
    pipeline = of_names[3 - classes]
    predict = compile_predict(pipeline)
    strange = [dict.fromkeys(TRANSFORM.columns), {}, dict.fromkeys(TRANSFORM.columns, -12345.5)]
    rows = [*TRAINING[:500], *strange]
    found = [predict(row) for row in rows]
    assert {type(one) for one in found} == {tuple}
    wanted = pipeline.predict_proba(as_columns(rows, TRANSFORM.columns))
    assert wanted.shape == (len(rows), classes)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


def test_trees_of_several_classes_run_compiled_and_in_microseconds() -> None:
    with threadpool_limits(1):
        model = HistGradientBoostingClassifier(
            categorical_features=TRANSFORM.categorical_mask_,
            max_iter=30,
            random_state=0,
            early_stopping=False,
        ).fit(MATRIX, CLASSES)
    assert len(compile_trees(model).baselines) == 3
    predict = compile_predict(Pipeline([("transform", TRANSFORM), ("model", model)]))
    for row in TRAINING[:500]:
        predict(row)
    started = time.process_time()
    for row in TRAINING[:1000]:
        predict(row)
    assert (time.process_time() - started) / 1000 < 500e-6


def test_text_for_a_number_is_refused_alone_and_in_a_table() -> None:
    row = {"n plain": "12"}
    for attempt in (lambda: ROW_OF(row), lambda: transformed(row)):
        with pytest.raises(InvalidDataError, match="column 'n plain': '12' is not a number"):
            attempt()


def test_arrow_pandas_and_lists_give_the_same_matrix() -> None:
    arrow = pa.Table.from_pylist(TRAINING)
    frame = pd.DataFrame(TRAINING)
    for table in (arrow, frame, {name: [row[name] for row in TRAINING] for name in TRANSFORM.columns}):
        assert TRANSFORM.transform(table).tobytes() == MATRIX.tobytes()
        assert build_transform(FEATURES).fit(table).transform(table).tobytes() == MATRIX.tobytes()


def test_rare_and_unseen_categories_share_one_code_and_are_counted() -> None:
    transform = FeatureTransform((CategoricalSettings("kind", "kind", "Integer", min_frequency=2),))
    transform.fit({"kind": ["b", "a", "a", "b", "b", "once", None, None]})
    assert transform.transform({"kind": ["b", "a", None, "once", "never"]})[:, 0].tolist() == [
        0,
        2,
        1,
        3,
        3,
    ] or (transform.transform({"kind": ["b", "a", None, "once", "never"]})[:, 0].tolist() == [0, 1, 2, 3, 3])
    feature = transform.features_[0]
    assert (feature.rare_categories, feature.rare_rows) == (1, 1)
    assert transform.count_unseen({"kind": ["a", "once", "never"]}) == {"kind": 2}


def test_impute_and_scale_learn_from_present_values_only() -> None:
    values = {"x": [1.0, 2.0, 2.0, None, 7.0, math.inf]}
    found = {
        how: FeatureTransform(
            (NumericSettings("x", "x", impute=how, default=9.0 if how == "Default" else None),)
        )
        .fit(values)
        .transform(values)[3, 0]
        for how in ("Median", "Mean", "Mode", "Default")
    }
    assert found == {"Median": 2.0, "Mean": 3.0, "Mode": 2.0, "Default": 9.0}
    scaled = FeatureTransform((NumericSettings("x", "x", scale="MinMax"),)).fit(values).transform(values)
    assert (scaled.min(), scaled.max()) == (0.0, 1.0)
    constant = FeatureTransform((NumericSettings("x", "x", scale="ZScore"),)).fit({"x": [4, 4]})
    assert constant.transform({"x": [4, 5]})[:, 0].tolist() == [0.0, 1.0]


def test_drop_row_marks_incomplete_rows_for_training() -> None:
    transform = FeatureTransform((NumericSettings("x", "x", impute="DropRow"), NumericSettings("y", "y")))
    assert transform.complete_rows({"x": [1, None, 3], "y": [None, 1, 1]}).tolist() == [True, False, True]
    with pytest.raises(InvalidDataError, match="leaves no row"):
        transform.complete_rows({"x": [None], "y": [1]})


def test_too_many_categories_are_numbers_to_trees() -> None:
    many = {"kind": [f"k{index}" for index in range(400)]}
    transform = FeatureTransform((CategoricalSettings("kind", "kind", "Integer"),)).fit(many)
    assert not transform.categorical_mask_.any()


def test_fitted_transform_is_loaded_and_run_without_heavy_packages(tmp_path: Any) -> None:
    joblib.dump(BOOSTED, tmp_path / "pipeline.joblib")
    code = (
        "import joblib, sys; p = joblib.load(sys.argv[1]); from capstan.features.rowwise import compile_predict; "
        "print(repr(compile_predict(p)({'n plain': 1.0}))); "
        "heavy = {'polars', 'duckdb', 'pandera', 'pydantic', 'mlflow', 'kfp'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "pipeline.joblib")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert float(run.stdout) == PREDICT({"n plain": 1.0})


def test_the_same_transform_pickles_to_the_same_bytes() -> None:
    first, second = io.BytesIO(), io.BytesIO()
    joblib.dump(TRANSFORM, first)
    joblib.dump(build_transform(FEATURES).fit(as_columns(TRAINING, TRANSFORM.columns)), second)
    assert first.getvalue() == second.getvalue()


def hot(categories: int, rows: int) -> tuple[FeatureTransform, list[dict[str, object]]]:
    """A fitted transform of one-hot columns, one of them with so many categories, beside numbers."""
    table = [
        {"shop": f"shop-{row % categories}", "n": float(row % 7), "kind": "abc"[row % 3]}
        for row in range(rows)
    ]
    transform = FeatureTransform(
        (
            NumericSettings("n", "n", scale="ZScore"),
            CategoricalSettings("shop", "shop"),
            CategoricalSettings("kind", "kind"),
        )
    )
    transform.fit(as_columns(table, transform.columns))
    return transform, table


def test_forty_thousand_categories_compile_in_little_memory_and_run_in_microseconds() -> None:
    transform, table = hot(40_000, 40_000)
    model = LogisticRegression()
    rng = np.random.default_rng(3)
    model.classes_, model.intercept_ = np.array([False, True]), np.array([0.25])
    model.coef_ = rng.normal(size=(1, transform.n_features_out_))
    model.n_features_in_ = transform.n_features_out_
    pipeline = Pipeline([("transform", transform), ("model", model)])
    tracemalloc.start()
    predict, row_of = compile_predict(pipeline), compile_row(transform)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100 * 2**20
    rows = [*table[:20], *table[-20:], {"shop": "never seen"}, {}]
    columns = as_columns(rows, transform.columns)
    assert np.array([row_of(row) for row in rows]).tobytes() == transform.transform(columns).tobytes()
    np.testing.assert_allclose(
        [predict(row) for row in rows], pipeline.predict_proba(columns)[:, 1], rtol=1e-12, atol=1e-14
    )
    started = time.process_time()
    for row in table[:1000]:
        predict(row)
    assert (time.process_time() - started) / 1000 < 100e-6


def test_trees_split_on_one_hot_columns_as_in_a_table() -> None:
    transform, table = hot(60, 3000)
    matrix = transform.transform(as_columns(table, transform.columns))
    truth = np.array([hash_of(row) for row in table])
    model = HistGradientBoostingClassifier(max_iter=30, random_state=0, early_stopping=False).fit(
        matrix, truth
    )
    predict = compile_predict(Pipeline([("transform", transform), ("model", model)]))
    rows = [*table[:200], {"shop": "never seen", "n": 1.0}, {}]
    wanted = model.predict_proba(transform.transform(as_columns(rows, transform.columns)))[:, 1]
    np.testing.assert_allclose([predict(row) for row in rows], wanted, rtol=1e-12)
    # Nearly all trees ask for single shops, and the truth follows from them.
    assert {value > 0.5 for value in wanted} == {True, False}
    assert sum(len(iteration[0].nodes) for iteration in model._predictors) > 300


def hash_of(row: Mapping[str, object]) -> bool:
    """A truth that needs several one-hot columns."""
    return int(str(row["shop"]).removeprefix("shop-")) % 5 < 2 or row["kind"] == "a"
