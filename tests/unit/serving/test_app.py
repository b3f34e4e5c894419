"""What a model service answers, asked in-process through its ASGI interface."""

from __future__ import annotations

import asyncio
import copy
import gzip
import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson
import pytest
from sent_payloads import RecordingLog, written

from capstan.errors import UnfitValueError
from capstan.serving.app import PredictionApp
from capstan.serving.model import Model, load
from capstan.serving.payload_blocks import body_of
from capstan.serving.settings import ServiceSettings

ROW = {"distance": 1200, "temp": 3.5, "carrier": "UA", "dest": "LAX", "flight_id": "f-1"}


V2 = "/v2/models/toy/infer"


class Service:
    def __init__(self, model: Model, **settings: Any) -> None:
        self.log = RecordingLog()
        self.app = PredictionApp(ServiceSettings(system="toy", version="v3", **settings))
        self.app.serve(model, self.log)

    def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://model") as client:
                return await client.request(method, path, **arguments)

        return asyncio.run(send())

    def post(self, body: object, path: str = "/predict", **arguments: Any) -> httpx.Response:
        return self.ask("POST", path, json=body, **arguments)

    def count(self, sample: str) -> float:
        for line in self.ask("GET", "/metrics").text.splitlines():
            if line.startswith(sample + " "):
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"{sample} is not on /metrics")


@pytest.fixture(scope="module")
def model(model_dir: Path) -> Model:
    return load(model_dir)


@pytest.fixture
def trained(model: Model) -> Service:
    """A service that knows what training saw: no row without a distance, temperatures from -30 to 40."""
    manifest = model.manifest
    changes: dict[str, dict[str, Any]] = {
        "distance": {"required": True, "nullable": True, "minimum": None, "maximum": None},
        "temp": {"required": True, "trained_minimum": -30.0, "trained_maximum": 40.0},
        "carrier": {"required": True},
    }
    columns = tuple(replace(column, **changes.get(column.name, {})) for column in manifest.columns)
    known = copy.copy(model)
    known.manifest = replace(manifest, columns=columns)
    return Service(known)


@pytest.fixture
def service(model: Model) -> Service:
    return Service(model)


def test_a_row_is_answered_with_its_probability_label_version_and_id(service: Service, model: Model) -> None:
    answer = service.post(ROW, headers={"x-request-id": "r-1"})
    assert answer.status_code == 200
    assert answer.headers["x-capstan-version"] == "v3"
    probability = float(model.predict_batch([ROW])[0])
    assert answer.json() == {
        "version": "v3",
        "request_id": "r-1",
        "predictions": [{"probability": pytest.approx(probability), "label": probability >= 0.5}],
    }


def test_rows_are_answered_in_their_order(service: Service) -> None:
    rows = [{**ROW, "distance": d} for d in (100, 2900, 700)]
    many = service.post({"rows": rows}).json()["predictions"]
    assert many == [pytest.approx(service.post(row).json()["predictions"][0]) for row in rows]
    assert len({prediction["probability"] for prediction in many}) == 3


def test_v2_answers_what_the_native_route_answers(service: Service) -> None:
    native = service.post(ROW).json()["predictions"][0]
    body = {
        "id": "r-2",
        "inputs": [
            {"name": "distance", "datatype": "INT64", "shape": [1], "data": [1200]},
            {"name": "temp", "datatype": "FP64", "shape": [1, 1], "data": [[3.5]]},
            {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["UA"]},
            {"name": "dest", "datatype": "BYTES", "shape": [1], "data": ["LAX"]},
        ],
    }
    for path in ("/v2/models/toy/infer", "/v2/models/infer", "/v2/models/toy/versions/v3/infer"):
        answer = service.post(body, path)
        assert answer.status_code == 200, answer.text
        assert answer.json()["model_version"] == "v3"
        assert answer.json()["id"] == "r-2"
        outputs = {output["name"]: output for output in answer.json()["outputs"]}
        assert outputs["probability"]["data"] == [pytest.approx(native["probability"])]
        assert outputs["label"] == {
            "name": "label",
            "datatype": "BOOL",
            "shape": [1],
            "data": [native["label"]],
        }


