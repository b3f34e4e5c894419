"""A few weeks of the flights, small enough to be replayed in a minute and real enough to drift."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from capstan.adapters.processes.ports_in_use import free_port
from capstan.embedded.replay.recorded_rows import is_sampled

EXAMPLE = Path(__file__).parents[2] / "examples" / "flight-delays"
NAME = "flight-delays"
KEPT = 0.5
"""Share of the flights that exist in this smaller world."""
LAST = datetime(2013, 3, 1, tzinfo=UTC)

Document = dict[str, Any]

SMALLER: Mapping[str, Any] = {
    "data": {"split": {"byTime": {"validation": "3d", "test": "5d"}, "refit": True}},
    "training": {
        "candidates": [
            {"name": "baseline", "mostFrequent": {}},
            {"name": "trees", "gradientBoosting": {"learningRate": 0.1, "iterations": 40, "leaves": 15}},
        ]
    },
    "evaluation": {
        "gates": [{"metric": "rocAuc", "against": "Champion", "margin": 0.1, "confidence": 0.9}],
        "slices": [],
    },
    "rollout": {
        "steps": [
            {
                "shadow": {
                    "percent": 100,
                    "minRequests": 300,
                    "minLabels": 300,
                    "minBlocks": 7,
                    "analyses": ["quality"],
                    "deadline": "10d",
                }
            },
            {"canary": {"weight": 25, "duration": "1d", "minRequests": 50}},
            {"canary": {"weight": 50, "duration": "1d", "minRequests": 50}},
        ],
        "guardrails": {"latencyP99": {"maxRatio": 5, "floor": "500ms"}, "errorRate": {"max": 0.01}},
    },
    "monitoring": {
        "window": {"duration": "4d", "minRows": 300},
        "drift": {"falseAlarmsPerMonth": 1, "consecutive": 1, "minEffect": 0.1},
    },
    "retraining": {"triggers": [{"drift": {}}, {"quality": {}}], "cooldown": "7d"},
    "replay": {"start": "2013-02-01", "end": "2013-02-21", "sample": "100%"},
}
"""What differs from the example's file: sooner, with fewer rows; the guardrail on latency bears a crowded machine."""


def write_system(folder: Path, *changes: Mapping[str, Any]) -> Path:
    """The example's file with the changes, beside `data/`; later changes go before earlier ones."""
    document = yaml.safe_load((EXAMPLE / "system.yaml").read_text())
    for change in (SMALLER, *changes):
        document["spec"] = merged(document["spec"], change)
    path = folder / "system.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def merged(old: Any, new: Any) -> Any:
    """Maps are merged, anything else is replaced."""
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        return {**old, **{key: merged(old.get(key), value) for key, value in new.items()}}
    return new


def write_data(folder: Path) -> None:
    """The example's tables up to `LAST`, with a fixed sample of the flights."""
    source, target = EXAMPLE / "data", folder / "data"
    target.mkdir(parents=True)
    flights = pq.read_table(source / "flights.parquet")
    flights = flights.filter(pc.less(flights.column("scheduled_departure"), pa.scalar(LAST)))
    kept = [is_sampled(f"world/{flight}", KEPT) for flight in flights.column("flight_id").to_pylist()]
    pq.write_table(flights.filter(pa.array(kept)), target / "flights.parquet")
    weather = pq.read_table(source / "weather.parquet")
    pq.write_table(
        weather.filter(pc.less(weather.column("time_hour"), pa.scalar(LAST))), target / "weather.parquet"
    )
    shutil.copy(source / "planes.csv", target / "planes.csv")


def write_variant(folder: Path, world: Path, *changes: Mapping[str, Any]) -> Path:
    """A changed file that reads the world's own data."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data").symlink_to(world / "data")
    (folder / "mymodels.py").symlink_to(EXAMPLE / "mymodels.py")
    return write_system(folder, *changes)


def ports() -> tuple[str, ...]:
    """Options for free ports."""
    return "--page-port", str(free_port()), "--gateway-port", str(free_port())


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "capstan", *map(str, arguments)]


def capstan(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command as a person runs it, to its end."""
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=600, check=False)
