"""Processor time of one request of one row in this process: the app alone, without sockets, server, client, collector.

It tells two commits apart on a machine that does other things too: give the folder of the other one's package.

    .venv/bin/python tests/benchmarks/serving/in_process.py [--platform OTHER/platform]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import orjson

REQUESTS, SLICES = 750, 8
KEYS = {"id": "flight_id", "time": "hour"}
VALUES = {"flight_id": "2013-1-1-AA-1", "hour": "2013-01-01T05:00:00-05:00"}


def held_to_training(folder: Path) -> None:
    """All columns are required and have ranges, and rows have an id and a time, as in a model that was trained."""
    import models

    path, seen = folder / "manifest.json", models.table(models.TRAINING_ROWS, 0)
    manifest = orjson.loads(path.read_bytes())
    for column, values in zip(manifest["columns"], seen.T, strict=True):
        column |= {"required": True, "nullable": False}
        column |= {"trained_min": float(values.min()), "trained_max": float(values.max())}
    path.write_bytes(orjson.dumps({**manifest, "keys": KEYS}))


def body_of(*, v2: bool) -> bytes:
    import models

    if not v2:
        return orjson.dumps(orjson.loads(models.native(1)) | VALUES)
    keys = [
        {"name": name, "shape": [1], "datatype": "BYTES", "data": [value]} for name, value in VALUES.items()
    ]
    return orjson.dumps({"inputs": [*orjson.loads(models.tensors(1))["inputs"], *keys]})


# What the gateway adds and a sticky client sends.
HEADERS = [
    (b"host", b"capstan"),
    (b"x-request-id", b"0d4dbb7e-6c44-4a43-9a9b-8f3f6a2f9d11"),
    (b"x-capstan-key", b"N14228"),
    (b"x-capstan-role", b"challenger"),
    (b"x-capstan-arm", b"v2"),
    (b"x-envoy-attempt-count", b"1"),
]


async def ask(app: Any, path: str, body: bytes) -> None:
    headers = [*HEADERS, (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "path": path, "method": "POST", "headers": headers}
    statuses = set()

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        statuses.add(message.get("status", 200))

    for _ in range(REQUESTS):
        await app(scope, receive, send)
    if statuses != {200}:
        raise SystemExit(f"answered {statuses}")


def microseconds(folder: Path, *, v2: bool, logs: bool) -> float:
    """The least of some slices: what others do on the machine only adds to it."""
    from capstan.serving.app import PredictionApp
    from capstan.serving.model import load
    from capstan.serving.payload_log import PayloadLog
    from capstan.serving.settings import ServiceSettings

    app = PredictionApp(ServiceSettings("bench", "v1"))
    # It is not started: records are written and buffered, and nothing is sent.
    log = PayloadLog("http://127.0.0.1", "/capstan/bench/v1", "v1", None) if logs else None
    app.serve(load(folder), log)
    path, body, best = "/v2/models/bench/infer" if v2 else "/predict", body_of(v2=v2), float("inf")
    for _ in range(SLICES):
        started = time.process_time()
        asyncio.run(ask(app, path, body))
        best = min(best, (time.process_time() - started) / REQUESTS)
    return best * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--platform", type=Path, help="folder that holds another commit's package `capstan`")
    chosen = parser.parse_args()
    if chosen.platform is not None:
        sys.path.insert(0, str(chosen.platform.resolve()))
    import models

    gc.set_threshold(50_000, 50, 50)
    with tempfile.TemporaryDirectory() as temporary:
        folder = models.capstan_folder(Path(temporary, "model"), trees=False)
        held_to_training(folder)
        for v2 in (False, True):
            for logs in (False, True):
                took = microseconds(folder, v2=v2, logs=logs)
                name = f"{'V2' if v2 else '/predict'}{', payload log' if logs else ''}"
                print(f"{name:24} {took:6.1f} µs, {1e6 / took:7,.0f} requests per CPU second")


if __name__ == "__main__":
    main()