@pytest.mark.parametrize(
    ("tensor", "rule"),
    [
        pytest.param(
            {"name": "distance", "datatype": "FP99", "shape": [1], "data": [1]}, "datatype", id="datatype"
        ),
        pytest.param(
            {"name": "distance", "datatype": "FP64", "shape": [2], "data": [1]}, "shape", id="shape"
        ),
        pytest.param(
            {"name": "distance", "datatype": "BYTES", "shape": [1], "data": [1]}, "BYTES", id="type"
        ),
        pytest.param(
            {"name": "distance", "datatype": "FP64", "shape": [1], "data": [0]}, "minimum", id="range"
        ),
        pytest.param(
            {"name": "distanse", "datatype": "FP64", "shape": [1], "data": [9]}, "did you mean", id="name"
        ),
        pytest.param(
            {"name": "distance", "datatype": "FP64", "shape": [1], "data": "AAAA"}, "list", id="binary"
        ),
        pytest.param(
            {"name": "dest", "datatype": "BYTES", "shape": [1], "data": "A"}, "list", id="one letter"
        ),
        pytest.param(
            {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["AA"]}, "twice", id="twice"
        ),
        pytest.param(
            {"name": "temp", "datatype": ["FP64"], "shape": [1], "data": [1]}, "datatype", id="list"
        ),
    ],
)
def test_a_wrong_tensor_is_refused_with_its_rule(service: Service, tensor: dict, rule: str) -> None:
    carrier = {"name": "carrier", "datatype": "BYTES", "shape": [1], "data": ["UA"]}
    answer = service.post({"inputs": [tensor, carrier]}, "/v2/models/toy/infer")
    assert answer.status_code == 422
    assert rule in answer.json()["error"]


def test_metadata_names_the_columns_and_their_datatypes(service: Service) -> None:
    document = service.ask("GET", "/v2/models/toy").json()
    assert {"name": "carrier", "datatype": "BYTES", "shape": [-1]} in document["inputs"]
    assert {"name": "probability", "datatype": "FP64", "shape": [-1]} in document["outputs"]
    assert service.ask("GET", "/v2/models/toy/ready").json()["ready"] is True
    assert service.ask("GET", "/v2/models/other").status_code == 404


def test_a_service_without_its_model_is_alive_but_not_ready() -> None:
    app = PredictionApp(ServiceSettings(system="toy", version="v3"))
    service = Service.__new__(Service)
    service.app = app
    assert service.ask("GET", "/v2/health/live").status_code == 200
    assert service.ask("GET", "/v2/health/ready").status_code == 503
    assert service.post(ROW).status_code == 503


def test_a_breach_is_a_422_that_names_field_value_and_rule_and_detectors_never_see_it(
    service: Service,
) -> None:
    answer = service.post({**ROW, "carrier": "ZZ"})
    assert answer.status_code == 422
    problem = {"field": "carrier", "value": "ZZ", "rule": "is not allowed; allowed: AA, NO, UA"}
    assert answer.json() == {"error": problem, "errors": [problem]}
    (record,) = service.log.records
    assert (record.status, record.inputs, record.outputs) == (422, {}, None)
    assert service.count('capstan_requests_total{code="422",role="champion",system="toy",version="v3"}') == 1


def test_ten_megabytes_are_refused_and_counted(service: Service) -> None:
    answer = service.ask("POST", "/predict", content=b'{"carrier": "' + b"x" * 10_000_000 + b'"}')
    assert answer.status_code == 413
    assert answer.json()["error"]["field"] == "body"
    assert service.count('capstan_requests_total{code="413",role="champion",system="toy",version="v3"}') == 1
    assert service.post(ROW).status_code == 200


def test_a_body_without_a_length_is_refused_when_it_grows_too_long(service: Service) -> None:
    async def parts() -> Any:
        for _ in range(40):
            yield b"x" * 65_536

    assert service.ask("POST", "/predict", content=parts()).status_code == 413


def test_a_payload_carries_what_the_collector_needs(service: Service) -> None:
    headers = {"x-request-id": "r-9", "x-capstan-role": "challenger", "x-envoy-attempt-count": "2"}
    service.post(ROW, headers=headers)
    (record,) = service.log.records
    assert (record.request_id, record.role, record.attempt, record.row) == ("r-9", "challenger", 2, 0)
    assert (record.entity_id, record.status, record.inputs) == ("f-1", 200, ROW)
    assert record.outputs is not None
    assert list(record.outputs) == ["probability"]
    assert 0 < record.outputs["probability"] < 1  # type: ignore[operator]
    assert record.latency_seconds > 0


