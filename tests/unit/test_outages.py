"""Claims about how a part that does not answer is told: words for people, the library's own text for the log."""

from __future__ import annotations

import json
import logging
import socket
import ssl
from collections.abc import Callable, Iterator

import httpx
import pytest
import urllib3

from capstan.adapters.prometheus.query import PrometheusQuery
from capstan.errors import UnavailableError
from capstan.outages import in_words

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
