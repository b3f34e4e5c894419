"""What a report says of columns is what pandas and SciPy say of the same rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats.contingency import association

from capstan.data.description import columns as columns_module
from capstan.data.description import correlations, describe_columns
from capstan.spec import MLSystem, parse

ROWS = 2000


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    x = rng.lognormal(2, 0.5, ROWS)
    kind = rng.choice(["a", "b", "<i>c</i>"], ROWS, p=[0.6, 0.3, 0.1])
    found = pd.DataFrame(
        {
            "x": np.where(rng.random(ROWS) < 0.1, np.nan, x),
            "y": x * 2 + rng.normal(0, 3, ROWS),
            "kind": kind,
            "at": pd.date_range("2024-01-01", periods=ROWS, freq="h", tz="UTC"),
            "name": [f"person {at}" for at in range(ROWS)],
            "few": rng.integers(0, 5, ROWS),
            "late": rng.random(ROWS) < np.where(kind == "a", 0.7, 0.2),
        }
    )
    found.loc[:9, "kind"] = None
    return found


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> MLSystem:
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "visits"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "late"},
            "data": {
                "sources": [{"name": "rows", "csv": {"path": "rows.csv", "timeColumn": "at"}}],
                "keys": {"id": "id", "time": "at"},
                "label": {"column": "late", "availableAt": "known"},
            },
            "features": [{"name": "x", "numeric": {}}],
        },
    }
    return parse(document, base_dir=Path(tmp_path_factory.mktemp("home")))


PARTS = {"training": np.arange(1500), "test": np.arange(1500, ROWS)}


def table(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def test_numbers_of_each_part_are_those_of_pandas(frame: pd.DataFrame, system: MLSystem) -> None:
    (x,) = describe_columns(table(frame), ["x"], PARTS, system)
    for name, rows in PARTS.items():
        known, of = frame["x"].iloc[rows], x["parts"][name]
        assert (of["rows"], of["missing"]) == (len(rows), int(known.isna().sum()))
        told = [of["mean"], of["deviation"], of["min"], of["max"]]
        assert told == pytest.approx([known.mean(), known.std(), known.min(), known.max()])
        assert sum(x["bins"]["counts"][name]) == known.notna().sum(), "every value is in a bin"
    assert x["quartiles"] == pytest.approx(frame["x"].quantile([0.25, 0.5, 0.75]).tolist())
    low, width = x["bins"]["from"], x["bins"]["width"]
    edges = np.concatenate([[-np.inf], low + width * np.arange(1, 20), [np.inf]])
    of_test = np.histogram(frame["x"].iloc[PARTS["test"]].dropna(), edges)[0]
    assert x["bins"]["counts"]["test"] == of_test.tolist()


def test_categories_are_counted_and_the_rarer_ones_are_one(
    frame: pd.DataFrame, system: MLSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columns_module, "MOST_CATEGORIES", 2)
    (kind,) = describe_columns(table(frame), ["kind"], PARTS, system)
    found, rows = kind["categories"], frame["kind"].iloc[PARTS["training"]]
    assert found["names"] == ["a", "b"]
    assert found["counts"]["training"] == [int((rows == "a").sum()), int((rows == "b").sum())]
    assert found["others"]["training"] == int((rows == "<i>c</i>").sum())
    assert kind["parts"]["training"]["missing"] == 10


def test_of_texts_that_nearly_all_differ_no_value_is_shown(frame: pd.DataFrame, system: MLSystem) -> None:
    (name,) = describe_columns(table(frame), ["name"], PARTS, system)
    assert name["hidden"]
    assert "person" not in str({key: value for key, value in name.items() if key != "name"})


def test_whole_numbers_have_a_bin_each_and_moments_are_seconds(frame: pd.DataFrame, system: MLSystem) -> None:
    few, at = describe_columns(table(frame), ["few", "at"], PARTS, system)
    assert few["bins"]["from"] == -0.5
    assert few["bins"]["counts"]["test"] == np.bincount(frame["few"].iloc[PARTS["test"]]).tolist()
    assert at["type"] == "Time"
    assert at["parts"]["training"]["min"] == frame["at"].iloc[0].timestamp()


def test_a_column_without_a_value_and_a_constant_one_are_told(system: MLSystem) -> None:
    rows = pa.table({"empty": pa.nulls(10), "gone": pa.nulls(10, pa.float64()), "one": [7.5] * 10})
    empty, gone, one = describe_columns(rows, rows.column_names, {"all rows": np.arange(10)}, system)
    assert empty["parts"]["all rows"]["missing"] == gone["parts"]["all rows"]["missing"] == 10
    assert "bins" not in gone
    assert one["bins"]["counts"]["all rows"] == [10]


def test_strengths_are_those_of_numpy_and_scipy(frame: pd.DataFrame) -> None:
    found = correlations(table(frame), ["x", "y", "kind", "name"], "late")
    known = frame.dropna()
    pairs = {tuple(one["columns"]): one for one in found["pairs"]}
    assert pairs["x", "y"]["value"] == pytest.approx(frame["x"].corr(frame["y"]))
    groups = known.groupby("kind")["x"]
    between = (groups.count() * (groups.mean() - known["x"].mean()) ** 2).sum()
    assert pairs["x", "kind"]["value"] == pytest.approx(
        np.sqrt(between / ((known["x"] - known["x"].mean()) ** 2).sum())
    )
    label = {one["column"]: one for one in found["label"]}
    crossed = pd.crosstab(frame["kind"], frame["late"]).to_numpy()
    assert label["kind"]["value"] == pytest.approx(association(crossed, method="cramer"))
    assert label["x"]["value"] == pytest.approx(frame["x"].corr(frame["late"].astype(float)))
    assert label["name"]["value"] is None, "with a name of each row everything seems to go"
    assert found["label"][0]["column"] == "kind", "the strongest first"
