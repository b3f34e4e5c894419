"""A time without offset means the same in a table, in an option and in SQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import duckdb
import pytest

from capstan.data.moments import instant
from capstan.domain.local_times import in_zone

NEW_YORK = "America/New_York"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2024-07-01 00:00:00", "2024-07-01 04:00:00"),
        ("2024-01-01 00:00:00", "2024-01-01 05:00:00"),
        ("2024-11-03 01:30:00", "2024-11-03 06:30:00"),  # happened twice
        ("2024-03-10 02:30:00", "2024-03-10 07:30:00"),  # never happened
    ],
)
def test_a_time_without_offset_is_the_same_moment_in_options_and_in_tables(written: str, meant: str) -> None:
    at = datetime.fromisoformat(written)
    expected = datetime.fromisoformat(meant).replace(tzinfo=UTC)
    assert in_zone(at, NEW_YORK) == expected
    with duckdb.connect() as connection:
        connection.execute(f"set TimeZone = '{NEW_YORK}'")
        for column, kind in ((f"timestamp '{written}'", "timestamp"), (f"'{written}'", "varchar")):
            found = connection.execute(f"select epoch({instant(column, kind, NEW_YORK)})").fetchone()
            assert found == (expected.timestamp(),)


def test_a_time_with_offset_is_left_alone() -> None:
    at = datetime(2024, 3, 10, 2, 30, tzinfo=timezone(timedelta(hours=-5)))
    assert in_zone(at, "Asia/Tokyo") == at
