"""Evidence by arms from stored payloads: seconds and peak memory of a look, with labels and with events.

`python tests/benchmarks/arms/run.py [--units 1000000] [--requests 10000000] [--days 20]`. Payloads, labels and events
are written as a collector's merged segments look. Each look is a fresh process, which imports, reads and judges; its
memory is what it had at most.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY_MICROSECONDS = 86_400_000_000
PART = 500_000
"""Rows of a segment."""
METRICS = ("logLoss", "revenue")


def document() -> dict[str, Any]:
    online = {"name": "revenue", "event": "purchase", "aggregate": "Sum", "window": "1d", "better": "Higher"}
    return {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "shop"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "bought"},
            "data": {
                "sources": [{"name": "visits", "csv": {"path": "visits.csv"}}],
                "keys": {"id": "visit", "time": "at", "stickyBy": "customer"},
                "label": {"column": "bought", "availableAt": "seen", "maximumDelay": "1h"},
            },
            "features": [{"name": "price", "numeric": {}}],
            "training": {"candidates": [{"name": "trees", "gradientBoosting": {}}]},
            "evaluation": {"online": [online]},
        },
    }


def write(folder: Path, *, units: int, requests: int, days: int) -> None:
    """What a collector would have stored of so many requests, spread over units and days by chance."""
    from capstan.recording.events import EVENT_COLUMNS
    from capstan.recording.labels import LABEL_COLUMNS
    from capstan.recording.payloads import PAYLOAD_COLUMNS
    from capstan.recording.segments import dated_segment, payload_segment

    rng = np.random.default_rng(0)
    number = 0
    for day in range(days):
        left = requests // days
        while left > 0:
            rows, number = min(left, PART), number + 1
            left -= rows
            unit = rng.integers(0, units, rows)
            since = (START - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
            at = since + day * DAY_MICROSECONDS + rng.integers(0, DAY_MICROSECONDS, rows)
            time_ = pa.array(at, pa.timestamp("us", tz="UTC"))
            arm = pa.array(np.where(unit % 2, "v2", "v1"))
            ids = [f"{number:08x}-{row:023x}" for row in range(rows)]
            columns: dict[str, Any] = {
                "request_id": ids,
                "row": np.zeros(rows, np.int32),
                "version": arm,
                "role": pa.array(np.where(unit % 2, "challenger", "champion")),
                "attempt": np.ones(rows, np.int32),
                "event_time": time_,
                "received_at": time_,
                "arm": arm,
                "unit": pa.array(unit.astype(str)),
                "entity_id": [f"e-{one}" for one in ids],
                "status": np.full(rows, 200, np.int32),
                "latency_seconds": np.full(rows, 0.01),
                "nonfinite": np.zeros(rows, bool),
                "boot": pa.array(["boot"] * rows),
                "sequence": np.arange(rows) + number * PART,
            }
            table = pa.table(columns, schema=PAYLOAD_COLUMNS)
            probability = pa.array(rng.random(rows))
            table = table.append_column("output.probability", probability)
            path = payload_segment(folder / "payloads", (START + timedelta(days=day)).date(), number)
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(table, path, compression="zstd", compression_level=1)
            labels: dict[str, Any] = {
                "entity_id": columns["entity_id"],
                "request_id": pa.nulls(rows, pa.string()),
                "label_boolean": rng.random(rows) < 0.3,
                "label_number": pa.nulls(rows, pa.float64()),
                "label_text": pa.nulls(rows, pa.string()),
                "no_label": np.zeros(rows, bool),
                "available_at": time_,
                "received_at": time_,
            }
            _write_dated(pa.table(labels, schema=LABEL_COLUMNS), folder / "labels", number, dated_segment)
            buys = rng.choice(rows, rows // 20, replace=False)
            events: dict[str, Any] = {
                "event_id": [f"b-{number}-{row}" for row in buys],
                "event": ["purchase"] * len(buys),
                "entity_id": pa.nulls(len(buys), pa.string()),
                "request_id": pa.nulls(len(buys), pa.string()),
                "unit": columns["unit"].take(pa.array(buys)),
                "value": rng.lognormal(3, 1, len(buys)),
                "event_time": time_.take(pa.array(buys)),
                "retracted": np.zeros(len(buys), bool),
                "available_at": time_.take(pa.array(buys)),
                "received_at": time_.take(pa.array(buys)),
            }
            _write_dated(pa.table(events, schema=EVENT_COLUMNS), folder / "events", number, dated_segment)


def _write_dated(table: pa.Table, folder: Path, number: int, name: Any) -> None:
    path = name(folder, number, table)
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="zstd", compression_level=1)


def look(folder: Path, metric: str, days: int) -> dict[str, object]:
    """One look of this process, timed without its imports."""
    from capstan.adapters.own.evidence import ParquetEvidence
    from capstan.domain.steps.questions import Arms
    from capstan.domain.versions import VersionName
    from capstan.spec import parse

    source = ParquetEvidence(folder, parse(document(), base_dir=Path()))
    asked = Arms(metric, (VersionName("v1"), VersionName("v2")), timedelta(days=1))
    imported = _peak()
    began, cpu = time.monotonic(), time.process_time()
    found = source.arms(asked, since=START, as_of=START + timedelta(days=days + 2))
    totals = {version: found.total(version) for version in asked.versions}
    return {
        "seconds": time.monotonic() - began,
        "cpu": time.process_time() - cpu,
        "peak": _peak(),
        "imported": imported,
        "assigned": sum(one.assigned for one in totals.values()),
        "units": sum(one.units for one in totals.values()),
    }


def _peak() -> float:
    """MiB that this program had at most; what the kernel tells of a process may be of its parent."""
    status = Path("/proc/self/status").read_text()
    return float(status.partition("VmHWM:")[2].split()[0]) / 1024


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--units", type=int, default=1_000_000)
    arguments.add_argument("--requests", type=int, default=10_000_000)
    arguments.add_argument("--days", type=int, default=20)
    arguments.add_argument("--rounds", type=int, default=2)
    arguments.add_argument(
        "--quick", action="store_true", help="one round of 50,000 units and 500,000 requests"
    )
    arguments.add_argument("--look", help=argparse.SUPPRESS)
    arguments.add_argument("--metric", default="", help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.look:
        print(json.dumps(look(Path(given.look), given.metric, given.days)))
        return
    if given.quick:
        given.units, given.requests, given.rounds = 50_000, 500_000, 1
    print(
        "| outcome | units | requests | s | CPU s | peak MiB | of it imports |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "systems", "shop")
        write(folder, units=given.units, requests=given.requests, days=given.days)
        for metric in METRICS:
            rounds = [_child(folder, metric, given.days) for _ in range(given.rounds)]
            best = min(rounds, key=lambda one: one["seconds"])
            print(
                f"| {metric} | {best['units']:,} of {best['assigned']:,} | {given.requests:,} | {best['seconds']:.1f} "
                f"| {best['cpu']:.1f} | {best['peak']:.0f} | {best['imported']:.0f} |",
                flush=True,
            )


def _child(folder: Path, metric: str, days: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--look", str(folder), "--metric", metric, "--days", str(days)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    if told.returncode:
        raise SystemExit(f"{metric} failed:\n{told.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(told.stdout.strip().splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
