"""Claims about partitions: each row is in one, groups are whole, and a digest tells whether rows are the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from capstan.data.partitions import partitioned_cases
from capstan.errors import InvalidDataError
from capstan.spec import MLSystem, parse

FIRST = datetime(2024, 3, 1, tzinfo=UTC)
COLUMNS = ("shop", "price")


def parts(system: MLSystem, **settings: Any) -> dict[str, list[dict[str, Any]]]:
    """Name of each partition -> its rows."""
    given = {"columns": COLUMNS, "start": None, "end": None, **settings}
    with partitioned_cases(system, **given) as cases:
        found = {
            one.name: [row for batch in cases.batches(one) for row in batch.to_pylist()]
            for one in cases.partitions
        }
        assert [len(rows) for rows in found.values()] == [one.rows for one in cases.partitions]
        assert cases.rows == sum(map(len, found.values()))
    return found


def digests(system: MLSystem) -> dict[str, str]:
    with partitioned_cases(system, columns=COLUMNS, start=None, end=None) as cases:
        return {one.name: one.digest for one in cases.partitions}


def test_each_row_is_in_one_partition_in_order(orders: MLSystem) -> None:
    found = parts(orders, rows=10)
    assert {name: len(rows) for name, rows in found.items()} == {
        "2024-03-01-0000": 10, "2024-03-01-0001": 10, "2024-03-01-0002": 4,
        "2024-03-02-0000": 10, "2024-03-02-0001": 6,
    }  # fmt: skip
    rows = [row for part in found.values() for row in part]
    assert [row["id"] for row in rows] == [f"o{index:03d}" for index in range(40)]
    assert set(rows[0]) == {"id", "ordered", *COLUMNS}


def test_a_stretch_has_its_start_and_not_its_end(orders: MLSystem) -> None:
    found = parts(orders, start=FIRST + timedelta(hours=5), end=FIRST + timedelta(hours=8))
    assert [row["id"] for rows in found.values() for row in rows] == ["o005", "o006", "o007"]


def test_rows_that_were_not_known_at_the_end_change_nothing(shop: Any) -> None:
    end = FIRST + timedelta(hours=8)
    before = parts(shop.system(), columns=(*COLUMNS, "temp"), end=end)
    shop.write("weather.csv", [{**shop.weather(i), "temp": 99 if i > 8 else 1.5 * i} for i in range(40)])
    assert parts(shop.system(), columns=(*COLUMNS, "temp"), end=end) == before


def test_no_group_is_parted(shop: Any) -> None:
    rows = [
        shop.order(index) | {"ordered": FIRST.isoformat(), "basket": f"b{index // 3}"} for index in range(12)
    ]
    shop.write("orders.csv", rows)
    document = shop.document(keys={"id": "id", "time": "ordered", "group": "basket"})
    document["spec"]["objective"] = {"task": "Ranking", "target": "late"}
    system = parse(document, base_dir=shop.folder)
    found = [{row["basket"] for row in part} for part in parts(system, rows=4).values()]
    assert len(found) > 1
    assert sum(map(len, found)) == len(set.union(*found)) == 4


def test_a_day_that_goes_on_after_the_next_has_begun_has_its_rows_once(shop: Any) -> None:
    """In Newfoundland clocks went back from one minute after midnight to 23:01 of the day before, until 2011."""
    first = datetime(2010, 11, 7, 2, 30, 30, tzinfo=UTC)
    rows = [
        shop.order(index) | {"ordered": (first + timedelta(minutes=10 * index)).isoformat()}
        for index in range(12)
    ]
    shop.write("orders.csv", rows)
    found = parts(shop.system(timeZone="America/St_Johns"))
    assert {day: [row["id"] for row in part] for day, part in found.items()} == {
        "2010-11-06-0000": [f"o{index:03d}" for index in range(1, 6)],
        "2010-11-07-0000": ["o000", *(f"o{index:03d}" for index in range(6, 12))],
    }


def test_a_changed_row_changes_the_digest_of_its_day_alone(shop: Any) -> None:
    before = digests(shop.system())
    assert digests(shop.system()) == before
    shop.write(
        "orders.csv", [shop.order(index) | ({"price": 11} if index == 0 else {}) for index in range(40)]
    )
    after = digests(shop.system())
    assert after["2024-03-01-0000"] != before["2024-03-01-0000"]
    assert after["2024-03-02-0000"] == before["2024-03-02-0000"]


def test_a_label_is_not_read(shop: Any) -> None:
    rows = [shop.order(index) for index in range(40)]
    for row in rows:
        del row["late"], row["arrived"]
    shop.write("orders.csv", rows)
    assert len(parts(shop.system())) == 2


def test_a_column_that_only_the_version_reads_is_named(orders: MLSystem) -> None:
    with pytest.raises(InvalidDataError, match="no column 'colour', which the version that is asked needs"):
        parts(orders, columns=(*COLUMNS, "colour"))
