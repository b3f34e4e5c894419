"""Claims about how a part that does not answer is told: words for people, the library's own text for the log."""

from __future__ import annotations

import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import urllib3

from capstan.adapters.envoy.pod import AgentEnvoy
from capstan.adapters.kubeflow.api import KfpApi
from capstan.adapters.own.collector import CollectorClient
from capstan.adapters.own.monitor import HttpMonitor, MonitorClient
from capstan.adapters.prometheus.query import PrometheusQuery
from capstan.errors import UnavailableError
from capstan.outages import SHORTENED_TO, answer_in_words, in_words
from capstan.recording.reading import PayloadReader

NO_WORDS = ("httpx", "urllib3", "Errno", "Exception", "Error:", "0x", "HTTPConnection")


@pytest.fixture
def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Somebody listens and never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])


def raised(call: Callable[[], object]) -> BaseException:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    "ask",
    [
        lambda url: httpx.get(url, trust_env=False),
        lambda url: urllib3.PoolManager(retries=False).request("GET", url),
        lambda url: urllib3.PoolManager(retries=1).request("GET", url),
    ],
    ids=["httpx", "urllib3", "urllib3-with-retries"],
)
def test_a_closed_port_is_told_in_one_way_whichever_library_met_it(
    ask: Callable[[str], object], closed_port: int
) -> None:
    error = raised(lambda: ask(f"http://127.0.0.1:{closed_port}/"))
    assert in_words(error, "monitor") == "the connection was refused: nothing listens there"


def test_a_server_that_never_answers_is_told_as_silent(silent_port: int) -> None:
    url = f"http://127.0.0.1:{silent_port}/"
    for call in (
        lambda: httpx.get(url, timeout=0.2, trust_env=False),
        lambda: urllib3.PoolManager(retries=False).request("GET", url, timeout=0.2),
    ):
        assert in_words(raised(call), "monitor") == "no answer in time"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (socket.gaierror(-2, "Name or service not known"), "its name is not known to DNS"),
        (
            ConnectionResetError(104, "Connection reset by peer"),
            "the connection broke before there was an answer",
        ),
        (ssl.SSLCertVerificationError(1, "self-signed"), "its certificate is not trusted"),
        (json.JSONDecodeError("Expecting value", "<html>", 0), "its answer is no JSON"),
        (KeyError("content"), "its answer was not understood"),
        (
            RuntimeError("pymysql.err.OperationalError (2013)"),
            "it did not answer as expected; the log says more",
        ),
        (
            httpx.HTTPStatusError(
                "x", request=httpx.Request("GET", "http://x"), response=httpx.Response(503)
            ),
            "it answers with HTTP status 503",
        ),
    ],
)
def test_every_way_of_not_answering_has_words(error: BaseException, said: str) -> None:
    assert in_words(error, "monitor") == said


def test_the_cause_behind_a_library_s_error_is_what_is_told() -> None:
    error = RuntimeError("(psycopg.OperationalError) 0x7f")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert in_words(error, "registry") == "the connection was refused: nothing listens there"


def test_the_library_s_text_is_in_the_log_and_what_must_be_hidden_is_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="capstan.outages")
    error = RuntimeError("cannot open postgresql://me:secret@db/mlflow: gone")
    words = in_words(error, "registry", hide="postgresql://me:secret@db/mlflow")
    assert "gone" not in words
    assert "RuntimeError: cannot open (hidden): gone" in caplog.text
    assert "secret" not in caplog.text


def test_a_condition_s_text_about_a_part_names_no_library(closed_port: int) -> None:
    with pytest.raises(UnavailableError) as raised_error:
        PrometheusQuery(f"http://127.0.0.1:{closed_port}").instant("up")
    text = str(raised_error.value)
    assert "nothing listens there" in text
    assert not [word for word in NO_WORDS if word in text]


def test_a_part_that_is_asked_all_the_time_gives_one_line_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, logger="capstan.outages")
    now = [1000.0]
    monkeypatch.setattr("capstan.outages.time.monotonic", lambda: now[0])
    for _ in range(30):
        in_words(ConnectionRefusedError(111, "asked all the time"), "monitor")
        now[0] += 2.1
    assert caplog.text.count("asked all the time") == 2
    in_words(TimeoutError("another cause"), "monitor")
    assert caplog.text.count("another cause") == 1


