"""Claims about `capstan open`: the page of this machine, and a cluster's through kubectl, by a code and no token."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from capstan.cli.main import app
from capstan.cli.remote_page import page_token
from capstan.cluster import tunnel as page_tunnel
from capstan.cluster.tunnel import tunnel
from capstan.errors import NotAllowedError, NotFoundError

TOKEN = "token-of-ann"


class PageStandIn(BaseHTTPRequestHandler):
    """Gives a code for one token."""

    def do_POST(self) -> None:
        known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
        body = json.dumps({"code": "once"} if known else {"reason": "the cluster does not know this token"})
        self.send_response(200 if known else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def page() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), PageStandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()


def kubectl(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> Path:
    """A program of this name that does what the script says, and notes how it was called."""
    program = folder / "kubectl"
    program.write_text(f'#!/bin/sh\necho "$@" > {folder}/called\n{script}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder / "called"


def test_a_cluster_is_reached_by_kubectl_and_answers_with_a_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, page: int
) -> None:
    called = kubectl(tmp_path, monkeypatch, f"echo 'Forwarding from 127.0.0.1:{page} -> 8089'; exec sleep 60")
    with tunnel("prod", "capstan-system", "capstan-page", 80) as way:
        assert way.address == f"http://127.0.0.1:{page}"
        assert way.code(TOKEN) == "once"
        with pytest.raises(
            NotAllowedError, match="does not let you in: the cluster does not know this token"
        ):
            way.code("another")
    assert way.process.poll() is not None
    words = "--context prod -n capstan-system port-forward service/capstan-page :80"
    assert called.read_text().strip() == words


def test_a_cluster_without_a_page_is_told_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl(
        tmp_path,
        monkeypatch,
        "echo 'Error from server (NotFound): services \"capstan-page\" not found'; exit 1",
    )
    with (
        pytest.raises(NotFoundError, match=r"page\.enabled=true"),
        tunnel("prod", "capstan-system", "capstan-page", 80),
    ):
        pass


@pytest.mark.parametrize("end", ["", ': RBAC: role.rbac.authorization.k8s.io "page" not found'])
def test_who_may_open_no_way_is_told_the_rights_that_it_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    refused = 'Error from server (Forbidden): services "capstan-page" is forbidden: User "ann" cannot get it'
    kubectl(tmp_path, monkeypatch, f"echo '{refused}{end}'; exit 1")
    with (
        pytest.raises(NotAllowedError, match=r"in namespace capstan-system .* create pods/portforward"),
        tunnel("prod", "capstan-system", "capstan-page", 80),
    ):
        pass


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_kill_and_a_closed_terminal_end_the_command_as_ctrl_c_does_unless_they_are_ignored(
    number: signal.Signals,
) -> None:
    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(number, signal.SIG_DFL)
        page_tunnel.end_as_by_ctrl_c()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.signal(number, signal.SIG_IGN)
        page_tunnel.end_as_by_ctrl_c()
        signal.raise_signal(number)
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_who_gives_up_while_the_way_is_being_opened_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kubectl(tmp_path, monkeypatch, "exec sleep 60")
    started: list[subprocess.Popen[str]] = []

    def give_up(process: subprocess.Popen[str], *_: object) -> int:
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr(page_tunnel, "_port_of", give_up)
    with pytest.raises(KeyboardInterrupt), tunnel("prod", "ns", "capstan-page", 80):
        pass
    assert [process.poll() is None for process in started] == [False]


def test_a_way_that_ends_is_opened_again_at_the_same_port(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    called = kubectl(tmp_path, monkeypatch, f"echo 'Forwarding from 127.0.0.1:{port} -> 8089'")
    monkeypatch.setattr(page_tunnel, "AGAIN_SECONDS", 0.0)
    with tunnel("prod", "ns", "capstan-page", 80) as way:
        starts = []

        def start(command: tuple[str, ...], local: int) -> object:
            starts.append(local)
            if len(starts) == 3:
                raise KeyboardInterrupt
            return way.process

        monkeypatch.setattr(page_tunnel, "_start", start)
        way.keep()
    assert starts == [port] * 3
    assert called.exists()


class Client:
    """A kubeconfig's user."""

    def __init__(self, header: str) -> None:
        self._header = header
        self.asked: list[tuple[str, str, int]] = []
        self.configuration = self

    def get_api_key_with_prefix(self, _: str) -> str:
        return self._header

    def request_token(self, account: str, namespace: str, *, seconds: int) -> str:
        self.asked.append((account, namespace, seconds))
        return "short-lived"


def test_an_account_gets_a_short_lived_token_by_token_request() -> None:
    client = Client("")
    assert page_token(client, "ann", "flights", seconds=1800) == "short-lived"  # type: ignore[arg-type]
    assert client.asked == [("ann", "flights", 1800)]


def test_a_user_with_a_token_shows_that() -> None:
    assert page_token(Client("Bearer mine"), None, "flights", seconds=1800) == "mine"  # type: ignore[arg-type]


def test_a_user_with_a_certificate_is_told_what_to_do() -> None:
    with pytest.raises(NotAllowedError, match="--account NAME"):
        page_token(Client(""), None, "flights", seconds=1800)  # type: ignore[arg-type]


def test_on_a_machine_where_nothing_runs_it_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["open", "--state", str(tmp_path / ".capstan"), "--no-browser"])
    assert result.exit_code == 1
    assert "no page is served" in " ".join(result.output.split())
