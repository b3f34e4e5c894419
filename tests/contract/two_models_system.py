"""A system of two models: deliveries leave late in the rain and are slow in traffic, and either is a late delivery."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from capstan.spec import MLSystem, parse

FIRST_DAY = datetime(2013, 1, 1, tzinfo=UTC)
DAYS, PER_DAY = 60, 60
MODELS: tuple[dict[str, Any], ...] = (
    {
        "name": "leaves",
        "target": "left_late",
        "features": ["rain", "depot"],
        "candidates": ["logistic", "trees"],
    },
    {"name": "travels", "target": "was_slow", "features": ["traffic", "depot"], "candidates": ["logistic"]},
)


def two_labels(seed: int = 0) -> pa.Table:
    """`left_late` follows the rain, `was_slow` the traffic; `late` is one of them or both.

    A twentieth of the deliveries has no `was_slow`, as if nobody had looked at the clock.
    """
    rng = np.random.default_rng(seed)
    rows = DAYS * PER_DAY
    minutes = np.sort(rng.integers(0, DAYS * 1440, rows))
    rain, traffic = rng.gamma(1.0, 1.0, rows), rng.gamma(1.0, 1.0, rows)
    depot = rng.choice(["north", "south", "harbour"], rows)
    left_late = rng.random(rows) < 1 / (1 + np.exp(2.5 - 1.6 * rain))
    was_slow = rng.random(rows) < 1 / (1 + np.exp(2.5 - 1.6 * traffic))
    times = [FIRST_DAY + timedelta(minutes=int(minute)) for minute in minutes]
    delays = rng.integers(30, 1440, rows)
    instant = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "order_id": pa.array([f"d{index}" for index in range(rows)]),
            "ordered_at": pa.array(times, instant),
            "rain": pa.array(rain),
            "traffic": pa.array(traffic),
            "depot": pa.array(depot),
            "left_late": pa.array(left_late),
            "was_slow": pa.array(was_slow, mask=rng.random(rows) < 0.05),
            "late": pa.array(left_late | was_slow),
            "delivered_at": pa.array(
                [time + timedelta(minutes=int(delay)) for time, delay in zip(times, delays, strict=True)],
                instant,
            ),
        }
    )


def two_models_document(**parts: Any) -> dict[str, Any]:
    """The file as plain data, with `parts` of its spec in place of its own."""
    spec: dict[str, Any] = {
        "objective": {"task": "BinaryClassification", "target": "late"},
        "data": {
            "sources": [
                {"name": "deliveries", "parquet": {"path": "deliveries.parquet", "timeColumn": "ordered_at"}}
            ],
            "keys": {"id": "order_id", "time": "ordered_at"},
            "label": {"column": "late", "availableAt": "delivered_at", "maximumDelay": "1d"},
            "split": {"byTime": {"validation": "5d", "test": "10d"}},
        },
        "features": [
            {"name": "rain", "numeric": {"scale": "ZScore"}},
            {"name": "traffic", "numeric": {"scale": "Log"}},
            {"name": "depot", "categorical": {"encode": "OneHot"}},
        ],
        "training": {
            "candidates": [
                {"name": "logistic", "logisticRegression": {}},
                {"name": "trees", "gradientBoosting": {"iterations": 20, "leaves": 7}},
            ],
        },
        "models": [dict(model) for model in MODELS],
        "combine": {"rule": "Any"},
        "evaluation": {"slices": ["depot"], "gates": [{"metric": "rocAuc", "margin": 0.02}]},
    }
    return {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "two-models"},
        "spec": {**spec, **parts},
    }


def write_two_models(folder: Path, *, table: pa.Table | None = None, **parts: Any) -> MLSystem:
    """The system with its data in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(two_labels() if table is None else table, folder / "deliveries.parquet")
    return parse(two_models_document(**parts), base_dir=folder)
