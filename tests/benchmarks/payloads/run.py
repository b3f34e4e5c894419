"""Processor time of a payload on its way: added by the service, taken by the collector, made Parquet.

The app answers requests in this process; its log sends them to a collector process over HTTP, as fast as that takes
them. Nothing may be lost. It tells two commits apart: give the folder of the other one's package.

    .venv/bin/python tests/benchmarks/payloads/run.py [--platform OTHER/platform] [--rows 200000] [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "serving"))

import httpx
import orjson

AHEAD = 5000
"""Rows that are answered before the collector must have them all: the log's buffer never overflows."""
SYSTEM, HEADERS = "bench", {"authorization": "Bearer token"}


def start(root: Path, platform: Path | None) -> tuple[subprocess.Popen[bytes], str]:
    """A collector of one system whose file declares all columns."""
    import models

    folder = root / "systems" / SYSTEM
    folder.mkdir(parents=True)
    features = [{"name": name, "numeric": {}} for name in models.COLUMNS]
    spec = {"features": features, "objective": {"task": "BinaryClassification"}}
    (folder / "spec.json").write_bytes(orjson.dumps({"spec": spec}))
    (root / "token").write_text("token")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = {
        "port": port,
        "directory": str(root / "collector"),
        "systems": str(root / "systems"),
        "tokens": {name: str(root / "token") for name in ("internal", "feedback")},
    }
    (root / "collector.json").write_bytes(orjson.dumps(config))
    known = {**os.environ, "OMP_NUM_THREADS": "1"}
    if platform is not None:
        known["PYTHONPATH"] = str(platform.resolve())
    command = [
        sys.executable,
        "-m",
        "capstan.recording.collector.server",
        "--config",
        str(root / "collector.json"),
    ]
    process = subprocess.Popen(command, env=known)
    address = f"http://127.0.0.1:{port}"
    while True:
        try:
            httpx.get(f"{address}/livez")
            return process, address
        except httpx.TransportError:
            if process.poll() is not None:
                raise
            time.sleep(0.05)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def answered(model: Any, log: Any, rows: int, at_once: int) -> None:
    """So many rows answered by the app and taken by the collector."""
    import in_process
    import models

    from capstan.serving.app import PredictionApp
    from capstan.serving.settings import ServiceSettings

    app = PredictionApp(ServiceSettings(SYSTEM, "v1"))
    app.serve(model, log)
    if log is not None:
        log.start()
    body = models.native(at_once)
    headers = [*in_process.HEADERS, (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "path": "/predict", "method": "POST", "headers": headers}

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message.get("status", 200) != 200:
            raise SystemExit(f"answered {message}")

    for number in range(rows // at_once):
        # As the gateway sends it: each request has an id of its own.
        scope["headers"] = [*headers, (b"x-request-id", f"{number:032d}".encode())]
        await app(scope, receive, send)
        if number % (AHEAD // at_once) == 0:
            if log is not None:
                await log.drain(60)
            else:
                await asyncio.sleep(0)
    if log is not None:
        await log.stop()


def measure(root: Path, platform: Path | None, rows: int, at_once: int) -> str:
    import models

    from capstan.serving.model import load
    from capstan.serving.payload_log import PayloadLog

    model = load(models.capstan_folder(root / "model", trees=False))
    began = time.process_time()
    asyncio.run(answered(model, None, rows, at_once))
    bare = time.process_time() - began
    process, address = start(root, platform)
    try:
        log = PayloadLog(address, f"/capstan/{SYSTEM}/v1", "v1", root / "token")
        before, began = cpu_seconds(process.pid), time.process_time()
        asyncio.run(answered(model, log, rows, at_once))
        served = time.process_time() - began
        httpx.post(f"{address}/flush", headers=HEADERS, timeout=300).raise_for_status()
        collected = cpu_seconds(process.pid) - before
        stats = httpx.get(f"{address}/stats").json()
    finally:
        process.terminate()
        process.wait(timeout=60)
    if (stats["stored"], log.lost) != (rows, 0):
        raise SystemExit(f"{rows - stats['stored']:,} of {rows:,} rows are not stored, {log.lost:,} lost")
    us = 1e6 / rows
    return (
        f"{at_once:3} rows a request: {bare * us:5.1f} µs a row answered without a log, {(served - bare) * us:5.1f} µs "
        f"added by it; collector {collected * us:5.1f} µs, {rows / collected:9,.0f} rows a CPU second; none lost"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--platform", type=Path, help="folder that holds another commit's package `capstan`")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument(
        "--quick", action="store_true", help="A tenth of the rows: for trying the benchmark itself."
    )
    options = parser.parse_args()
    if options.platform is not None:
        sys.path.insert(0, str(options.platform.resolve()))
    rows = options.rows // 10 if options.quick else options.rows
    for at_once in (1, 100):
        with tempfile.TemporaryDirectory() as folder:
            print(measure(Path(folder), options.platform, rows, at_once), flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
