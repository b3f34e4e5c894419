"""What the collector makes of the log of Seldon's executor, asked of a real process over HTTP.

Headers and bodies are those that the executor's own library (cloudevents/sdk-go 1.2, binary mode) puts on the wire.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import orjson
import pytest
from contract.test_collector import RunningCollector

from capstan.errors import InvalidRequestError
from capstan.recording.executor_log import LONGEST_WAIT, MOST_WAITING, ExecutorLog

NOW = datetime(2026, 11, 25, tzinfo=UTC)
TOKEN = "path-secret"
REQUEST, RESPONSE = "io.seldon.serving.inference.request", "io.seldon.serving.inference.response"


def headers(
    kind: str, request_id: str, *, predictor: str = "v3", sdep: str = "flights-v3", node: str = "model"
) -> dict[str, str]:
    number = 0 if kind == REQUEST else 1
    return {
        "Accept-Encoding": "gzip",
        "Ce-Endpoint": predictor,
        "Ce-Id": f"0e2f7c1a-6d2b-4f6e-9f4d-00000000000{number}",
        "Ce-Inferenceservicename": sdep,
        "Ce-Modelid": node,
        "Ce-Namespace": "models",
        "Ce-Protocol": "v2",
        "Ce-Requestid": request_id,
        "Ce-Source": "http://:8000/",
        "Ce-Specversion": "1.0",
        "Ce-Time": "2026-11-25T00:17:44.755820803Z",
        "Ce-Traceparent": "00-59d42c25e8b0b7c4570c236b3bc30936-7813813db50f36c6-00",
        "Ce-Type": kind,
        "Content-Type": "application/json",
        "Traceparent": "00-59d42c25e8b0b7c4570c236b3bc30936-614282cbf01f1033-00",
        "User-Agent": "Go-http-client/1.1",
    }


def tensor(name: str, datatype: str, *data: object, shape: list[int] | None = None) -> dict[str, object]:
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": list(data)}


ASKED = {
    "id": "a1",
    "inputs": [
        tensor("flight_id", "BYTES", "2013-2-1-UA-15-EWR", "2013-2-1-AA-1-JFK"),
        tensor("distance", "FP64", 900.5, 1400),
        tensor("carrier", "BYTES", "UA", "AA"),
    ],
}
ANSWERED = {
    "model_name": "flights",
    "model_version": "v3",
    "id": "a1",
    "outputs": [tensor("probability", "FP64", 0.25, 0.75), tensor("label", "BOOL", False, True)],
}


SPEC = {
    "features": [],
    "data": {"keys": {"id": "flight_id"}},
    "objective": {"task": "BinaryClassification"},
}


class Executor:
    """Posts as the executor does, to a collector that knows its token."""

    def __init__(self, root: Path) -> None:
        self.collector = RunningCollector(root)
        (root / "executor").write_text(TOKEN)
        config = json.loads(self.collector.config.read_bytes())
        config["tokens"]["executor"] = str(root / "executor")
        self.collector.config.write_bytes(orjson.dumps(config))
        folder = self.collector.systems / "flights"
        (folder / "spec.json").write_bytes(orjson.dumps({"spec": SPEC}))
        (folder / "monitor").mkdir()
        (folder / "monitor" / "target.json").write_bytes(b'{"version": "v3"}')

    def post(
        self, kind: str, request_id: str, body: object, *, arm: str = "live", **names: str
    ) -> httpx.Response:
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        return self.collector.http.post(
            f"/seldon/{TOKEN}/{arm}", content=content, headers=headers(kind, request_id, **names)
        )

    def predict(self, request_id: str, *, arm: str = "live", **names: str) -> None:
        assert self.post(REQUEST, request_id, ASKED, arm=arm, **names).status_code == 202
        assert self.post(RESPONSE, request_id, ANSWERED, arm=arm, **names).status_code == 202


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[Executor]:
    running = Executor(tmp_path)
    running.collector.start()
    yield running
    running.collector.kill()


@pytest.mark.real
def test_a_pair_becomes_the_rows_that_a_service_of_ours_would_have_sent(executor: Executor) -> None:
    assert executor.post(RESPONSE, "puid-1", ANSWERED).json() == {"payloads": 0}
    assert executor.post(REQUEST, "puid-1", ASKED).json() == {"payloads": 2}
    executor.collector.flush()
    rows = executor.collector.rows(
        'request_id, row, version, role, attempt, entity_id, status, "output.probability", "input.distance",'
        ' "input.carrier"'
    )
    assert sorted(rows) == [
        ("puid-1", 0, "v3", "champion", 1, "2013-2-1-UA-15-EWR", 200, 0.25, 900.5, "UA"),
        ("puid-1", 1, "v3", "champion", 1, "2013-2-1-AA-1-JFK", 200, 0.75, 1400.0, "AA"),
    ]
    moments = executor.collector.rows("distinct epoch_us(event_time)")
    assert moments == [(int(datetime(2026, 11, 25, 0, 17, 44, 755820, tzinfo=UTC).timestamp() * 1e6),)]
    stats = executor.collector.stats()
    assert (stats["stored"], stats["lost"], stats["answered"]) == (2, 0, 1)


@pytest.mark.real
def test_roles_follow_from_the_arm_and_the_watched_version(executor: Executor) -> None:
    executor.predict("a")
    executor.predict("b", predictor="v4", sdep="flights")
    executor.predict("c", predictor="default", sdep="flights-v4")
    executor.predict("d", predictor="v5", sdep="flights-v5", arm="shadow")
    executor.predict("e", predictor="v3-copy", sdep="flights-v3-copy")
    executor.collector.flush()
    assert sorted(executor.collector.rows("distinct request_id, version, role")) == [
        ("a", "v3", "champion"),
        ("b", "v4", "challenger"),
        ("c", "v4", "challenger"),
        ("d", "v5", "shadow"),
        ("e", "v3-copy", "challenger"),
    ]


@pytest.mark.real
def test_of_a_graph_with_a_router_the_node_is_the_version_and_the_request_says_by_which_shares_it_was_drawn(
    executor: Executor,
) -> None:
    drawn = {**ASKED, "parameters": {"capstan_arm": "v4", "capstan_shares": "v3=20 v4=80"}}
    graph = {"predictor": "arms", "sdep": "flights"}
    for request_id, body, node in [
        ("a", drawn, "v4"),
        # What is no word of the router's for this node is not believed.
        ("b", drawn, "v3"),
        ("c", {**drawn, "parameters": {"capstan_arm": "v4", "capstan_shares": "v3=100 v4=0"}}, "v4"),
        ("d", ASKED, "v4"),
    ]:
        assert executor.post(REQUEST, request_id, body, node=node, **graph).status_code == 202
        assert executor.post(RESPONSE, request_id, ANSWERED, node=node, **graph).status_code == 202
    # Neither is what a client writes to a version that stands alone.
    alone = {**drawn, "parameters": {**drawn["parameters"], "capstan_arm": "v3"}}
    assert executor.post(REQUEST, "e", alone).status_code == 202
    assert executor.post(RESPONSE, "e", ANSWERED).status_code == 202
    executor.collector.flush()
    assert sorted(executor.collector.rows("distinct request_id, version, arm, shares"), key=str) == [
        ("a", "v4", "v4", "v3=20 v4=80"),
        ("b", "v3", None, None),
        ("c", "v4", None, None),
        ("d", "v4", None, None),
        ("e", "v3", None, None),
    ]


@pytest.mark.real
def test_any_order_and_repetition_of_halves_is_each_pair_once(executor: Executor) -> None:
    halves = [(kind, f"puid-{n}") for n in range(40) for kind in (REQUEST, RESPONSE)] * 2
    random.Random(5).shuffle(halves)
    for kind, request_id in halves:
        body = ASKED if kind == REQUEST else ANSWERED
        assert executor.post(kind, request_id, body).status_code == 202
    executor.collector.flush()
    assert executor.collector.rows("count(*), count(distinct request_id), count(distinct sequence)") == [
        (80, 40, 80)
    ]
    assert "capstan_collector_executor_repeated_total 80.0" in executor.collector.http.get("/metrics").text


@pytest.mark.real
@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"kind": "io.seldon.serving.feedback"}, "ce-type"),
        ({"sdep": "other-v3"}, "ce-inferenceservicename"),
        ({"predictor": "main", "sdep": "flights"}, "ce-endpoint"),
        ({"predictor": "v3-copied", "sdep": "flights-v3-copied"}, "ce-endpoint"),
        ({"request_id": "x" * 200}, "ce-requestid"),
        ({"body": b"{"}, "body"),
        ({"body": {"data": {"ndarray": [[1]]}}}, "inputs"),
        ({"body": {"inputs": [tensor("distance", "FP64", 1, shape=[3])]}}, "inputs[0].shape"),
        ({"arm": "elsewhere"}, "path"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_what_is_no_half_of_a_prediction_is_refused_by_name(
    executor: Executor, changes: dict[str, object], field: str
) -> None:
    asked: dict[str, object] = {"kind": REQUEST, "request_id": "a", "body": ASKED, **changes}
    answer = executor.post(**asked)
    assert (answer.status_code, answer.json()["error"]["field"]) == (422, field)


@pytest.mark.real
def test_only_the_secret_path_is_open(executor: Executor) -> None:
    wrong = executor.collector.http.post(
        "/seldon/guessed/live", json=ASKED, headers=headers(REQUEST, "a", predictor="v3")
    )
    assert wrong.status_code == 401
    assert "capstan_collector_senders_refused_total 1.0" in executor.collector.http.get("/metrics").text


@pytest.fixture
def systems(tmp_path: Path) -> Path:
    (tmp_path / "flights").mkdir()
    (tmp_path / "flights" / "spec.json").write_bytes(orjson.dumps({"spec": SPEC}))
    return tmp_path


def half(log: ExecutorLog, kind: str, request_id: str, at: datetime = NOW) -> list[tuple[int, int, int]]:
    """(events, produced, lost) of the batches that come of it."""
    named: Mapping[str, str] = {name.lower(): value for name, value in headers(kind, request_id).items()}
    batches = log.add(named, orjson.dumps(ASKED if kind == REQUEST else ANSWERED), "live", at)
    return [(batch.payloads, batch.heading.produced, batch.heading.lost) for batch in batches]


def test_a_half_that_stays_alone_is_a_lost_payload(systems: Path) -> None:
    log = ExecutorLog(systems)
    assert half(log, REQUEST, "a") == []
    assert half(log, REQUEST, "b", NOW + LONGEST_WAIT) == []
    assert half(log, RESPONSE, "b", NOW + LONGEST_WAIT + timedelta(seconds=1)) == [(2, 2, 0), (0, 3, 1)]
    assert (log.waiting, log.unpaired) == (0, 1)
    # Its other half, late, is alone too.
    assert half(log, RESPONSE, "a", NOW + 2 * LONGEST_WAIT) == []
    (last,) = log.close()
    assert (last.heading.lost, last.heading.ended, log.unpaired) == (2, True, 2)


def test_waiting_halves_are_bounded_and_the_oldest_are_given_up(systems: Path) -> None:
    log = ExecutorLog(systems)
    for n in range(MOST_WAITING + 5):
        half(log, REQUEST, f"r{n}")
    assert (log.waiting, log.unpaired) == (MOST_WAITING, 5)
    assert half(log, RESPONSE, "r5")[0][0] == 2


def test_what_could_not_be_stored_is_told_as_lost(systems: Path) -> None:
    log = ExecutorLog(systems)
    half(log, REQUEST, "a")
    named = {name.lower(): value for name, value in headers(RESPONSE, "a").items()}
    (batch,) = log.add(named, orjson.dumps(ANSWERED), "live", NOW)
    log.lose(batch)
    (told,) = log.expire(NOW)
    assert (told.heading.produced, told.heading.lost, told.blocks) == (2, 2, [])


def test_halves_that_do_not_fit_together_cost_their_own_rows(systems: Path) -> None:
    log = ExecutorLog(systems)
    half(log, REQUEST, "a")
    named = {name.lower(): value for name, value in headers(RESPONSE, "a").items()}
    other = {"outputs": [tensor("probability", "FP64", 0.5)]}
    with pytest.raises(InvalidRequestError, match="must hold 2 rows"):
        log.add(named, orjson.dumps(other), "live", NOW)
    assert [(told.heading.produced, told.heading.lost) for told in log.expire(NOW)] == [(2, 2)]
