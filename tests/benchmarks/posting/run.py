"""Labels and events a second that one collector process takes durably, and seconds to read events into outcomes.

Bodies of 1,000 entries over one connection, which looks nothing up; then all stored events become the outcomes of
their units. `--entries` sets how many of each, `--quick` takes a tenth.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import orjson

from capstan.adapters.processes.ports_in_use import free_port
from capstan.recording.outcomes import UNIT_KEY, outcome_sql
from capstan.recording.reading import PayloadReader
from capstan.spec.online import OnlineMetric

AT_ONCE = 1000
ROUNDS = 3
REVENUE = {"name": "revenue", "event": "buy", "aggregate": "Sum", "window": "1d", "better": "Higher"}
DAY = datetime(2026, 3, 1, tzinfo=UTC)


def start(root: Path) -> tuple[subprocess.Popen[bytes], str]:
    system = root / "systems" / "shop"
    system.mkdir(parents=True)
    spec = {
        "features": [],
        "objective": {"task": "BinaryClassification"},
        "evaluation": {"online": [REVENUE]},
    }
    (system / "spec.json").write_bytes(orjson.dumps({"spec": spec}))
    for name in ("internal", "feedback"):
        (root / name).write_text("token")
    port = free_port()
    config = {
        "port": port,
        "directory": str(root / "collector"),
        "systems": str(root / "systems"),
        "tokens": {name: str(root / name) for name in ("internal", "feedback")},
    }
    (root / "collector.json").write_bytes(orjson.dumps(config))
    command = [
        sys.executable,
        "-m",
        "capstan.recording.collector.server",
        "--config",
        str(root / "collector.json"),
    ]
    process = subprocess.Popen(command)
    address = f"http://127.0.0.1:{port}"
    while True:
        try:
            httpx.get(f"{address}/livez")
            return process, address
        except httpx.TransportError:
            if process.poll() is not None:
                raise
            time.sleep(0.05)


def bodies(name: str, entries: int, turn: int) -> Iterator[bytes]:
    for first in range(0, entries, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, entries))
        moments = [(DAY + timedelta(milliseconds=20 * number)).isoformat() for number in numbers]
        made: list[dict[str, object]]
        if name == "labels":
            made = [
                {"id": f"{turn}-{number}", "label": number % 3 == 0, "availableAt": at}
                for number, at in zip(numbers, moments, strict=True)
            ]
        else:
            made = [
                {
                    "eventId": f"{turn}-{number}",
                    "event": "buy",
                    "unit": f"customer-{number % (entries // 4 or 1)}",
                    "value": number % 100 / 4,
                    "at": at,
                    "availableAt": at,
                }
                for number, at in zip(numbers, moments, strict=True)
            ]
        yield orjson.dumps({name: made, "match": False})


def post(address: str, name: str, entries: int, turn: int) -> float:
    """Entries a second."""
    path = "/feedback" if name == "labels" else "/events"
    prepared = list(bodies(name, entries, turn))
    with httpx.Client(headers={"authorization": "Bearer token"}, timeout=60) as client:
        began = time.perf_counter()
        for body in prepared:
            client.post(f"{address}{path}", content=body).raise_for_status()
        return entries / (time.perf_counter() - began)


def read(folder: Path) -> tuple[int, float]:
    """Units, and seconds until they have their outcomes."""
    reader = PayloadReader(folder)
    metric = OnlineMetric.model_validate(REVENUE)
    query = f"""
        with units as (
          select {UNIT_KEY} as key, $start as first, $end as until
          from (select distinct unit, request_id from stored_events)
        ), unit_requests as (
          select key, ''::varchar as request_id, ''::varchar as entity_id from units where false
        ), outcomes as ({outcome_sql(metric)})
        select count(*) as units, sum(outcome) as total from outcomes
    """
    began = time.perf_counter()
    found = reader.fetch(
        query, start=DAY, end=DAY + timedelta(days=9), as_of=DAY + timedelta(days=9)
    ).to_pylist()
    seconds = time.perf_counter() - began
    reader.close()
    return int(found[0]["units"]), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=200_000)
    parser.add_argument(
        "--quick", action="store_true", help="A tenth of the entries: for trying the benchmark itself."
    )
    options = parser.parse_args()
    entries = options.entries // 10 if options.quick else options.entries
    with tempfile.TemporaryDirectory() as folder:
        process, address = start(Path(folder))
        try:
            rates = {
                name: [post(address, name, entries, turn) for turn in range(ROUNDS)]
                for name in ("labels", "events")
            }
            httpx.post(
                f"{address}/flush", headers={"authorization": "Bearer token"}, timeout=300
            ).raise_for_status()
            units, seconds = read(Path(folder) / "systems" / "shop")
        finally:
            process.terminate()
            process.wait(timeout=60)
    for name, found in rates.items():
        middle = statistics.median(found)
        print(
            f"{name:8} {middle:10,.0f} a second [{min(found):,.0f}-{max(found):,.0f}], {ROUNDS} x {entries:,}"
        )
    print(f"{ROUNDS * entries:,} events became the outcomes of {units:,} units in {seconds:.1f} s")


if __name__ == "__main__":
    main()
