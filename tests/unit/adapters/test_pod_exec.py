"""A command in a pod over a real WebSocket: whatever ends it, the words are ours."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator

import pytest
from aiohttp import web
from kubernetes import client

from capstan.adapters.kubernetes.client import KubeClient, without_own_retries
from capstan.adapters.kubernetes.pod_exec import run_with_input
from capstan.errors import CapstanError, NotAllowedError, NotFoundError, UnavailableError

STDOUT, STDERR, ENDED = b"\x01", b"\x02", b"\x03"
VENDOR = ("Traceback", "ApiException", "Handshake", "websocket", "WebSocket", "Errno", "(0)", "Reason:", "{")
Talk = Callable[[web.WebSocketResponse], Awaitable[None]]


class ApiServer:
    """Answers an exec request as it is told to."""

    def __init__(self) -> None:
        self.status = 101
        self.talk: Talk
        self.heard = b""
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self.port = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)

    async def _start(self) -> int:
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/ml/pods/push/exec", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.status != 101:
            said = {"kind": "Status", "message": 'pods "push" said no', "code": self.status}
            return web.json_response(said, status=self.status)
        socket = web.WebSocketResponse(protocols=("v4.channel.k8s.io",), autoclose=False)
        await socket.prepare(request)
        await self.talk(socket)
        return socket

    def answer(self, *frames: bytes) -> None:
        """Take some input, send these frames and close."""

        async def talk(socket: web.WebSocketResponse) -> None:
            self.heard += (await socket.receive_bytes())[1:]
            for frame in frames:
                await socket.send_bytes(frame)
            await socket.close()

        self.talk = talk

    def break_off(self) -> None:
        """Close the connection in the middle, without a word."""

        async def talk(socket: web.WebSocketResponse) -> None:
            await socket.receive_bytes()
            transport = socket._req.transport if socket._req is not None else None
            assert transport is not None
            transport.abort()

        self.talk = talk

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    server = ApiServer()
    yield server
    server.close()


def run(port: int) -> str:
    settings = without_own_retries()
    settings.host = f"http://127.0.0.1:{port}"
    kube = KubeClient(client.ApiClient(settings))
    return run_with_input(kube, "ml", "push", "push", ["python", "-c", "..."], [b"content"])


def ended(status: str, code: str = "") -> bytes:
    causes = [{"reason": "ExitCode", "message": code}] if code else []
    said = {"status": status, "message": f"command terminated with non-zero exit code: {code}"}
    return ENDED + json.dumps({**said, "details": {"causes": causes}}).encode()


def told(error: CapstanError) -> str:
    """The message, once it is sure that no library speaks in it."""
    assert not [words for words in VENDOR if words in str(error)]
    return str(error)


def test_what_the_command_wrote_is_returned(server: ApiServer) -> None:
    server.answer(STDOUT + b"3 ", STDOUT + b"files", ended("Success"))
    assert run(server.port) == "3 files"
    assert server.heard == b"content"


def test_a_command_that_fails_says_why_itself(server: ApiServer) -> None:
    server.answer(STDERR + b"no space left on the volume\n", ended("Failure", "1"))
    with pytest.raises(CapstanError) as caught:
        run(server.port)
    assert told(caught.value) == "push: no space left on the volume"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("3", "push: the command ended with code 3 and without a word"),
        ("137", "code 137 and without a word; it was killed, for its memory or with its pod"),
        ("", "push: the command could not be run; see `kubectl describe pod`"),
    ],
)
def test_a_command_that_fails_without_a_word_is_told_by_its_code(
    server: ApiServer, code: str, words: str
) -> None:
    server.answer(ended("Failure", code))
    with pytest.raises(CapstanError) as caught:
        run(server.port)
    assert words in told(caught.value)


def test_a_command_that_is_cut_off_is_no_success(server: ApiServer) -> None:
    server.answer(STDOUT + b"3")
    with pytest.raises(UnavailableError, match="push: the command was cut off: it ended without a word"):
        run(server.port)


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [
        (
            403,
            NotAllowedError,
            "the kubeconfig user lacks the right `create` on `pods/exec` in that namespace",
        ),
        (404, NotFoundError, "pod push in namespace ml is gone"),
        (
            500,
            UnavailableError,
            "the API server opened no connection (HTTP status 500); run the command again",
        ),
    ],
)
def test_a_connection_that_is_refused_is_told_with_the_way_out(
    server: ApiServer, status: int, kind: type[CapstanError], words: str
) -> None:
    server.status = status
    with pytest.raises(kind) as caught:
        run(server.port)
    assert words in told(caught.value)


def test_a_connection_that_breaks_is_told_in_words(server: ApiServer) -> None:
    server.break_off()
    with pytest.raises(UnavailableError) as caught:
        run(server.port)
    assert "pod push in namespace ml: the connection broke before there was an answer" in told(caught.value)


def test_an_api_server_that_is_away_is_told_in_words(server: ApiServer) -> None:
    port = server.port
    server.close()
    server.__init__()  # type: ignore[misc]
    with pytest.raises(UnavailableError) as caught:
        run(port)
    assert "the connection was refused: nothing listens there" in told(caught.value)
