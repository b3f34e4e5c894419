"""A service makes features of the events that it looks up, and says where these are stale."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from capstan.domain.event_windows import Event
from capstan.online.lookup import AskedAggregate, AskedEvents
from capstan.online.memory import MemoryEvents
from capstan.serving.app import PredictionApp
from capstan.serving.manifest import read_manifest
from capstan.serving.model import Model, load
from capstan.serving.requests import Call
from capstan.serving.settings import ServiceSettings

ROW = {"flight_id": "f-1", "tailnum": "N1", "carrier": "UA", "dest": "LAX"}
EVENTS = AskedEvents(
    "landings",
    "tailnum",
    freshness=60 * 10**6,
    stale="Refuse",
    aggregates=(
        AskedAggregate("distance", "Sum", "number miles", 3600 * 10**6),
        AskedAggregate("temp", "Mean", "number temp", 60 * 10**6),
    ),
)
COLUMNS = ("number miles", "number temp")


class Log:
    """Keeps the rows as they are logged."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def expect(self, *_: object) -> None: ...

    def add(self, call: Call, status: int, *rest: Any) -> None:
        self.rows += [dict(row) for row in call.rows] if status == 200 else []


class Service:
    """A service in this process."""

    def __init__(self, model: Model, store: MemoryEvents | None) -> None:
        self.app, self.log = PredictionApp(ServiceSettings(system="toy", version="v3")), Log()
        self.app.serve(model, self.log, store)  # type: ignore[arg-type]

    def post(self, body: object, path: str = "/predict") -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://toy") as client:
                return await client.post(path, content=json.dumps(body))

        return asyncio.run(send())

    def count(self, sample: str) -> float:
        lines = self.app.metrics.exposition().decode().splitlines()
        return next(float(line.rpartition(" ")[2]) for line in lines if line.startswith(sample))


@pytest.fixture(scope="module")
def model(model_dir: Path) -> Model:
    return load(model_dir)


def now() -> int:
    return int(time.time() * 1e6)


def landed(seconds_ago: float, miles: float, temp: float) -> tuple[str, Event]:
    at = now() - int(seconds_ago * 1e6)
    return "N1", Event(at, at, (miles, temp))


def service_of(model: Model, store: MemoryEvents | None, **changes: Any) -> Service:
    manifest = replace(model.manifest, events=(replace(EVENTS, **changes),))
    asked = Model(manifest, model.pipeline, model.predict_row)
    return Service(asked, store)


def fresh(seconds_ago: float = 0) -> MemoryEvents:
    store = MemoryEvents()
    events = [landed(100, 300.0, 20.0), landed(30, 400.0, 10.0)]
    store.add("landings", COLUMNS, events, loaded_until=now() - int(seconds_ago * 1e6))
    return store


def carried(service: Service, **features: Any) -> Any:
    return service.post({**ROW, **features}).json()["predictions"][0]["probability"]


def test_a_request_carries_the_entity_and_is_answered_and_logged_with_the_features(model: Model) -> None:
    service = service_of(model, fresh())
    answer = service.post(ROW).json()["predictions"][0]
    assert answer["probability"] == carried(service, distance=700.0, temp=10.0)
    assert "outside" not in answer
    assert service.log.rows[0] == {**ROW, "distance": 700.0, "temp": 10.0}


def test_rows_and_tensors_are_completed_alike(model: Model) -> None:
    service = service_of(model, fresh())
    wanted = carried(service, distance=700.0, temp=10.0)
    answers = service.post({"rows": [ROW, {**ROW, "distance": 9.0, "temp": 1.0}]}).json()["predictions"]
    assert [one["probability"] for one in answers] == [wanted, carried(service, distance=9.0, temp=1.0)]
    tensors = [
        {"name": name, "datatype": "BYTES", "shape": [1], "data": [value]} for name, value in ROW.items()
    ]
    outputs = service.post({"inputs": tensors}, "/v2/models/toy/infer").json()["outputs"]
    assert next(one for one in outputs if one["name"] == "probability")["data"] == [wanted]
    assert service.post(ROW, "/explain").status_code in (200, 422)


def test_the_moment_of_the_row_counts_where_it_says_one(model: Model) -> None:
    service = service_of(model, fresh())
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 60))
    service.post({**ROW, "scheduled_departure": moment})
    assert service.log.rows[0]["distance"] == 300.0


def test_a_row_that_does_not_say_whose_events_count_is_refused(model: Model) -> None:
    service = service_of(model, fresh())
    row = {name: value for name, value in ROW.items() if name != "tailnum"}
    answer = service.post(row)
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "tailnum"
    assert "'distance' is looked up by it; send it, or null" in answer.json()["error"]["rule"]


def test_nothing_is_looked_up_for_more_rows_than_a_request_may_hold(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = fresh()
    service = service_of(model, store)
    monkeypatch.setattr(store, "find", lambda *_, **__: pytest.fail("looked up"))
    answer = service.post({"rows": [ROW] * 1001})
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == "rows"
    data = {name: [value] * 1001 for name, value in ROW.items()}
    tensors = [
        {"name": name, "datatype": "BYTES", "shape": [1001], "data": values} for name, values in data.items()
    ]
    assert service.post({"inputs": tensors}, "/v2/models/toy/infer").status_code in (400, 422)


@pytest.mark.parametrize(
    ("store", "told"),
    [
        pytest.param(lambda: fresh(90), "loaded 90 s ago, which is beyond the freshness of 60 s", id="old"),
        pytest.param(MemoryEvents, "that were never loaded", id="never"),
        pytest.param(lambda: None, "that nobody looks up here", id="no store"),
    ],
)
def test_stale_events_refuse_a_request_and_are_counted(model: Model, store: Any, told: str) -> None:
    service = service_of(model, store())
    answer = service.post(ROW)
    assert answer.status_code == 503
    assert told in answer.json()["error"]["rule"]
    assert service.count('capstan_stale_events_total{system="toy",table="landings",version="v3"}') == 1
    assert service.count('capstan_requests_total{code="503",role="champion",system="toy",version="v3"}') == 1
    assert service.post(ROW, "/explain").status_code == 503


def test_stale_events_are_used_or_missing_as_the_file_says_and_marked(model: Model) -> None:
    service = service_of(model, fresh(90), stale="Use")
    answer = service.post(ROW).json()["predictions"][0]
    assert answer["probability"] == carried(service, distance=700.0, temp=10.0)
    assert [one["field"] for one in answer["outside"]] == ["distance", "temp"]
    assert "beyond the freshness" in answer["outside"][0]["rule"]

    aggregates = EVENTS.aggregates[1:]
    service = service_of(model, fresh(90), stale="Missing", aggregates=aggregates)
    answer = service.post({**ROW, "distance": 700.0}).json()["predictions"][0]
    assert answer["probability"] == carried(service, distance=700.0, temp=None)
    assert [one["field"] for one in answer["outside"]] == ["temp"]


def test_what_a_training_wrote_is_read(model_dir: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(model_dir, tmp_path / "model")
    document = json.loads((folder / "manifest.json").read_text())
    aggregates = [{"name": "n", "function": "Count", "value": None, "window": 5}]
    document["events"] = [
        {"table": "t", "entity": "e", "freshness": 7, "stale": "Use", "aggregates": aggregates}
    ]
    (folder / "manifest.json").write_text(json.dumps(document))
    found = read_manifest(folder).events
    assert found == (AskedEvents("t", "e", 7, "Use", (AskedAggregate("n", "Count", None, 5),)),)
