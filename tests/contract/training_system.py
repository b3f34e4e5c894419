"""A small system whose training is quick: sixty days of deliveries that are late more often in the rain."""

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
FACTORIES = """
from sklearn.linear_model import LogisticRegression

def stump(seed=0, depth=1):
    from sklearn.tree import DecisionTreeClassifier
    return DecisionTreeClassifier(max_depth=depth, random_state=seed)

def broken():
    raise RuntimeError("no licence for this solver")

def unhurried():
    # A test can do something to a training while this one is fitted.
    import time
    time.sleep(15)
    return stump()
"""
FEATURES = """
class Soaked:
    # Rain above what most days have.

    def fit(self, values):
        import numpy as np
        self.most = float(np.nanquantile(values, 0.8))
        return self

    def transform(self, values):
        import numpy as np
        return np.clip(np.nan_to_num(values) - self.most, 0, None)

def soaked():
    return Soaked()
"""


def deliveries(seed: int = 0) -> pa.Table:
    """`rain` decides most, `depot` a little; labels come up to a day later."""
    rng = np.random.default_rng(seed)
    rows = DAYS * PER_DAY
    minutes = np.sort(rng.integers(0, DAYS * 1440, rows))
    rain = rng.gamma(1.0, 1.0, rows)
    depot = rng.choice(["north", "south", "harbour"], rows)
    logit = -1.5 + 1.2 * rain - 0.8 * (depot == "harbour")
    late = rng.random(rows) < 1 / (1 + np.exp(-logit))
    times = [FIRST_DAY + timedelta(minutes=int(minute)) for minute in minutes]
    delays = rng.integers(30, 1440, rows)
    instant = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "order_id": pa.array([f"d{index}" for index in range(rows)]),
            "ordered_at": pa.array(times, instant),
            "rain": pa.array(np.where(rng.random(rows) < 0.05, np.nan, rain), from_pandas=True),
            "depot": pa.array(depot),
            "late": pa.array(late),
            "delivered_at": pa.array(
                [time + timedelta(minutes=int(delay)) for time, delay in zip(times, delays, strict=True)],
                instant,
            ),
        }
    )


def write_system(
    folder: Path,
    *,
    table: pa.Table | None = None,
    candidates: list[dict[str, Any]] | None = None,
    runners_up: int = 0,
) -> MLSystem:
    """The system with its data and its factories in `folder`; an experiment asks for so many runners-up."""
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(deliveries() if table is None else table, folder / "deliveries.parquet")
    (folder / "own.py").write_text(FACTORIES)
    (folder / "ownfeatures.py").write_text(FEATURES)
    document: dict[str, Any] = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "deliveries"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "late"},
            "requirements": {"modelSize": "50Mi"},
            "data": {
                "sources": [
                    {
                        "name": "deliveries",
                        "parquet": {"path": "deliveries.parquet", "timeColumn": "ordered_at"},
                    }
                ],
                "keys": {"id": "order_id", "time": "ordered_at"},
                "label": {"column": "late", "availableAt": "delivered_at", "maximumDelay": "1d"},
                "checks": [{"column": "rain", "min": 0}],
                "split": {"byTime": {"validation": "5d", "test": "10d"}},
            },
            "features": [
                {"name": "rain", "numeric": {"scale": "ZScore"}},
                {"name": "depot", "categorical": {"encode": "Integer"}},
                {
                    "name": "soaked",
                    "column": "rain",
                    "custom": {"factory": "ownfeatures:soaked", "reads": "Number"},
                },
            ],
            "training": {
                "seed": 3,
                "threads": 1,
                "candidates": candidates
                or [
                    {"name": "baseline", "mostFrequent": {}},
                    {"name": "broken", "custom": {"factory": "own:broken"}},
                    {"name": "own", "custom": {"factory": "own:stump", "parameters": {"depth": 2}}},
                    {
                        "name": "trees",
                        "gradientBoosting": {"iterations": 20, "leaves": 7, "tune": {"trials": 2}},
                    },
                ],
                "choose": {"metric": "rocAuc", "simplestWithin": 0.0},
            },
            "evaluation": {"slices": ["depot"], "gates": [{"metric": "rocAuc", "margin": 0.02}]},
        },
    }
    if runners_up:
        experiment = {"weight": 20, "runnersUp": runners_up}
        document["spec"]["rollout"] = {"steps": [{"experiment": experiment}]}
    return parse(document, base_dir=folder)
