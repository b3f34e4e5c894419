"""Whatever a service logs, the collector takes: the two have one set of limits."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from capstan.recording.blocks import accepted, judge
from capstan.recording.payloads import columns_of
from capstan.serving.app import PredictionApp
from capstan.serving.model import Model, load
from capstan.serving.payload_blocks import body_of
from capstan.serving.payload_log import PayloadLog
from capstan.serving.settings import ServiceSettings
from capstan.tasks import TASKS

GOOD = {"distance": 1200, "temp": 3.5, "carrier": "UA", "dest": "LAX"}
_NUMBERS = st.integers() | st.integers(2**53 - 2, 2**65) | st.floats()
_TEXTS = st.text(max_size=6) | st.integers(500, 9000).map("x".__mul__)
_TIMES = st.datetimes(timezones=st.none() | st.timezones()).map(lambda moment: moment.isoformat())
_ODD = st.sampled_from(["", "yesterday", "1700000000", "10000-01-01T00:00:00Z", "-1", "NA"])
_VALUES = st.one_of(
    st.none(), st.booleans(), _NUMBERS, _TEXTS, _TIMES, _ODD, st.lists(st.integers(), max_size=2), st.just({})
)
_CHANGES = st.dictionaries(
    st.sampled_from([*GOOD, "flight_id", "scheduled_departure", "tailnum"]), _VALUES, max_size=4
)
_HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "x-request-id": st.text(max_size=200),
        "x-capstan-role": st.sampled_from(["champion", "challenger", "shadow", "boss", ""]),
        "x-envoy-attempt-count": st.integers(-1, 10**6).map(str),
        "x-capstan-event-time": _TIMES | _ODD,
        "x-capstan-arm": st.sampled_from(["v1", "", "no name!", "v" * 64]) | st.text(max_size=5),
        "x-capstan-key": st.text(max_size=6) | st.integers(500, 600).map("é".__mul__),
    },
)


class Logged:
    """A service in a replay whose payload log is real, and what it would send."""

    def __init__(self, model: Model) -> None:
        self.app = PredictionApp(ServiceSettings(system="toy", version="v3", event_time_header=True))
        self.log = PayloadLog("http://127.0.0.1:1", "/capstan/toy/v3", "v3", None)
        self.app.serve(model, self.log)

    def ask(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, list[dict[str, Any]]]:
        """The status, and the blocks that the request left in the log."""
        sent: list[Any] = []
        raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()]
        scope = {"type": "http", "path": path, "method": "POST", "headers": raw}

        async def receive() -> Any:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        asyncio.run(self.app(scope, receive, send))
        blocks = orjson.loads(body_of(self.log._next_batch()))
        json.loads(sent[1]["body"])
        return sent[0]["status"], blocks


@pytest.fixture(scope="module")
def logged(model_dir: Path) -> Logged:
    return Logged(load(model_dir))


def native(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode()


def tensors(row: dict[str, Any], identity: object) -> bytes:
    def datatype(value: object) -> str:
        kinds = {bool: "BOOL", int: "INT64", float: "FP64"}
        return kinds.get(type(value), "BYTES")

    inputs = [
        {"name": name, "datatype": datatype(value), "shape": [1], "data": [value]}
        for name, value in row.items()
    ]
    return json.dumps({"inputs": inputs, "id": identity}).encode()


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(changes=_CHANGES, headers=_HEADERS, identity=_VALUES, v2=st.booleans())
@example(changes={"flight_id": 2**60}, headers={}, identity=None, v2=False)
@example(changes={"flight_id": ""}, headers={"x-request-id": ""}, identity="", v2=True)
@example(changes={"dest": "x" * 8192}, headers={}, identity=None, v2=False)
@example(changes={"temp": 2**63}, headers={}, identity=None, v2=False)
@example(changes={}, headers={"x-capstan-event-time": "1700000000"}, identity=None, v2=False)
@example(changes={}, headers={"x-capstan-event-time": "0001-01-01T00:00:00Z"}, identity=None, v2=False)
def test_what_is_logged_is_taken(
    logged: Logged, changes: dict[str, Any], headers: dict[str, str], identity: object, v2: bool
) -> None:
    row = {**GOOD, **changes}
    path, body = ("/v2/models/toy/infer", tensors(row, identity)) if v2 else ("/predict", native(row))
    status, blocks = logged.ask(path, body, headers)
    assert status in (200, 422)
    assert (logged.log.lost, len(blocks)) == (0, 1)
    found = judge(blocks[0], strict=True)
    assert found.rows is not None and not found.refused, found  # noqa: PT018
    kinds = {name: "numeric" if name in ("distance", "temp") else "categorical" for name in row}
    assert columns_of([(found.rows, datetime.now(UTC))], kinds, TASKS["BinaryClassification"]).num_rows == 1  # type: ignore[arg-type]


def test_good_rows_are_answered(logged: Logged) -> None:
    """Else the claim above could hold because nothing is."""
    for changes in (
        {},
        {"flight_id": 2**60, "scheduled_departure": "2013-02-01T05:00:00Z"},
        {"flight_id": None},
    ):
        status, (block,) = logged.ask("/predict", native({**GOOD, **changes}), {})
        assert status == 200
        assert accepted(block).of("entity_id")[0] == (
            str(changes["flight_id"]) if changes.get("flight_id") else None
        )