@pytest.mark.parametrize(
    ("key", "unit", "arm"),
    [
        (None, None, "v2"),
        (b"N12345", "N12345", "v2"),
        ("Zoë".encode(), "Zoë", "v2"),
        ("Zoë".encode("latin-1"), "Zoë", "v2"),
        (b"", None, None),
        (b"x" * 513, None, None),
    ],
    ids=["none", "plain", "utf-8", "latin-1", "empty", "too long"],
)
def test_a_payload_says_which_arm_its_request_was_assigned_to_and_by_which_key(
    service: Service, key: bytes | None, unit: str | None, arm: str | None
) -> None:
    service.post(ROW, headers={b"x-capstan-arm": b"v2"} | ({} if key is None else {b"x-capstan-key": key}))
    assert (service.log.records[0].unit, service.log.records[0].arm) == (unit, arm)


def test_a_copy_and_a_made_up_arm_belong_to_no_arm(service: Service) -> None:
    service.post(ROW, headers={"host": "toy-shadow", "x-capstan-arm": "v1", "x-capstan-key": "me"})
    service.post(ROW, headers={"x-capstan-arm": "no version!", "x-capstan-key": "me"})
    assert [record.arm for record in service.log.records] == [None, None]
    assert [record.unit for record in service.log.records] == [None, "me"]


def sent_rows(service: Service) -> list[Any]:
    """Of all payloads the rows of inputs, as they go to the collector."""
    blocks = orjson.loads(body_of(written(service.log._buffer)))
    return [row for block in blocks for row in block["rows"]]


def test_a_row_that_is_read_as_it_was_sent_goes_to_the_collector_in_its_own_bytes(service: Service) -> None:
    mine = b'{ "flight_id": "f-1", "temp": 3.50e0, "dest":"LAX","distance":1200, "carrier": "UA"}'
    assert service.ask("POST", "/predict", content=mine).status_code == 200
    (part,) = written(service.log._buffer)
    assert mine in part.body
    (record,) = service.log.records
    assert (record.inputs, record.entity_id) == (ROW, "f-1")


@pytest.mark.parametrize(
    "body",
    [
        json.dumps({**ROW, "flight_id": 7}).encode(),
        json.dumps({"rows": [ROW]}).encode(),
        json.dumps({**ROW, "dest": "never seen"}).encode(),
        b"%b%b" % (json.dumps(ROW).encode(), b" " * 1000),
        b'{"temp": [[1]], %b' % json.dumps(ROW).encode()[1:],
        b'{"temp": {"temp": 1}, %b' % json.dumps(ROW).encode()[1:],
    ],
    ids=[
        "an id that is read as text",
        "in a list",
        "with a mark",
        "white space",
        "a list under a name that is given again",
        "an object under a name that is given again",
    ],
)
def test_any_other_row_is_written_as_the_model_read_it(service: Service, body: bytes) -> None:
    assert service.ask("POST", "/predict", content=body).status_code == 200
    service.post(ROW)
    written_anew, as_sent = sent_rows(service)
    assert (type(written_anew), type(as_sent)) == (list, dict)
    found, other = service.log.records
    row = orjson.loads(body)
    row = row.get("rows", [row])[0]
    assert found.inputs == {**row, "flight_id": str(row["flight_id"])}
    assert (other.inputs, [one.sequence for one in (found, other)]) == (ROW, [1, 2])


def test_of_a_refused_request_no_input_is_kept(service: Service) -> None:
    headers = {"x-capstan-event-time": "yesterday"}
    replayed = Service(service.app._model, event_time_header=True)  # type: ignore[arg-type]
    assert replayed.post(ROW, headers=headers).status_code == 422
    (record,) = replayed.log.records
    assert (record.status, record.inputs, record.outputs) == (422, {}, None)


def test_every_row_of_a_batch_is_a_payload(service: Service) -> None:
    service.post({"rows": [ROW, ROW, ROW]}, headers={"x-request-id": "r-5"})
    assert [(record.request_id, record.row) for record in service.log.records] == [
        ("r-5", 0),
        ("r-5", 1),
        ("r-5", 2),
    ]


@pytest.mark.parametrize("host", ["toy-shadow", "toy-shadow:7480"])
def test_a_mirrored_request_is_a_shadow_whatever_arm_it_came_from(service: Service, host: str) -> None:
    service.post(ROW, headers={"host": host, "x-capstan-role": "champion"})
    assert service.log.records[0].role == "shadow"
    assert service.count('capstan_requests_total{code="200",role="shadow",system="toy",version="v3"}') == 1


