"""A table is the same table in CSV, JSON lines and Parquet, whoever writes it, and its rows as requests."""

from __future__ import annotations

import datetime as dt
import json
import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from capstan.data import extract, request_schema
from capstan.embedded.sample_request import answered_rows
from capstan.features.columns import numbers, texts, type_of
from capstan.serving.model import load
from capstan.serving.schema import RequestSchema
from capstan.spec import MLSystem, parse
from capstan.tasks import TASKS
from capstan.training.cases import Cases
from capstan.training.fitting import fit_candidate, predict
from capstan.training.model_folder import take_sample, write_model

START = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
TOLERANCE = 1e-9
"""Relative: the row-wise path adds the same numbers in another order."""
Row = dict[str, Any]

FEATURES = [
    {"name": "plan", "categorical": {}},
    {"name": "code", "categorical": {"encode": "Integer"}},
    {"name": "tier", "categorical": {"unseen": "Refuse"}},
    {"name": "vip", "categorical": {}},
    {"name": "day", "categorical": {}},
    {"name": "rate", "categorical": {"encode": "Integer"}},
    {"name": "calls", "numeric": {"scale": "ZScore"}},
    {"name": "price", "numeric": {"impute": "Mean"}},
    {"name": "vip_number", "column": "vip", "numeric": {}},
    {"name": "new", "numeric": {}},
]

# What no file can hold as text is left out: lone surrogates, NUL, and line ends that a writer may change.
word = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from(',;"\n\t'), min_size=1, max_size=6
)
code = st.sampled_from(
    ["007", "7", "1.10", "1.1", "1e5", "3_14", "NA", "None", "null", "true", "12345678901234567890"]
)
number = st.floats(
    allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9, allow_subnormal=False
)


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    """Rows whose first one has a value in each column and shows that texts are texts."""
    short = draw(st.booleans())
    price = number.map(lambda value: round(value / 1e3, 3)) if short else number
    row = st.fixed_dictionaries(
        {
            "plan": st.none() | word | st.sampled_from(["NA", "None", "nan"]),
            "code": st.none() | code,
            "tier": st.none() | st.integers(-(2**62), 2**62) | st.integers(0, 3),
            "vip": st.none() | st.booleans(),
            "day": st.none() | st.dates(dt.date(1980, 1, 1), dt.date(2040, 1, 1)),
            "rate": st.sampled_from([0.5, 1.5, 2.0, 3.25]),
            "calls": st.none() | st.integers(-1000, 1000),
            "price": st.none() | price,
            "new": st.booleans(),
            "label": st.booleans(),
        }
    )
    first: Row = {
        **{"plan": "a plan", "code": "A1", "tier": 1, "vip": True, "day": dt.date(2024, 1, 1), "rate": 0.5},
        **{"calls": 3, "price": 1.5, "new": False, "label": True},
    }
    rows = [first, {**first, "label": False, "new": True}, *draw(st.lists(row, min_size=2, max_size=12))]
    return [
        {**row, "id": f"{index}_{index}", "at": (START + dt.timedelta(hours=index)).isoformat()}
        for index, row in enumerate(rows)
    ]


