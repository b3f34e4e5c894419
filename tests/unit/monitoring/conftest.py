"""A system to monitor, and reference data of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from capstan.spec import MLSystem, parse


@pytest.fixture(scope="session")
def system() -> MLSystem:
    file = Path(__file__).parents[1] / "spec" / "flight_delays.yaml"
    document = json.loads(json.dumps(YAML(typ="safe").load(file.read_text()), default=str))
    return parse(document, base_dir=Path())


@pytest.fixture(scope="session")
def rows() -> pd.DataFrame:
    """Ten weeks of reference rows; the mean of temp wanders from week to week."""
    rng = np.random.default_rng(0)
    count = 28_000
    times = [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(minutes=3.6 * n) for n in range(count)]
    week = np.arange(count) // 2800
    temp = rng.normal(np.sin(week)[:], 3.0)
    temp[rng.random(count) < 0.05] = np.nan
    return pd.DataFrame(
        {
            "scheduled_departure": pd.to_datetime(times),
            "distance": rng.gamma(4, 200, count).round(),
            "dep_hour": rng.integers(5, 23, count).astype(float),
            "temp": temp,
            "dest": rng.choice(["ATL", "BOS", "LAX", None], count, p=[0.5, 0.3, 0.15, 0.05]),
            "score": rng.beta(2, 6, count),
        }
    )
