"""The example's tables say what the package's tables say, and are written once."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path
from typing import Any

import polars as pl

from capstan.spec import MLSystem


def test_flights_have_their_known_numbers(flights: MLSystem) -> None:
    table = pl.read_parquet(flights.base_dir / "data" / "flights.parquet")
    local = pl.col("scheduled_departure").dt.convert_time_zone("America/New_York")
    assert table.height == table["flight_id"].n_unique() == 336_776
    assert table.filter(local.dt.month() >= 2).height == 309_772
    assert table["late"].count() == table["actual_arrival"].count() == 327_346
    assert table["flight_id"][0].startswith("2013-1-1-")


def test_instants_cross_zones_midnights_and_the_change_of_clocks(flights: MLSystem) -> None:
    table = pl.read_parquet(flights.base_dir / "data" / "flights.parquet")
    # Taking off and landing takes some minutes more than flying; a wrong zone or day would show as hours.
    around = table.select(pl.col("block_minutes") - pl.col("air_time")).drop_nulls().to_series()
    assert around.min() > -100
    assert around.max() < 140
    overnight = table.row(by_predicate=pl.col("flight_id") == "2013-3-10-UA-1225-EWR", named=True)
    assert (overnight["block_minutes"], overnight["sched_arr_minute"]) == (182, 14)


def test_second_preparation_writes_nothing_and_a_third_elsewhere_the_same_bytes(
    prepare: Any, flights: MLSystem, tmp_path: Path
) -> None:
    data = flights.base_dir / "data"
    assert prepare.prepare(data) is False
    assert prepare.prepare(tmp_path) is True
    for name in prepare.WRITTEN:
        assert _digest(tmp_path / name) == _digest(data / name)


def test_damaged_output_is_prepared_again(prepare: Any, flights: MLSystem, tmp_path: Path) -> None:
    data = shutil.copytree(flights.base_dir / "data", tmp_path / "data")
    assert prepare.prepare(data) is False
    (data / "planes.csv").unlink()
    assert prepare.prepare(data) is True
    assert _digest(data / "planes.csv") == _digest(flights.base_dir / "data" / "planes.csv")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
