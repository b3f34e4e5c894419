"""Posts over connections that are kept alive: each is answered or fails once, and no answer is taken for another's."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from capstan.adapters.processes.ports_in_use import free_port
from capstan.embedded.replay.client import GatewayClient, Prediction
from capstan.embedded.replay.connections import Connections

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
FINE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


async def request(reader: asyncio.StreamReader) -> tuple[str, bytes]:
    """Head and body of the next request; raises IncompleteReadError when the client is gone."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    (length,) = [line for line in head.splitlines() if line.startswith("content-length")]
    return head, await reader.readexactly(int(length.partition(":")[2]))


def posting(
    talk: Talk, times: int, *, deadline: float = 5.0, wait: float = 0.0
) -> list[tuple[int, bytes] | str]:
    """What so many posts, one after the other, get of a server that talks so; an error by its name."""

    async def run() -> list[tuple[int, bytes] | str]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await talk(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connections = Connections(f"http://127.0.0.1:{port}/predict?a=1", deadline_seconds=deadline)
        found: list[tuple[int, bytes] | str] = []
        for number in range(times):
            try:
                found.append(await connections.post({"x-number": str(number)}, b"row"))
            except OSError as error:
                found.append(type(error).__name__)
            await asyncio.sleep(wait)
        connections.close()
        server.close()
        return found

    return asyncio.run(run())


def test_requests_follow_each_other_on_one_connection() -> None:
    seen: list[tuple[int, str, bytes]] = []
    connections = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            seen.append((connections, *await request(reader)))
            writer.write(FINE)

    assert posting(talk, 3) == [(200, b"{}")] * 3
    assert [number for number, _, _ in seen] == [1, 1, 1]
    head, body = seen[2][1:]
    assert head.startswith("POST /predict?a=1 HTTP/1.1\r\nhost: 127.0.0.1:")
    assert "x-number: 2\r\n" in head
    assert body == b"row"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 503 no\r\ncontent-length: 4\r\n\r\nbusy", (503, b"busy")),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + FINE, (200, b"{}")),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n", (200, b"{}")),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}", (200, b"{}")),
        (b"no HTTP at all\r\n\r\n", "ConnectionError"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{", "ConnectionResetError"),
        (b"", "ConnectionResetError"),
    ],
    ids=["a refusal", "first to go on", "in chunks", "the last one", "no HTTP", "half", "nothing"],
)
def test_what_one_answer_is_read_as_and_the_next_request_is_answered_too(
    answer: bytes, expected: tuple[int, bytes] | str
) -> None:
    first = True

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal first
        await request(reader)
        writer.write(answer if first else FINE)
        await writer.drain()
        first = False

    found = posting(talk, 2, wait=0.05)
    assert found[0] == expected
    assert found[1] == (200, b"{}")


def test_an_answer_in_pieces_is_one() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request(reader)
        for byte in FINE:
            writer.write(bytes([byte]))
            await writer.drain()

    assert posting(talk, 1) == [(200, b"{}")]


def test_a_late_answer_is_nobody_elses() -> None:
    count = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal count
        while True:
            await request(reader)
            count += 1
            if count == 1:
                await asyncio.sleep(0.3)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n%d" % count)

    assert posting(talk, 3, deadline=0.1, wait=0.2) == ["TimeoutError", (200, b"2"), (200, b"3")]


def test_what_nobody_asked_for_closes_the_connection() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await request(reader)
            writer.write(FINE + b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n?")

    assert posting(talk, 3, wait=0.05) == [(200, b"{}")] * 3


def test_a_server_that_was_started_anew_between_two_calls_is_asked_over_a_new_connection() -> None:
    """The loop stands still between them, so nobody has told it that the old connection is closed."""
    answer = b'{"version":"v1","predictions":[{"probability":0.5}]}'

    def serve(listening: socket.socket) -> None:
        with suppress(OSError):
            while True:
                connection, _ = listening.accept()
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer))
                connection.close()

    listening = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listening,), daemon=True).start()
    client = GatewayClient(f"http://127.0.0.1:{listening.getsockname()[1]}", connections=1)
    for _ in range(4):
        assert client.send([Prediction(b"{}", "", "")]).failures == []
        time.sleep(0.05)
    client.close()
    listening.close()


def test_nobody_listens() -> None:
    client = GatewayClient(f"http://127.0.0.1:{free_port()}", connections=2)
    answered = client.send([Prediction(b"{}", "", "")] * 3)
    client.close()
    assert (answered.sent, answered.failed) == (3, 3)
    assert "ConnectionRefusedError" in answered.failures[0]


@pytest.mark.parametrize("key", ["a\r\nx-capstan-role: shadow", "a\nb", "a\0b"])
def test_a_key_of_several_lines_is_no_header(key: str) -> None:
    client = GatewayClient(f"http://127.0.0.1:{free_port()}", connections=1)
    answered = client.send([Prediction(b"{}", key, "")])
    client.close()
    assert "must be one line" in answered.failures[0]


def test_keys_are_sent_as_people_write_them() -> None:
    heads: list[str] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head, _ = await request(reader)
        heads.append(head)
        writer.write(FINE)

    async def run() -> None:
        server = await asyncio.start_server(talk, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connections = Connections(f"http://127.0.0.1:{port}/", deadline_seconds=5)
        await connections.post({"x-capstan-key": "Zürich 東京"}, b"")
        connections.close()
        server.close()

    asyncio.run(run())
    assert "x-capstan-key: Zürich 東京\r\n" in heads[0]
