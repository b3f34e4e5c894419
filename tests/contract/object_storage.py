"""A real S3 server on this machine: SeaweedFS, whose program comes as a package of Python."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from pyarrow.fs import S3FileSystem

from capstan.adapters.processes.ports_in_use import free_port

KEYS = {"AWS_ACCESS_KEY_ID": "capstan-test-key", "AWS_SECRET_ACCESS_KEY": "capstan-test-secret"}
BUCKET = "capstan"
PROGRAM = Path(sys.executable).parent / "weed"
PORTS = ("master", "volume", "filer", "s3")
"""SeaweedFS is four servers in one process; each has a second port for the others."""
START_SECONDS = 60


@dataclass
class ObjectStorage:
    """May be stopped, as by a power cut, and started; then it has what it had."""

    folder: Path
    host: str = "127.0.0.1"
    ports: dict[str, int] = field(
        default_factory=lambda: {
            f"{name}.port{kind}": free_port() for name in PORTS for kind in ("", ".grpc")
        }
    )
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"{self.host}:{self.ports['s3.port']}"

    def uri(self, prefix: str) -> str:
        return f"s3://{BUCKET}/{prefix}?endpoint_override={self.endpoint}&scheme=http"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    PROGRAM, "-logtostderr=true", "server", f"-dir={self.folder}", f"-ip={self.host}",
                    f"-ip.bind={self.host}", "-s3", "-s3.iam=false", "-s3.port.iceberg=0", "-s3.port.lance=0",
                    "-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=20",
                    *(f"-{name}={port}" for name, port in self.ports.items()),
                ],
                env={**os.environ, **KEYS},
                stdout=log,
                stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self._takes_files():
            assert self.process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)

    def put(self, path: str, content: bytes) -> None:
        """As somebody else who has the keys does it."""
        with self._client().open_output_stream(f"{BUCKET}/{path}", compression=None) as stream:
            stream.write(content)

    def delete(self, path: str) -> None:
        self._client().delete_file(f"{BUCKET}/{path}")

    def credentials(self, **changes: str) -> str:
        """As a file of credentials of AWS has them."""
        values = {
            **{name.lower(): value for name, value in KEYS.items()},
            "endpoint_url": f"http://{self.endpoint}",
        }
        return "\n".join(
            ["[default]", *(f"{name} = {value}" for name, value in {**values, **changes}.items())]
        )

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=30)
            self.process = None

    @property
    def _log(self) -> Path:
        return self.folder / "weed.log"

    def _client(self) -> S3FileSystem:
        key, secret = KEYS.values()
        return S3FileSystem(
            access_key=key,
            secret_key=secret,
            endpoint_override=self.endpoint,
            scheme="http",
            allow_bucket_creation=True,
        )

    def _takes_files(self) -> bool:
        try:
            if httpx.get(f"http://{self.endpoint}/healthz", timeout=2, trust_env=False).status_code != 200:
                return False
            self._client().create_dir(BUCKET)
            self.put("ready", b"x")
        except (httpx.HTTPError, OSError):
            return False
        return True
