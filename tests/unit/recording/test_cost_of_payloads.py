"""What a stranger's payloads cost the collector: memory that ends, and time that grows with their rows."""

from __future__ import annotations

import random
import tracemalloc
from typing import Any

from capstan.recording.blocks import judge
from capstan.recording.payloads import input_columns, parts_of

LONG = 250_000


def block(**changes: Any) -> dict[str, Any]:
    values = {
        "request_id": "r1", "role": "champion", "row": 0, "attempt": 1, "status": 200,
        "event_time": "2013-02-01T12:00:00Z", "arm": None, "input.distance": 1.0,
    }  # fmt: skip
    return {
        "boot": "b", "system": "toy", "version": "v3", "first": 1, "names": [*values],
        "rows": [[*values.values()]], **changes,
    }  # fmt: skip


def test_nothing_of_a_refused_payload_is_kept() -> None:
    good = block()
    assert not judge(good, strict=True).refused
    tracemalloc.start()
    for number in range(20):
        long = f"{number}{'x' * LONG}"
        bad = (
            block(boot=long),
            block(system=long),
            block(rows=[[*good["rows"][0][:6], long, 1.0]]),
            block(names=[*good["names"][:-1], f"input.{long}"]),
        )
        assert [judge(one, strict=True).refused[0].field for one in bad] == ["boot", "system", "arm", "input"]
    del bad, long
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 4 * LONG


class Counted(dict[str, object]):
    """A row that counts how often its values are asked for."""

    asked = 0

    def get(self, *wanted: Any) -> Any:
        Counted.asked += 1
        return super().get(*wanted)

    def values(self) -> Any:
        Counted.asked += 1
        return super().values()


def test_rows_that_lack_columns_at_random_are_read_once() -> None:
    rng, names = random.Random(1), [f"f{number}" for number in range(12)]
    rows: list[Any] = [Counted({name: 1.0 for name in names if rng.random() < 0.5}) for _ in range(200)]
    found = input_columns(parts_of(rows), dict.fromkeys(names, "numeric"))
    assert found["f3"].to_pylist() == [dict(row).get("f3") for row in rows]
    assert Counted.asked <= len(rows)
