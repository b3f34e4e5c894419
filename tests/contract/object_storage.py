"""A real S3 server on this machine: versitygw on a folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from capstan.adapters.ports_in_use import free_port
from capstan.adapters.tools import cache_dir

KEYS = {"AWS_ACCESS_KEY_ID": "capstan-test-key", "AWS_SECRET_ACCESS_KEY": "capstan-test-secret"}
BUCKET = "capstan"


def program() -> Path:
    """versitygw from PATH or the cache, where `make versitygw` puts it."""
    found = shutil.which("versitygw") or cache_dir() / "versitygw"
    assert Path(found).exists(), (
        "tests of object storage need versitygw: run `make versitygw`, which needs Go"
    )
    return Path(found)


@dataclass
class ObjectStorage:
    """May be stopped and started; the objects are files below `root`."""

    folder: Path
    host: str = "127.0.0.1"
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def root(self) -> Path:
        return self.folder / "root" / BUCKET

    def uri(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}?endpoint_override={self.host}:{self.port}&scheme=http"

    def start(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        (self.folder / "meta").mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"],
            "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"],
        }
        log = (self.folder / "versitygw.log").open("ab")
        self.process = subprocess.Popen(
            [
                program(), "--port", f"{self.host}:{self.port}", "--quiet", "--health", "/health",
                "posix", "--sidecar", self.folder / "meta", self.folder / "root",
            ],
            env=environment,
            stdout=log,
            stderr=log,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + 30
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "versitygw.log").read_text()
            assert time.monotonic() < deadline, (self.folder / "versitygw.log").read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)
            self.process = None

    def _answers(self) -> bool:
        try:
            url = f"http://{self.host}:{self.port}/health"
            return httpx.get(url, timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False