@pytest.mark.parametrize(("written", "role"), [("0", "champion"), ("1", "shadow")])
@pytest.mark.parametrize("host", ["toy", "something-shadow"])
def test_a_version_that_gets_no_copies_or_only_copies_does_not_ask_the_host(
    model: Model, written: str, role: str, host: str
) -> None:
    copies = ServiceSettings.from_environment({"CAPSTAN_COPIES": written}).copies
    service = Service(model, copies=copies)
    service.post(ROW, headers={"host": host})
    assert service.log.records[0].role == role


def test_nobody_hides_a_request_by_calling_it_a_copy_in_a_header(service: Service) -> None:
    service.post(ROW, headers={"x-capstan-role": "shadow", "x-capstan-arm": "v3", "x-capstan-key": "me"})
    [record] = service.log.records
    assert (record.role, record.arm, record.unit) == ("champion", "v3", "me")


def test_a_made_up_role_makes_no_new_series(service: Service) -> None:
    before = len(service.ask("GET", "/metrics").text.splitlines())
    for number in range(20):
        service.post(ROW, headers={"x-capstan-role": f"role-{number}"})
        service.ask("POST", f"/v2/models/model-{number}/infer", content=b"{}")
    assert len(service.ask("GET", "/metrics").text.splitlines()) == before


def test_the_event_time_is_read_in_a_replay_only(model: Model) -> None:
    headers = {"x-capstan-event-time": "2013-02-01T05:00:00-05:00"}
    live, replayed = Service(model), Service(model, event_time_header=True)
    live.post(ROW, headers=headers)
    replayed.post(ROW, headers=headers)
    assert live.log.records[0].event_time == pytest.approx(time.time(), abs=600)
    assert replayed.log.records[0].event_time == "2013-02-01T05:00:00-05:00"
    refused = replayed.post(ROW, headers={"x-capstan-event-time": "yesterday"})
    assert refused.json()["error"]["field"] == "x-capstan-event-time"


def outside(column: str) -> str:
    return f'capstan_outside_training_total{{column="{column}",system="toy",version="v3"}}'


def test_what_training_never_saw_is_answered_marked_and_counted(trained: Service) -> None:
    row = {**ROW, "dest": "ATL", "temp": 99, "distance": None}
    first, second = trained.post({"rows": [ROW, row]}).json()["predictions"]
    assert "outside" not in first
    assert second["outside"] == [
        {
            "field": "distance",
            "value": None,
            "rule": "was never missing in training; it is read as the transform fills it in",
        },
        {"field": "temp", "value": 99, "rule": "is above 40, the most of training"},
        {
            "field": "dest",
            "value": "ATL",
            "rule": "is none of the categories that the model knows; it is read as `other`",
        },
    ]
    assert [trained.count(outside(name)) for name in ("distance", "temp", "carrier", "dest")] == [1, 1, 0, 1]
    assert [record.status for record in trained.log.records] == [200, 200]
    below = trained.post({**ROW, "temp": -40}).json()["predictions"][0]["outside"]
    assert [mark["rule"] for mark in below] == ["is below -30, the least of training"]


def test_a_value_in_a_column_that_training_never_had_filled_is_marked_and_counted(model: Model) -> None:
    emptied = copy.copy(model)
    emptied.manifest = replace(
        model.manifest,
        columns=tuple(
            replace(column, filled=column.name not in ("temp", "dest")) for column in model.manifest.columns
        ),
    )
    service = Service(emptied)
    (told,) = service.post(ROW).json()["predictions"]
    rule = "had no value in training, so the model has not learnt what its values mean"
    assert told["outside"] == [
        {"field": "temp", "value": 3.5, "rule": rule},
        {"field": "dest", "value": "LAX", "rule": rule},
    ]
    assert [service.count(outside(name)) for name in ("temp", "dest")] == [1, 1]
    row = {name: value for name, value in ROW.items() if name != "temp"}
    assert "outside" not in service.post({**row, "dest": None}).json()["predictions"][0]
    assert [service.count(outside(name)) for name in ("temp", "dest")] == [1, 1]


def test_a_nan_hides_no_other_breach(trained: Service) -> None:
    body = (
        b'{"distance": NaN, "temp": "cold", "scheduled_departure": "yesterday", "bogus": Infinity, "odd": 1}'
    )
    answer = trained.ask("POST", "/predict", content=body)
    assert answer.status_code == 422
    assert [(one["field"], one["rule"].split(";")[0]) for one in answer.json()["errors"]] == [
        ("distance", "must be a finite number"),
        ("bogus", "must be a finite number"),
        ("temp", "must be a number, not a text"),
        ("scheduled_departure", "is no time of the calendar"),
        ("bogus", "is not a column of this model"),
        ("odd", "is not a column of this model"),
        ("carrier", "is missing"),
    ]


