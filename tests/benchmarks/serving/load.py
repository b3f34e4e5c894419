"""Sends the same request over a number of kept-alive connections for some seconds, one at a time on each.

A closed loop: latencies are what a waiting client sees. Written on asyncio's protocols, because a client library costs
more than the servers measured here.
"""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import dataclass
from typing import cast

import orjson
import uvloop


@dataclass
class Measured:
    latencies: list[float]
    failures: int
    seconds: float

    def summary(self) -> dict[str, float]:
        ordered = sorted(self.latencies)
        count = len(ordered)
        quantile = lambda share: ordered[min(int(share * count), count - 1)] * 1000 if count else float("nan")  # noqa: E731
        return {
            "rps": count / self.seconds,
            "p50_ms": quantile(0.5),
            "p99_ms": quantile(0.99),
            "max_ms": quantile(1.0),
            "stalls": sum(latency > 0.05 for latency in ordered),
            "failures": self.failures,
        }


class Connection(asyncio.Protocol):
    """Sends the next request when the last is answered."""

    def __init__(self, request: bytes, until: float, measured: Measured, done: asyncio.Future[None]) -> None:
        self._request, self._until, self._measured, self._done = request, until, measured, done
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lowered = head.lower()
        length = int(lowered.partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        self._buffer = b""
        if head.startswith(b"HTTP/1.1 200"):
            self._measured.latencies.append(now - self._sent)
        else:
            self._measured.failures += 1
        if now < self._until:
            self._send()
        else:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._measured.failures += time.perf_counter() < self._until
            self._done.set_result(None)


async def measure(port: int, path: str, body: bytes, connections: int, seconds: float) -> Measured:
    """Load 127.0.0.1:port; raises OSError if it does not listen."""
    lines = (
        f"POST {path} HTTP/1.1",
        "host: bench",
        "content-type: application/json",
        f"content-length: {len(body)}",
    )
    headers = "\r\n".join((*lines, "", ""))
    loop = asyncio.get_running_loop()
    measured = Measured([], 0, seconds)
    started = time.perf_counter()
    futures = []
    for _ in range(connections):
        done = loop.create_future()
        futures.append(done)
        await loop.create_connection(
            lambda done=done: Connection(headers.encode() + body, started + seconds, measured, done),
            "127.0.0.1",
            port,
        )
    await asyncio.gather(*futures)
    measured.seconds = time.perf_counter() - started
    return measured


def main() -> None:
    port, path, body, connections, seconds = sys.argv[1:]
    measured = uvloop.run(measure(int(port), path, body.encode(), int(connections), float(seconds)))
    print(orjson.dumps(measured.summary()).decode())


if __name__ == "__main__":
    main()
