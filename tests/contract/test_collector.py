"""What the collector promises, asked of a real process over HTTP."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import httpx
import orjson
import pytest
from sent_payloads import body

from capstan.adapters.processes.ports_in_use import free_port
from capstan.testing.ports.waiting import eventually

pytestmark = pytest.mark.real
START = datetime(2013, 2, 1, 12, tzinfo=UTC)


class RunningCollector:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.systems = root / "systems"
        for folder in ("payloads", "labels"):
            (self.systems / "flights" / folder).mkdir(parents=True)
        revenue = {"name": "revenue", "event": "buy", "aggregate": "Sum", "window": "1d", "better": "Higher"}
        spec = {
            "features": [],
            "objective": {"task": "BinaryClassification"},
            "evaluation": {"online": [revenue]},
        }
        (self.systems / "flights" / "spec.json").write_bytes(orjson.dumps({"spec": spec}))
        for name in ("internal", "feedback"):
            (root / name).write_text(f"secret-{name}")
        self.port = free_port()
        self.config = root / "collector.json"
        self.config.write_bytes(
            orjson.dumps(
                {
                    "port": self.port,
                    "directory": str(root / "collector"),
                    "systems": str(self.systems),
                    "tokens": {name: str(root / name) for name in ("internal", "feedback")},
                    "flush_seconds": 3600,
                }
            )
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=30)

    def start(self, **limits: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "capstan.recording.collector.server", "--config", str(self.config)],
            **limits,
        )
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self.process.poll() is None, "the collector ended"
            try:
                if self.http.get("/healthz").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the collector did not start")

    def kill(self, how: int = signal.SIGKILL) -> None:
        if self.process is not None and self.process.poll() is None:
            os.kill(self.process.pid, how)
            self.process.wait(timeout=30)

    def send(self, payloads: list[dict[str, object]] | bytes, **headers: str) -> httpx.Response:
        content = payloads if isinstance(payloads, bytes) else body(payloads)
        return self.http.post(
            "/payloads", content=content, headers={"authorization": "Bearer secret-internal", **headers}
        )

    def label(self, *labels: dict[str, object], match: bool = False) -> httpx.Response:
        return self.http.post(
            "/feedback",
            json={"labels": list(labels), "match": match},
            headers={"authorization": "Bearer secret-feedback"},
        )

    def happened(
        self, *events: dict[str, object], match: bool = False, token: str = "feedback"
    ) -> httpx.Response:
        return self.http.post(
            "/events",
            json={"events": list(events), "match": match},
            headers={"authorization": f"Bearer secret-{token}"},
        )

    def flush(self) -> httpx.Response:
        return self.http.post("/flush", headers={"authorization": "Bearer secret-internal"})

    def stats(self) -> dict[str, object]:
        return self.http.get("/stats").json()

    def rows(self, query: str, folder: str = "payloads") -> list[tuple[object, ...]]:
        return duckdb.sql(
            f"select {query} from read_parquet('{self.systems}/flights/{folder}/**/*.parquet', union_by_name=true)"
        ).fetchall()

    def stored_rows(self) -> list[object]:
        """Sequence numbers of all stored payloads, in order."""
        if not any(self.systems.rglob("*.parquet")):
            return []
        return [row[0] for row in sorted(self.rows("sequence"))]


def event(sequence: int, boot: str = "b1", **data: object) -> dict[str, object]:
    return {
        "id": f"{boot}-{sequence}",
        "source": "/capstan/flights/v1",
        "data": {
            "request_id": f"r{sequence}",
            "role": "champion",
            "attempt": 1,
            "row": 0,
            "event_time": (START + timedelta(hours=sequence)).isoformat(),
            "entity_id": f"e{sequence}",
            "status": 200,
            "latency_seconds": 0.01,
            "outputs": {"probability": 0.25},
            "nonfinite": False,
            "inputs": {"distance": 100 + sequence, "carrier": "UA"},
            **data,
        },
    }


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[RunningCollector]:
    running = RunningCollector(tmp_path)
    running.start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    """One for all that must leave it as it was."""
    running = RunningCollector(tmp_path_factory.mktemp("standing"))
    running.start()
    yield running
    running.kill()


def test_acknowledged_payloads_survive_a_kill_and_are_stored_once(collector: RunningCollector) -> None:
    for first in range(1, 301, 100):
        answer = collector.send(
            [event(n) for n in range(first, first + 100)],
            **{"x-capstan-boot": "b1", "x-capstan-produced": "300"},
        )
        assert answer.status_code == 200
    collector.kill()
    collector.start()
    collector.send([event(n) for n in range(201, 302)])  # the producer never saw the last acknowledgement
    assert collector.flush().status_code == 200
    assert collector.rows("count(*), count(distinct sequence), count(distinct request_id)") == [
        (301, 301, 301)
    ]
    stats = collector.stats()
    assert (stats["stored"], stats["duplicates"], stats["answered"]) == (301, 100, 301)
    assert stats["boots"]["b1"]["produced"] == 300


def test_a_kill_between_rename_and_truncation_doubles_nothing(collector: RunningCollector) -> None:
    collector.send([event(n) for n in range(1, 51)])
    collector.label({"id": "e1", "label": True, "availableAt": "2013-02-02T00:00:00Z"})
    wal = collector.root / "collector" / "wal"
    kept = {path: path.read_bytes() for path in wal.glob("*.wal")}
    assert collector.flush().status_code == 200
    collector.kill()
    # As if the process had died after the renames: the log is still there, the counts are not.
    for path, content in kept.items():
        path.write_bytes(content)
    (collector.root / "collector" / "state.json").unlink()
    collector.start()
    assert collector.flush().status_code == 200
    assert collector.rows("count(*), count(distinct sequence)") == [(50, 50)]
    assert collector.rows("count(*)", "labels") == [(1,)]
    assert collector.stats()["stored"] == 50


def test_counts_survive_restarts_and_lost_payloads_are_told(collector: RunningCollector) -> None:
    heading = {
        "x-capstan-boot": "b1",
        "x-capstan-version": "v1",
        "x-capstan-produced": "9",
        "x-capstan-lost": "4",
    }
    collector.send([event(n) for n in range(1, 6)], **heading)
    collector.send([], **{**heading, "x-capstan-produced": "11", "x-capstan-lost": "6"})
    before = collector.stats()
    collector.kill(signal.SIGTERM)
    collector.start()
    after = collector.stats()
    assert after == before
    assert after["boots"]["b1"] | {"system": None} == {
        "system": None, "version": "v1", "produced": 11, "lost": 6, "stored": 5, "missing": 0, "state": "heard",
    }  # fmt: skip
    assert after["lost"] == 6
    losses = orjson.loads((collector.systems / "flights" / "payloads" / "losses.json").read_bytes())
    assert sum(losses["v1"].values()) == 6


def heading(produced: int, *, lost: int = 0, boot: str = "b1", **more: str) -> dict[str, str]:
    return {
        "x-capstan-boot": boot,
        "x-capstan-version": "v1",
        "x-capstan-produced": str(produced),
        "x-capstan-lost": str(lost),
        **more,
    }


def missing(collector: RunningCollector) -> dict[str, tuple[str, int]]:
    boots: dict[str, dict[str, object]] = collector.stats()["boots"]
    return {name: (boot["state"], boot["missing"]) for name, boot in boots.items()}


def test_what_a_dead_producer_had_not_handed_in_is_missing_and_comes_off_again_if_it_comes(
    tmp_path: Path,
) -> None:
    collector = RunningCollector(tmp_path)
    config = orjson.loads(collector.config.read_bytes())
    collector.config.write_bytes(orjson.dumps({**config, "silence_seconds": 2, "flush_seconds": 0.3}))
    collector.start()
    losses = collector.systems / "flights" / "payloads" / "losses.json"
    # One was killed with four unsent, one ended well, one is idle and says so, one was killed with nothing unsent.
    collector.send([event(n, "killed") for n in range(1, 7)], **heading(10, boot="killed"))
    collector.send([event(1, "ended")], **heading(1, boot="ended", **{"x-capstan-ended": "true"}))
    collector.send([event(1, "idle")], **heading(1, boot="idle"))
    collector.send([event(1, "empty")], **heading(1, boot="empty"))
    for _ in range(8):
        time.sleep(0.5)
        collector.send([], **heading(1, boot="idle"))
    assert missing(collector) == {
        "killed": ("silent", 4), "ended": ("ended", 0), "idle": ("heard", 0), "empty": ("silent", 0),
    }  # fmt: skip
    assert (collector.stats()["missing"], collector.stats()["lost"]) == (4, 0)
    eventually(lambda: losses.exists() and orjson.loads(losses.read_bytes()) == {"v1": {"2013-02-01": 4}})
    before = collector.stats()
    collector.kill()
    collector.start()
    assert collector.stats() == before
    # It was only cut off: three of the four come after all, and it tells of the fourth.
    collector.send([event(n, "killed") for n in range(7, 10)], **heading(10, lost=1, boot="killed"))
    assert missing(collector)["killed"] == ("heard", 0)
    stats = collector.stats()
    assert (stats["missing"], stats["lost"], stats["stored"]) == (0, 1, 12)
    eventually(lambda: sum(orjson.loads(losses.read_bytes())["v1"].values()) == 1)
    collector.kill()


def test_a_second_collector_waits_until_the_first_is_gone(collector: RunningCollector) -> None:
    collector.send([event(n) for n in range(1, 11)])
    first = collector.process
    assert first is not None
    config = orjson.loads(collector.config.read_bytes())
    other = collector.root / "other.json"
    other.write_bytes(orjson.dumps({**config, "port": free_port()}))
    second = subprocess.Popen(
        [sys.executable, "-m", "capstan.recording.collector.server", "--config", str(other)]
    )
    try:
        time.sleep(3)
        collector.send([event(n) for n in range(11, 21)])
        first.send_signal(signal.SIGKILL)
        first.wait(timeout=30)
        port = orjson.loads(other.read_bytes())["port"]
        eventually(lambda: _stored(port) == 20, 30)
    finally:
        second.kill()
        second.wait(timeout=30)


def _stored(port: int) -> int | None:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/stats").json()["stored"]
    except httpx.TransportError:
        return None


def test_an_edited_file_is_followed_and_a_broken_edit_is_not(tmp_path: Path) -> None:
    collector = RunningCollector(tmp_path)
    config = orjson.loads(collector.config.read_bytes())
    mounted = tmp_path / "mounted.json"
    collector.config.write_bytes(orjson.dumps({**config, "spec": str(mounted), "flush_seconds": 0.3}))

    def mount(name: str, kind: str) -> None:
        document = {"metadata": {"name": name}, "spec": {"features": [{"name": "month", kind: {}}]}}
        mounted.write_bytes(orjson.dumps(document))

    mount("trains", "numeric")
    collector.start()
    spec = collector.systems / "trains" / "spec.json"
    assert spec.read_bytes() == mounted.read_bytes()
    source = {"source": "/capstan/trains/v1"}
    collector.send([event(1, inputs={"month": 3}) | source])
    mount("trains", "categorical")
    eventually(lambda: spec.read_bytes() == mounted.read_bytes())
    mounted.write_bytes(b"{")
    collector.send([event(2, inputs={"month": 3}) | source])
    time.sleep(1)
    assert b"categorical" in spec.read_bytes()
    assert collector.stats()["stored"] == 2
    collector.kill()


NAN = body([event(1, outputs={"probability": 7.5})]).replace(b"7.5", b"NaN")
POISON = {
    "nan": (NAN, 422),
    "not_json": (b"{{{", 422),
    "no_list": (b'{"a": 1}', 422),
    "no_block": (b"[1]", 422),
    "ragged": (body([event(1)]).replace(b'"r1",', b""), 422),
    "deep": (b"[" * 100_000 + b"]" * 100_000, 422),
    "ten_megabytes": (b'["' + b"x" * (10 * 2**20) + b'"]', 413),
    "elsewhere": (body([event(1)]).replace(b'"flights"', b'".."'), 422),
    "unknown_system": (body([event(1) | {"source": "/capstan/other/v1"}]), 422),
    "bad_version": (body([event(1)]).replace(b'"v1"', b'"v 9"'), 422),
    "nested_input": (body([event(1, inputs={"distance": {"a": [1]}})]), 422),
    "huge_text": (body([event(1, inputs={"carrier": "x" * 100_000})]), 422),
    "no_arm": (body([event(1, arm="no version!")]), 422),
    "long_unit": (body([event(1, unit="x" * 513)]), 422),
    "naive_time": (body([event(1, event_time="2013-02-01T12:00:00")]), 422),
}


@pytest.mark.parametrize("name", POISON)
def test_poison_is_refused_by_field_and_hurts_nothing(standing: RunningCollector, name: str) -> None:
    content, status = POISON[name]
    sequence, stored = 100 + list(POISON).index(name), standing.stored_rows()
    answer = standing.send(content)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["field"]
    assert error["rule"]
    assert standing.send([event(sequence)]).json() == {"accepted": 1, "duplicates": 0}
    assert standing.flush().status_code == 200
    assert standing.stored_rows() == [*stored, sequence]


def test_the_arm_and_the_unit_of_a_request_are_stored_and_may_be_missing(collector: RunningCollector) -> None:
    collector.send([event(1, arm="v2", unit="N12345"), event(2, arm="v1", unit=None), event(3)])
    collector.flush()
    rows = sorted(collector.rows("sequence, arm, unit"))
    assert rows == [(1, "v2", "N12345"), (2, "v1", None), (3, None, None)]


def test_poison_among_good_payloads_is_refused_alone_and_counted_as_lost(collector: RunningCollector) -> None:
    text = body([event(1), event(2, outputs={"probability": 7.5}), event(3)]).replace(b"7.5", b"Infinity")
    answer = collector.send(text, **{"x-capstan-boot": "b1", "x-capstan-produced": "3"})
    assert answer.status_code == 200
    assert answer.json()["accepted"] == 2
    assert [refused["field"] for refused in answer.json()["refused"]] == ["output.probability"]
    stats = collector.stats()
    assert (stats["stored"], stats["lost"], stats["refused"]) == (2, 1, 1)
    assert stats["boots"]["b1"]["produced"] - stats["stored"] - stats["lost"] == 0
    collector.flush()
    assert collector.rows("list(sequence order by sequence)") == [([1, 3],)]


def test_a_full_disk_is_answered_507_keeps_nothing_half_written_and_resumes(
    collector: RunningCollector,
) -> None:
    collector.send([event(n) for n in range(1, 6)])
    assert collector.flush().status_code == 200
    wal = collector.root / "collector" / "wal" / "00000002.wal"
    wal.symlink_to("/dev/full")  # every write to it fails with the kernel's own ENOSPC
    batch = [event(n) for n in range(6, 11)]
    answer = collector.send(batch)
    assert answer.status_code == 507
    assert "no room left" in answer.json()["error"]["rule"]
    assert collector.label({"id": "e1", "label": True}).status_code == 507
    assert collector.stats()["stored"] == 5
    wal.unlink()
    assert collector.send(batch).json() == {"accepted": 5, "duplicates": 0}
    unfinished = collector.systems / "flights" / "payloads" / "day=2013-02-01" / ".t0-00000002.parquet.tmp"
    unfinished.symlink_to("/dev/full")
    assert collector.flush().status_code == 507
    assert collector.http.get("/healthz").status_code == 503
    assert collector.http.get("/livez").status_code == 200  # nothing that killing it would mend
    assert "capstan_collector_flush_failing 1.0" in collector.http.get("/metrics").text
    assert collector.rows("count(*)") == [(5,)]
    assert collector.flush().status_code == 200  # the symlink went with the failed attempt
    assert collector.http.get("/healthz").status_code == 200
    assert collector.rows("count(*), count(distinct sequence)") == [(10, 10)]


def test_only_the_right_token_opens_each_route(collector: RunningCollector) -> None:
    wrong = {"authorization": "Bearer secret-feedback"}
    assert collector.http.post("/payloads", content=b"[]", headers=wrong).status_code == 401
    assert collector.http.post("/flush", headers=wrong).status_code == 401
    assert collector.http.post("/flush").status_code == 401
    answer = collector.http.post(
        "/feedback", json={"labels": []}, headers={"authorization": "Bearer secret-internal"}
    )
    assert answer.status_code == 401
    assert "capstan_collector_senders_refused_total 4.0" in collector.http.get("/metrics").text


def test_what_is_not_answered_is_told_in_json(standing: RunningCollector) -> None:
    for method, path, status in (("GET", "/feedback", 405), ("POST", "/labels", 404)):
        answer = standing.http.request(method, path)
        assert answer.status_code == status
        assert "/feedback" in answer.json()["error"]["rule"]


def test_labels_are_taken_once_and_corrections_are_kept(collector: RunningCollector) -> None:
    first = {"id": "e1", "label": True, "availableAt": "2013-02-02T00:00:00Z"}
    assert collector.label(first, {"requestId": "r2", "noLabel": True}).json() == {
        "accepted": 2,
        "duplicates": 0,
    }
    assert collector.label(first).json() == {"accepted": 0, "duplicates": 1}
    assert collector.label(first | {"label": False}).json() == {"accepted": 1, "duplicates": 0}
    collector.kill()
    collector.start()
    assert collector.label(first | {"label": False}).json() == {"accepted": 0, "duplicates": 1}
    collector.flush()
    assert collector.rows("count(*), sum(label_boolean::int), count(*) filter (no_label)", "labels") == [
        (3, 1, 1)
    ]
    stats = collector.stats()
    assert (stats["labels"], stats["no_labels"]) == (2, 1)


def test_the_answer_says_of_each_label_which_request_it_matched_over_a_restart(
    collector: RunningCollector,
) -> None:
    collector.send([event(1), event(2)])
    collector.flush()
    collector.send([event(3)])
    labels = [{"id": "e1", "label": True}, {"requestId": "r3", "label": False}, {"id": "typo", "label": True}]
    for _ in range(2):
        # For a while after a start services may still hold payloads, and a label waits for them.
        eventually(lambda: collector.label(*labels, match=True).json()["waiting"]["count"] == 0, seconds=40)
        found = collector.label(*labels, match=True).json()
        assert found["matched"] == {"count": 2, "ids": ["e1", "r3"]}
        assert found["neverAsked"]["ids"] == ["typo"]
        assert found["waiting"] == found["unknown"] == {"count": 0, "ids": []}
        collector.kill()
        collector.start()
        first = collector.label(*labels, match=True).json()
        assert first["matched"]["ids"] == ["e1", "r3"]
        assert first["waiting"]["ids"] == ["typo"]
        assert first["duplicates"] == 3
    sent = collector.label({"id": "e2", "label": True}, {"id": "new", "label": True}, match=True)
    assert sent.elapsed < timedelta(seconds=10)
    metrics = collector.http.get("/metrics").text
    assert 'capstan_collector_label_requests_total{request="matched"} 1.0' in metrics
    assert 'capstan_collector_label_requests_total{request="waiting"} 1.0' in metrics
    assert 'capstan_collector_label_requests_total{request="neverAsked"} 0.0' in metrics


@pytest.mark.parametrize(
    ("label", "field"),
    [
        ({"label": True}, "labels[0]"),
        ({"id": "e", "requestId": "r", "label": True}, "labels[0]"),
        ({"id": "e", "label": "maybe"}, "labels[0].label"),
        ({"id": "e", "label": True, "availableAt": "tomorrow"}, "labels[0].availableAt"),
        ({"id": "e", "label": True, "noLabel": True}, "labels[0].label"),
        ({"id": "e", "lable": True}, "labels[0].lable"),
    ],
    ids=lambda case: case if isinstance(case, str) else "",
)
def test_a_bad_label_is_named_and_nothing_is_taken(
    standing: RunningCollector, label: dict[str, object], field: str
) -> None:
    answer = standing.label(label, {"id": "good", "label": True})
    assert answer.status_code == 422
    assert answer.json()["error"]["field"] == field
    assert standing.stats()["labels"] == 0


BOUGHT = {"eventId": "b1", "event": "buy", "id": "e1", "value": 12.5, "at": "2013-02-02T00:00:00Z"}


def test_events_are_taken_once_and_their_corrections_and_retractions_are_kept_over_kills(
    collector: RunningCollector,
) -> None:
    other = {"eventId": "o1", "event": "opened", "unit": "ann"}
    assert collector.happened(BOUGHT, other).json() == {"accepted": 2, "duplicates": 0, "unread": ["opened"]}
    assert collector.happened(BOUGHT).json() == {"accepted": 0, "duplicates": 1}
    collector.kill()
    collector.start()
    assert collector.happened(BOUGHT).json() == {"accepted": 0, "duplicates": 1}, "from the log"
    assert collector.happened({**BOUGHT, "value": 20}).json() == {"accepted": 1, "duplicates": 0}
    assert collector.happened({**other, "retract": True}).json()["accepted"] == 1
    collector.flush()
    collector.kill()
    collector.start()
    assert collector.happened({**BOUGHT, "value": 20}).json() == {"accepted": 0, "duplicates": 1}, (
        "from the counts"
    )
    rows = collector.rows("event_id, value, entity_id, unit, retracted", "events")
    assert sorted(rows, key=str) == [
        ("b1", 12.5, "e1", None, False),
        ("b1", 20.0, "e1", None, False),
        ("o1", None, None, "ann", False),
        ("o1", None, None, "ann", True),
    ]
    stats = collector.stats()
    assert (stats["events"], stats["events_retracted"], stats["event_duplicates"]) == (3, 1, 3)
    assert "capstan_collector_events_total 3.0" in collector.http.get("/metrics").text


def test_the_answer_says_of_each_event_which_request_it_is_about(collector: RunningCollector) -> None:
    collector.send([event(1, unit="ann")])
    events = [
        {"eventId": f"{number}", "event": "buy", "value": 1, **subject}
        for number, subject in enumerate(
            [{"id": "e1"}, {"unit": "ann"}, {"requestId": "r1"}, {"unit": "typo"}]
        )
    ]
    eventually(lambda: collector.happened(*events, match=True).json()["waiting"]["count"] == 0, seconds=40)
    found = collector.happened(*events, match=True).json()
    assert (found["matched"]["ids"], found["neverAsked"]["ids"]) == (["e1", "ann", "r1"], ["typo"])


def test_bad_events_are_named_and_nothing_is_taken(standing: RunningCollector) -> None:
    answer = standing.happened(
        BOUGHT, {**BOUGHT, "eventId": "b2", "value": None}, {"event": "buy", "id": "e"}
    )
    assert answer.status_code == 422
    assert [one["field"] for one in answer.json()["errors"]] == ["events[1].value", "events[2].eventId"]
    assert standing.stats()["events"] == 0
    assert standing.happened(BOUGHT, token="internal").status_code == 401


def packed(content: bytes) -> bytes:
    return gzip.compress(content, 1)


GZIP = {
    "labels": (packed(b'{"labels": [{"id": "packed", "label": 1}], "match": false}'), "gzip", 200, ""),
    "two_streams": (packed(b'{"labels": ') + packed(b"[]}"), "X-GZIP", 200, ""),
    "bomb": (packed(b" " * 400_000_000), "gzip", 413, "after unpacking"),
    "cut": (packed(b'{"labels": []}')[:-9], "gzip", 422, "ends in the middle"),
    "not_gzip": (b'{"labels": []}', "gzip", 422, "is not gzip, as content-encoding says"),
    "untold": (packed(b'{"labels": []}'), "", 422, "content-encoding: gzip"),
    "another": (b'{"labels": []}', "br", 415, "send gzip"),
}


@pytest.mark.parametrize("name", GZIP)
def test_labels_may_come_as_gzip_and_a_bomb_is_refused(collector: RunningCollector, name: str) -> None:
    content, encoding, status, rule = GZIP[name]
    answer = collector.http.post(
        "/feedback",
        content=content,
        headers={"authorization": "Bearer secret-feedback", "content-encoding": encoding},
    )
    assert answer.status_code == status
    if status != 200:
        assert rule in answer.json()["error"]["rule"]
    assert collector.stats()["labels"] == (name == "labels")
    collector.kill()
    collector.start()  # what was taken is in the log as it was before its encoding
    assert collector.flush().status_code == 200
    assert collector.stats()["labels"] == (name == "labels")
    if name == "labels":
        assert collector.rows("entity_id, label_boolean", "labels") == [("packed", True)]


def test_all_bad_labels_are_named_at_once_and_at_most_a_hundred(standing: RunningCollector) -> None:
    good = {"id": "good", "label": True}
    answer = standing.label({"id": "", "label": True}, good, {"id": "e", "label": "maybe"})
    assert [problem["field"] for problem in answer.json()["errors"]] == ["labels[0].id", "labels[2].label"]
    many = standing.label(*[{"id": "e", "label": "maybe"}] * 300, good).json()["errors"]
    assert [problem["field"] for problem in many] == [f"labels[{index}].label" for index in range(100)]
    assert standing.stats()["labels"] == 0


def test_attempts_of_a_request_are_one_answer_and_mirrors_none(collector: RunningCollector) -> None:
    collector.send(
        [
            event(1, request_id="a", role="challenger", status=500, outputs=None),
            event(2, request_id="a", attempt=2),
            event(3, request_id="a", role="shadow"),
            event(4, request_id="b", row=0),
            event(5, request_id="b", row=1),
        ]
    )
    assert collector.stats()["answered"] == 2


def test_declared_columns_keep_their_type_and_days_are_utc(collector: RunningCollector) -> None:
    spec = {"spec": {"features": [{"name": "distance", "numeric": {}}, {"name": "month", "categorical": {}}]}}
    (collector.systems / "flights" / "spec.json").write_bytes(orjson.dumps(spec))
    late = "2013-02-01T22:00:00-05:00"
    collector.send([event(1, event_time=late, inputs={"distance": 7, "month": 3, "other": None})])
    collector.flush()
    assert (collector.systems / "flights" / "payloads" / "day=2013-02-02").is_dir()
    assert collector.rows(
        'typeof("input.distance"), "input.distance", "input.month", epoch(event_time)::bigint'
    ) == [("DOUBLE", 7.0, "3", int(datetime.fromisoformat(late).timestamp()))]