def test_a_nan_in_one_row_hides_no_breach_of_another(trained: Service) -> None:
    body = b'{"rows": [{"distance": NaN, "temp": 1, "carrier": "AA"}, {"distance": "far", "temp": 1, "carrier": "AA"}]}'
    answer = trained.ask("POST", "/predict", content=body)
    assert [one["field"] for one in answer.json()["errors"]] == ["rows[0].distance", "rows[1].distance"]


def test_a_nan_alone_is_told_once_also_where_null_may_not_be(service: Service) -> None:
    row = b'{"distance": NaN, "temp": 1, "carrier": "AA", "dest": "LAX"}'
    assert [one["rule"] for one in service.ask("POST", "/predict", content=row).json()["errors"]] == [
        "must be a finite number"
    ]


def test_v2_answers_alike_whatever_a_router_wrote_into_the_parameters_of_a_request(trained: Service) -> None:
    values = {
        "distance": ("FP64", 900.0),
        "temp": ("FP64", 1.0),
        "carrier": ("BYTES", "UA"),
        "dest": ("BYTES", "LAX"),
    }
    tensors = [
        {"name": name, "datatype": datatype, "shape": [1], "data": [value]}
        for name, (datatype, value) in values.items()
    ]
    parameters = {"capstan_arm": "v2", "capstan_shares": "v1=40 v2=60"}
    plain = trained.post({"inputs": tensors}, "/v2/models/toy/infer")
    routed = trained.post({"inputs": tensors, "parameters": parameters}, "/v2/models/toy/infer")
    assert plain.status_code == routed.status_code == 200
    assert routed.json()["outputs"] == plain.json()["outputs"]


def test_v2_tells_what_training_never_saw_as_a_parameter(trained: Service) -> None:
    def ask(temp: list[float]) -> dict[str, Any]:
        rows = {"distance": [1200.0] * len(temp), "temp": temp}
        texts = {"carrier": ["UA"] * len(temp), "dest": ["LAX"] * len(temp)}
        tensors = [
            {"name": name, "datatype": datatype, "shape": [len(data)], "data": data}
            for columns, datatype in ((rows, "FP64"), (texts, "BYTES"))
            for name, data in columns.items()
        ]
        return trained.post({"inputs": tensors}, "/v2/models/toy/infer").json()

    assert "parameters" not in ask([1.0])
    assert ask([99.0])["parameters"] == {"outside": "temp: 99.0 is above 40, the most of training"}
    told = ask([1.0, 99.0])["parameters"]["outside"]
    assert told == "rows[1].temp: 99.0 is above 40, the most of training"


def test_an_empty_row_is_refused_and_every_column_that_training_had_is_named(trained: Service) -> None:
    answer = trained.post({})
    assert answer.status_code == 422
    fields = [problem["field"] for problem in answer.json()["errors"]]
    assert fields == ["distance", "temp", "carrier"]
    v2 = trained.post({"inputs": [{"name": "wnd", "datatype": "FP64", "shape": [1], "data": [1]}]}, V2)
    assert v2.status_code == 422
    assert all(name in v2.json()["error"] for name in ("wnd", "distance", "temp", "carrier"))


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP"])
def test_a_gzip_body_is_read(service: Service, encoding: str) -> None:
    body = gzip.compress(json.dumps(ROW).encode())
    for sent in (body, gzip.compress(b"") + body):
        answer = service.ask("POST", "/predict", content=sent, headers={"content-encoding": encoding})
        assert answer.status_code == 200, answer.text
    assert service.log.records[0].inputs == ROW


@pytest.mark.parametrize(
    ("body", "encoding", "status", "words"),
    [
        (gzip.compress(b" " * 20_000_000), "gzip", 413, "at most 1048576 bytes"),
        (gzip.compress(b"{}")[:-9], "gzip", 422, "ends in the middle"),
        (b"{}", "gzip", 422, "is not gzip"),
        (gzip.compress(b"{}"), "", 422, "content-encoding: gzip"),
        (b"{}", "br", 415, "send gzip"),
        (b"{}", "gzip, gzip", 415, "send gzip"),
    ],
    ids=["bomb", "torn", "plain", "not said", "brotli", "twice"],
)
def test_an_encoded_body_that_cannot_be_read_is_told_so(
    service: Service, body: bytes, encoding: str, status: int, words: str
) -> None:
    headers = {"content-encoding": encoding} if encoding else {}
    answer = service.ask("POST", "/predict", content=body, headers=headers)
    assert (answer.status_code, words in answer.json()["error"]["rule"]) == (status, True)
    assert (
        service.count(f'capstan_requests_total{{code="{status}",role="champion",system="toy",version="v3"}}')
        == 1
    )


