"""Recorded rows of one group are one request; their labels come one by one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson
import pyarrow as pa
import pytest

from capstan.embedded.replay.recorded_rows import RecordedTraffic, is_sampled, record_traffic

START = datetime(2026, 3, 1, tzinfo=UTC)
SEARCHES = 6
ITEMS = 3


def recorded(share: float = 1.0) -> RecordedTraffic:
    """Two searches an hour of three items each, whose rows do not stand together."""
    rows = [(search, item) for item in range(ITEMS) for search in range(SEARCHES)]
    times = [START + timedelta(hours=search // 2) for search, _ in rows]
    table = pa.table(
        {
            "id": [f"{search}-{item}" for search, item in rows],
            "search": [f"s{search}" for search, _ in rows],
            "time": pa.array(times, pa.timestamp("us", tz="UTC")),
            "user": [f"u{search}" for search, _ in rows],
            "price": [float(10 * search + item) for search, item in rows],
            "clicks": pa.array([None if item == 2 else float(item) for _, item in rows]),
            "label_available_at": pa.array(
                [
                    None if item == 2 else time + timedelta(hours=item)
                    for time, (_, item) in zip(times, rows, strict=True)
                ],
                pa.timestamp("us", tz="UTC"),
            ),
        }
    )
    return record_traffic(
        table,
        columns=["price"],
        id_column="id",
        time_column="time",
        key_column="user",
        group_column="search",
        label_column="clicks",
        share=share,
        no_label_delay_microseconds=86_400_000_000,
    )


def test_requests_have_the_same_ids_in_each_replay_of_the_same_rows_and_each_its_own() -> None:
    first, again = (
        [one.request_id(request) for request in range(len(one))] for one in (recorded(), recorded())
    )
    assert first == again
    assert len(set(first)) == SEARCHES


def test_a_request_carries_all_rows_of_its_group_and_of_no_other() -> None:
    traffic = recorded()
    assert len(traffic) == SEARCHES
    asked = [orjson.loads(body)["rows"] for body in traffic.bodies]
    assert [sorted({row["search"] for row in rows}) for rows in asked] == [[f"s{n}"] for n in range(SEARCHES)]
    assert all(len(rows) == ITEMS for rows in asked)
    assert traffic.keys == [f"u{number}" for number in range(SEARCHES)]
    assert list(traffic.requests_between(START, START + timedelta(hours=1))) == [0, 1]


def test_labels_come_by_item_and_an_item_without_one_says_so() -> None:
    traffic = recorded()
    first = traffic.labels_between(START - timedelta(hours=1), START)
    assert {traffic.entity_ids[case] for case in first} == {"0-0", "1-0"}
    assert [traffic.labels[case] for case in range(ITEMS)] == [0.0, 1.0, None]
    assert len(traffic.label_order) == SEARCHES * ITEMS


def test_the_row_of_an_item_and_the_request_of_stored_answers_are_found() -> None:
    traffic = recorded()
    for case, entity_id in enumerate(traffic.entity_ids):
        assert traffic.row_of(case)["id"] == entity_id
    assert traffic.requests_of({"2-0", "2-1", "2-2", "4-1", "unknown"}) == {2, 4}
    assert traffic.requests_of(set()) == set()


@pytest.mark.parametrize("share", [0.5, 0.6])
def test_groups_are_sampled_whole(share: float) -> None:
    traffic = recorded(share)
    kept = [number for number in range(SEARCHES) if is_sampled(f"s{number}", share)]
    assert 0 < len(kept) < SEARCHES
    assert traffic.entity_ids == [f"{search}-{item}" for search in kept for item in range(ITEMS)]
