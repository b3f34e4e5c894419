"""An object storage that refuses or is away is told in our words: the key, what is wrong, and the way out."""

from __future__ import annotations

import http.server
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from capstan.artifacts.store import ArtifactStore
from capstan.errors import InvalidSpecError, UnavailableError

VENDOR = re.compile(r"AWS|curl|vendor says|Operation|When |ExceptionName|Arrow|errno", re.IGNORECASE)
KEYS = re.compile(r"AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|SESSION_TOKEN)")
REFUSALS = {
    "AccessDenied": (403, "does not allow it with these keys; correct AWS_ACCESS_KEY_ID"),
    "InvalidAccessKeyId": (403, "refuses the keys; correct AWS_ACCESS_KEY_ID"),
    "SignatureDoesNotMatch": (403, "refuses the keys; correct AWS_ACCESS_KEY_ID"),
    "ExpiredToken": (400, "the keys have expired; give new ones"),
    "NoSuchBucket": (404, "there is no such bucket; create it, or correct the address"),
    "PermanentRedirect": (301, "in another region; write the right one into the address"),
    "RequestTimeTooSkewed": (403, "the clocks of this machine and of the object storage differ"),
    "QuotaExceeded": (403, "no room is left in the object storage"),
    "XMinioStorageFull": (507, "no room is left in the object storage"),
    "Teapot": (418, "the object storage refuses it (Teapot, status 418); its own log says why"),
}


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """An S3 server that answers everything with `refusing.answer`, a code and a status."""

    class Refusing(http.server.BaseHTTPRequestHandler):
        def _answer(self) -> None:
            code, status = self.server.answer  # type: ignore[attr-defined]
            body = f"<Error><Code>{code}</Code><Message>vendor says {code}</Message></Error>".encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_GET = do_HEAD = do_PUT = do_POST = _answer

        def log_message(self, *_: object) -> None:
            """Silent."""

    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def store_at(port: int) -> ArtifactStore:
    return ArtifactStore(f"s3://bucket/churn?endpoint_override=127.0.0.1:{port}&scheme=http")


@pytest.mark.parametrize("code", REFUSALS)
def test_a_refusal_names_the_key_and_the_way_out_and_nothing_of_the_vendors(code: str, refusing: Any) -> None:
    status, words = REFUSALS[code]
    refusing.answer = (code, status)
    with pytest.raises(UnavailableError) as raised:
        store_at(refusing.server_port).write("runs/one", b"x")
    told = str(raised.value)
    assert told.startswith("artifacts is unavailable: s3://bucket/churn/runs/one: ")
    assert words in told
    assert not VENDOR.search(KEYS.sub("", told))


def test_a_storage_that_is_away_names_the_key_and_the_address(
    refusing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capstan.artifacts.store._TRIES", 1)
    store = store_at(1)
    for ask in (lambda: store.read("runs/one"), lambda: store.write("runs/one", b"x")):
        with pytest.raises(
            UnavailableError, match=r"s3://bucket/churn/runs/one: nobody answers there"
        ) as raised:
            ask()
        assert "endpoint_override and scheme" in str(raised.value)
        assert not VENDOR.search(str(raised.value))


def test_a_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path.as_uri())
    (tmp_path / "runs" / "one").mkdir(parents=True)
    for ask in (lambda: store.read("runs/one"), lambda: store.write("runs/one", b"x")):
        with pytest.raises(UnavailableError) as raised:
            ask()
        assert str(raised.value) == (
            f"artifacts is unavailable: file://{tmp_path}/runs/one: is a folder where a file belongs; move it away"
        )


def test_another_scheme_is_refused_by_its_name() -> None:
    with pytest.raises(InvalidSpecError, match="scheme=ftp is neither http nor https"):
        ArtifactStore("s3://bucket/x?scheme=ftp&region=eu-central-1")