def test_every_answer_of_the_native_route_is_json_with_field_and_rule(service: Service) -> None:
    assert service.ask("POST", "/predict/", json=ROW).status_code == 200
    asked = [("GET", "/predict", 405), ("POST", "/predictions", 404), ("GET", "/predict/x", 404)]
    for method, path, status in asked:
        answer = service.ask(method, path)
        assert answer.status_code == status
        assert "/predict" in answer.json()["error"]["rule"]


def test_a_body_that_cannot_be_quoted_is_refused_all_the_same(service: Service) -> None:
    for body in (b'{"\\ud800": NaN}', b'{"a": {"\\udfff": Infinity}}', b"\xff\xfe{"):
        answer = service.ask("POST", "/predict", content=body)
        assert answer.status_code == 422
        assert answer.json()["error"]["rule"]


class Broken:
    """An estimator that fails as a user's may."""

    def __init__(self, probability: float | None, error: Exception | None = None) -> None:
        self.probability = probability
        self.error = error or ZeroDivisionError("no mercy")

    def predict_proba(self, frame: Any) -> np.ndarray:
        if self.probability is None:
            raise self.error
        return np.full((len(frame), 2), self.probability)


@pytest.mark.parametrize("probability", [math.nan, math.inf, -0.1, 1.5])
def test_a_prediction_that_is_no_probability_is_a_500_that_is_logged_and_counted(
    model: Model, probability: float
) -> None:
    service = Service(Model(model.manifest, Broken(probability), None))  # type: ignore[arg-type]
    assert service.post(ROW).status_code == 500
    (record,) = service.log.records
    assert (record.status, record.nonfinite, record.outputs, record.inputs) == (500, True, None, ROW)
    assert service.count('capstan_nonfinite_predictions_total{version="v3"}') == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({**ROW, "temp": None}, "temp", id="one_row"),
        pytest.param({"rows": [ROW, {**ROW, "temp": None}]}, "rows[1].temp", id="of_several"),
    ],
)
def test_a_value_that_a_models_input_cannot_hold_is_refused_by_its_field(
    model: Model, body: dict[str, Any], field: str
) -> None:
    rule = "is missing, which the model's input 'temp' can't hold"
    service = Service(Model(model.manifest, Broken(None, UnfitValueError("temp", None, rule)), None))  # type: ignore[arg-type]
    answer = service.post(body)
    assert answer.status_code == 422
    assert answer.json()["error"] == {"field": field, "value": None, "rule": rule}


def test_a_model_that_raises_is_a_500_and_the_service_goes_on(model: Model) -> None:
    service = Service(Model(model.manifest, Broken(None), None))  # type: ignore[arg-type]
    answer = service.post(ROW)
    assert answer.status_code == 500
    assert "ZeroDivisionError" in answer.json()["error"]["rule"]
    assert service.count('capstan_requests_total{code="500",role="champion",system="toy",version="v3"}') == 1


def test_counters_start_at_zero(service: Service) -> None:
    for role in ("champion", "challenger", "shadow"):
        for code in (200, 422, 500):
            labels = f'{{code="{code}",role="{role}",system="toy",version="v3"}}'
            assert service.count(f"capstan_requests_total{labels}") == 0
    for reason in ("overflow", "rejected", "shutdown"):
        assert (
            service.count(f'capstan_payloads_lost_total{{reason="{reason}",system="toy",version="v3"}}') == 0
        )
    assert own_counts(service.ask("GET", "/prometheus").text) == own_counts(
        service.ask("GET", "/metrics").text
    )


def own_counts(metrics: str) -> list[str]:
    """Without those of the process, whose processor time goes on between two calls."""
    return [line for line in metrics.splitlines() if line.startswith("capstan_")]


def test_latency_is_observed_in_exponential_buckets(service: Service) -> None:
    service.post(ROW)
    labels = 'role="champion",system="toy",version="v3"'
    assert service.count(f"capstan_request_seconds_count{{{labels}}}") == 1
    text = service.ask("GET", "/metrics").text
    assert 'le="0.0005"' in text
    assert 'le="0.00075"' in text