def arrow(rows: list[Row]) -> pa.Table:
    schema = pa.schema(
        [
            *((name, pa.string()) for name in ("id", "at", "plan", "code")),
            ("tier", pa.int64()),
            *((name, pa.bool_()) for name in ("vip", "new", "label")),
            ("day", pa.date32()),
            *((name, pa.float64()) for name in ("rate", "price")),
            ("calls", pa.int32()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def frame(rows: list[Row]) -> pd.DataFrame:
    """As pandas makes it: whole numbers with gaps are floats, days are timestamps."""
    made = pd.DataFrame(rows)
    made["day"] = pd.to_datetime(made["day"])
    # A float could not hold them all.
    made["tier"] = made["tier"].astype(object).where(made["tier"].notna(), None)
    made["tier"] = pd.array([None if row["tier"] is None else row["tier"] for row in rows], dtype="Int64")
    return made


def by_duckdb(path: Path, rows: list[Row], options: str) -> None:
    cases = arrow(rows)  # noqa: F841 — DuckDB finds it by its name
    with duckdb.connect() as connection:
        connection.execute(f"copy (from cases) to '{path}' ({options})")


WRITERS: dict[str, Callable[[Path, list[Row]], object]] = {
    "pandas csv": lambda path, rows: frame(rows).to_csv(path, index=False),
    "polars csv": lambda path, rows: pl.from_arrow(arrow(rows)).write_csv(path),  # type: ignore[union-attr]
    "duckdb csv": lambda path, rows: by_duckdb(path, rows, "format csv, header"),
    "pandas jsonl": lambda path, rows: frame(rows).to_json(
        path, orient="records", lines=True, date_format="iso", double_precision=15
    ),
    "polars jsonl": lambda path, rows: pl.from_arrow(arrow(rows)).write_ndjson(path),  # type: ignore[union-attr]
    "duckdb jsonl": lambda path, rows: by_duckdb(path, rows, "format json"),
    "pandas parquet": lambda path, rows: frame(rows).to_parquet(path, index=False),
    "polars parquet": lambda path, rows: pl.from_arrow(arrow(rows)).write_parquet(path),  # type: ignore[union-attr]
    "duckdb parquet": lambda path, rows: by_duckdb(path, rows, "format parquet"),
}


def system(folder: Path, suffix: str) -> MLSystem:
    kind = {"csv": "csv", "jsonl": "jsonLines", "parquet": "parquet"}[suffix]
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "round-trip"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "label"},
            "data": {
                "sources": [{"name": "rows", kind: {"path": f"rows.{suffix}"}}],
                "keys": {"id": "id", "time": "at"},
                "label": {"column": "label", "availableAt": "at"},
            },
            "features": FEATURES,
            "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
        },
    }
    return parse(document, base_dir=folder)


def plain_rows(table: pa.Table) -> list[dict[str, object]]:
    """The rows as features read them."""
    columns: dict[str, list[object]] = {"id": table["id"].to_pylist()}
    for feature in FEATURES:
        column = str(feature.get("column", feature["name"]))
        values, kind = table[column], type_of(table[column])
        if "numeric" in feature:
            found = numbers(values, column, kind)
            columns[str(feature["name"])] = [None if math.isnan(value) else value for value in found.tolist()]
        else:
            columns[str(feature["name"])] = texts(values, kind).tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def model_of(folder: Path, spec: MLSystem, table: pa.Table) -> Any:
    """Fit, and write the folder that is served."""
    (candidate,) = spec.spec.training.candidates
    cases = Cases.of(table, spec)
    fitted = fit_candidate(candidate, spec.spec.features, cases, seed=0)
    columns = request_schema(spec, table)
    manifest = {
        **{"system": "round-trip", "task": "BinaryClassification", "target": "label"},
        **{"columns": [asdict(column) for column in columns], "keys": {"id": "id"}, "classes": [False, True]},
    }
    sample = take_sample(table, [column.name for column in columns])
    write_model(
        folder, pipeline=fitted.pipeline, manifest=manifest, spec={}, sample=sample, factories=folder / "none"
    )
    return fitted.pipeline


@pytest.mark.parametrize("writer", WRITERS)
@given(rows=tables())
@settings(max_examples=4, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_table_is_the_same_whoever_writes_it_and_so_are_its_rows_as_requests(
    writer: str, rows: list[Row]
) -> None:
    suffix = writer.split()[1]
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        # pandas keeps 15 digits in JSON, and writes -0.0 as 0.0.
        if writer == "pandas jsonl":
            rows = [
                {**row, "price": None if row["price"] is None else float(f"{row['price']:.3f}") + 0.0}
                for row in rows
            ]
        WRITERS[writer](folder / f"rows.{suffix}", rows)
        spec = system(folder, suffix)
        read = extract(spec, as_of=None, labels_as_of=None)
        written = arrow(rows)
        assert plain_rows(read) == plain_rows(written)

        model_of(folder / "written", spec, written)
        pipeline = model_of(folder / "read", spec, read)
        for file in ("pipeline.joblib", "manifest.json"):
            assert (folder / "read" / file).read_bytes() == (folder / "written" / file).read_bytes()

        served = load(folder / "read")
        assert not served.fallback
        schema = RequestSchema(served.manifest)
        requests = [
            orjson.loads(json.dumps(row, default=str))
            for row in written.drop_columns(["at", "label"]).to_pylist()
        ]
        accepted = schema.rows_of({"rows": requests})
        np.testing.assert_allclose(
            served.predict_rows(accepted),
            predict(TASKS["BinaryClassification"], pipeline, read)["probability"],
            rtol=TOLERANCE,
            atol=0,
        )
        assert answered_rows(folder / "read", 1)
