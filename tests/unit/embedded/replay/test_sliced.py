"""The report shows what users got by slices that requests carry, and says which they do not."""

from __future__ import annotations

import numpy as np
import orjson
import pyarrow as pa

from capstan.embedded.replay.recorded_rows import RecordedTraffic
from capstan.embedded.replay.sliced import tables_by_slice
from capstan.recording.served import Served
from capstan.tasks import TASKS

CASES = 40
ROWS = [{"carrier": ["AA", "UA"][case % 2], "hour": case} for case in range(CASES)]
ROWS[0].pop("carrier")
TRAFFIC = RecordedTraffic(
    [f"f{case}" for case in range(CASES)],
    np.arange(CASES + 1),
    np.arange(CASES),
    [""] * CASES,
    [orjson.dumps(row) for row in ROWS],
    [True] * CASES,
    np.arange(CASES),
    np.arange(CASES),
)


def served(cases: range) -> Served:
    columns = {
        "entity_id": [f"f{case}" for case in cases],
        "outputs": [{"probability": 0.9 if case % 2 == 0 else 0.1} for case in cases],
        "label": ["true" if case % 4 < 2 else "false" for case in cases],
    }
    return Served(TASKS["BinaryClassification"], pa.table(columns))


def test_labelled_answers_are_told_by_the_value_that_their_request_carried() -> None:
    cases = range(0, CASES, 1)
    tables, notes = tables_by_slice(["carrier"], served(cases), TRAFFIC, [f"f{case}" for case in cases])
    (table,) = tables
    assert table["title"] == "Slices by carrier"
    assert dict(zip(table["rows"], [row[0] for row in table["cells"]], strict=True)) == {
        "UA": 20,
        "AA": 19,
        "(missing)": 1,
    }
    assert notes == []


def test_a_column_that_requests_do_not_carry_is_told() -> None:
    cases = range(5)
    tables, notes = tables_by_slice(["sex"], served(cases), TRAFFIC, [f"f{case}" for case in cases])
    assert tables == []
    assert notes == ["slices by sex are told by trainings alone: requests do not carry it"]


def test_without_slices_or_answers_nothing_is_told() -> None:
    assert tables_by_slice([], served(range(5)), TRAFFIC, []) == ([], [])
    assert tables_by_slice(["carrier"], served(range(0)), TRAFFIC, []) == ([], [])