PAGE = "<html><head><title>502 Bad Gateway</title></head><body><hr>nginx/1.25</body></html>"
TRACEBACK = 'Traceback (most recent call last):\n  File "app.py", line 3\npydantic.ValidationError: 3 errors'
BODIES = {
    "page": (502, PAGE, "it answers with HTTP status 502; the log says more"),
    "traceback": (500, TRACEBACK, "it answers with HTTP status 500; the log says more"),
    "traceback in JSON": (
        500,
        json.dumps({"error": TRACEBACK}),
        "it answers with HTTP status 500; the log says more",
    ),
    "bytes": (500, "\x00\x01 binary", "it answers with HTTP status 500; the log says more"),
    "nothing": (503, "", "it answers with HTTP status 503; the log says more"),
    "a list": (500, "[1, 2]", "it answers with HTTP status 500; the log says more"),
    "our own": (
        503,
        '{"error": {"field": "now", "rule": "is early"}}',
        "it answers with HTTP status 503: now: is early",
    ),
    "KFP": (
        400,
        json.dumps(
            {
                "error": "long\nand more",
                "code": 3,
                "message": "Invalid input error: name\nstack: 0x7f",
                "details": [],
            }
        ),
        "it answers with HTTP status 400: Invalid input error: name",
    ),
    "plain": (500, "no room\ngoroutine 1 [running]", "it answers with HTTP status 500: no room"),
    "long": (500, "x" * 5000, f"it answers with HTTP status 500: {'x' * (SHORTENED_TO - 1)}…"),
}


@pytest.mark.parametrize("name", BODIES)
def test_an_answer_that_is_an_error_is_told_with_a_short_reason_and_logged_as_it_came(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="capstan.outages")
    status, body, said = BODIES[name]
    assert answer_in_words(status, body, f"part of {name}") == said
    assert body[:4000] in caplog.text


class Answering:
    """A server that answers everything alike."""

    def __init__(self) -> None:
        self.status, self.body = 200, b""
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                self.rfile.read(int(self.headers.get("content-length", 0)))
                self.send_response(outer.status)
                self.send_header("content-length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_POST = do_PUT = _answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def answering() -> Iterator[Answering]:
    made = Answering()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def clients(url: str, folder: Path) -> dict[str, Callable[[], object]]:
    monitor = MonitorClient(url, folder=folder, token="t", model_dir=lambda _: folder)
    remote = HttpMonitor(httpx.Client(trust_env=False), url, token="t", bento=lambda _: ("a:b", "c"))  # type: ignore[arg-type, return-value]
    collector = CollectorClient(url, internal_token="t", feedback_token="t")
    kfp = KfpApi(url)
    pod = AgentEnvoy(httpx.Client(trust_env=False), url, "t", pod="gateway-1", generation=1)
    return {
        "collector": collector.stats,
        "labels": lambda: collector.post_labels([{"id": "a", "label": True}]),
        "monitor": lambda: monitor.advance(datetime(2026, 1, 1, tzinfo=UTC)),
        "standing": monitor.standing,
        "remote monitor": remote.windows,
        "remote standing": remote.standing,
        "Kubeflow Pipelines": lambda: kfp.create_run({}, "ml"),
        "Prometheus": lambda: PrometheusQuery(url).instant("up"),
        "gateway pod": pod.boot,
    }


@pytest.mark.parametrize("status", [500, 502])
@pytest.mark.parametrize("body", [PAGE, TRACEBACK, json.dumps({"message": TRACEBACK}), "[]", "null"])
def test_no_client_of_a_part_shows_what_another_program_dumped(
    answering: Answering, tmp_path: Path, status: int, body: str
) -> None:
    answering.status, answering.body = status, body.encode()
    for name, call in clients(answering.url, tmp_path).items():
        error = raised(call)
        assert isinstance(error, UnavailableError), (name, error)
        assert f"it answers with HTTP status {status}" in str(error), name
        assert not [word for word in (*NO_WORDS, "<html", "Traceback", "nginx") if word in str(error)], name


@pytest.mark.parametrize("body", ['{"version": 7, "questions": [{"a": 1}]}', "[]", "null", '"text"', "7"])
def test_an_answer_of_another_program_is_told_without_the_library_that_read_it(
    answering: Answering, tmp_path: Path, body: str
) -> None:
    answering.body = body.encode()
    for name, call in clients(answering.url, tmp_path).items():
        if name in ("collector", "labels", "monitor", "standing", "remote monitor", "remote standing"):
            error = raised(call)
            assert isinstance(error, UnavailableError), (name, error)
            assert str(error).endswith("is unavailable: its answer was not understood"), name


def test_a_damaged_file_of_payloads_is_told_without_the_database_that_read_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    day = tmp_path / "payloads" / "day=2026-01-01"
    day.mkdir(parents=True)
    (day / "t0-00000001.parquet").write_bytes(b"no Parquet, not at all")
    reader = PayloadReader(tmp_path)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.raises(UnavailableError) as caught:
        reader.fetch("select count(*) from stored_payloads", start=moment, end=moment)
    reader.close()
    assert str(caught.value) == (
        "stored payloads is unavailable: a file of them cannot be read or is damaged; the log names it"
    )
    assert "t0-00000001.parquet" in caplog.text
