"""The agent of a gateway pod: `python -m capstan.gateway.agent` starts Envoy, feeds it and answers for it.

| request | who | what |
|---|---|---|
| `GET /ready`, `GET /live` | the kubelet | 200 or 503 |
| `GET /stats/prometheus` | Prometheus | the counters that are exported, whatever is asked for; the combiner's too |
| `GET /config` | peers and the operator, by token | generations and documents, and which life of Envoy it is |
| `GET /config_dump`, `/stats`, `/clusters` | the operator, by token | what Envoy's admin port answers |
| `PUT /config/clusters`, `/config/routes` | the operator, by token | another document, its generation in a header |
"""

from __future__ import annotations

import argparse
import json
import logging
import signal
import socket
import sys
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from secrets import compare_digest

from capstan.adapters.envoy import stats as envoy_stats
from capstan.adapters.envoy.config import GatewaySettings
from capstan.adapters.envoy.host import ADMIN_PATHS, GENERATION_HEADER, EnvoyFiles, Kind, generation_of
from capstan.errors import CapstanError, ConflictError, UnavailableError
from capstan.gateway import envoy_process
from capstan.gateway.documents import Configuration, Document, RefusedError, mounted
from capstan.gateway.envoy_process import EnvoyProcess
from capstan.gateway.pod import GatewayPod
from capstan.gateway.wiring import wire_pod

_LOG = logging.getLogger("capstan.gateway")
MAX_BODY_BYTES = 4 << 20
LOOK_SECONDS = 2.0
"""Seconds between two looks at the mounted ConfigMap. The kubelet renews it about once a minute."""
PEER_SECONDS = 1.0
_KINDS: dict[str, Kind] = {"/config/clusters": "clusters", "/config/routes": "routes"}
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "capstan-gateway", ""
    timeout = 30
    pod: GatewayPod
    token_file: Path
    combiner: str
    """Address of the combiner in this pod; empty: there is none."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        try:
            if path == "/ready":
                self._say(self.pod.is_ready())
            elif path == "/live":
                self._say(self.pod.is_alive())
            elif path == "/stats/prometheus":
                content = self.pod.envoy.read(path, filter=envoy_stats.EXPORTED)
                self._answer(200, content + metrics_of(self.combiner), "text/plain; version=0.0.4")
            elif not self._is_allowed():
                self._fail(401, "a bearer token is needed: the key `internal` of the system's tokens")
            elif path == "/config":
                found = self.pod.configuration
                told = {"boot": self.pod.envoy.boot, **(found.to_json() if found is not None else {})}
                self._answer(200, json.dumps(told).encode())
            elif path in ADMIN_PATHS:
                self._answer(200, self.pod.envoy.read(path, **dict(urllib.parse.parse_qsl(query))))
            else:
                self._fail(404, f"there is no {path} here")
        except UnavailableError as error:
            self._fail(503, error.reason)

    def do_PUT(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._fail(413, f"Content-Length must be given and at most {MAX_BODY_BYTES}")
            return
        body = self.rfile.read(int(length))
        kind, number = _KINDS.get(self.path), self.headers.get(GENERATION_HEADER, "")
        generation = generation_of(number)
        if not self._is_allowed():
            self._fail(401, "a bearer token is needed: the key `internal` of the system's tokens")
        elif kind is None:
            self._fail(404, f"there is no {self.path} to put here")
        elif generation is None:
            self._fail(400, f"{GENERATION_HEADER}: {number!r} is no number of at most 18 digits")
        else:
            try:
                self.pod.push(kind, Document(generation, body))
            except RefusedError as error:
                self._fail(422, str(error))
            except ConflictError as error:
                self._fail(409, str(error))
            except CapstanError as error:
                self._fail(503, str(error))
            else:
                self._answer(200, b"{}")

    def _is_allowed(self) -> bool:
        try:
            token = self.token_file.read_bytes().strip()
        except OSError as error:
            _LOG.warning("%s cannot be read: %s", self.token_file, error.strerror)
            return False
        given = self.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        return bool(token) and compare_digest(given, b"Bearer " + token)

    def _say(self, well: bool) -> None:
        self._answer(200 if well else 503, b"yes\n" if well else b"no\n", "text/plain")

    def _fail(self, status: int, reason: str) -> None:
        self._answer(status, json.dumps({"error": reason}).encode())

    def _answer(self, status: int, content: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        _LOG.debug(format, *args)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        _LOG.debug("a request of %s was not answered", client_address, exc_info=True)


def peers(address: str, token: str) -> list[Configuration]:
    """Configurations of the pods behind `http://NAME:PORT`; those that do not answer at once are left out."""
    parts = urllib.parse.urlsplit(address)
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port, socket.AF_INET, socket.SOCK_STREAM)
    except OSError:
        return []
    configurations = []
    for host in sorted({str(entry[4][0]) for entry in found}):
        question = urllib.request.Request(f"http://{host}:{parts.port}/config")
        question.add_header("Authorization", f"Bearer {token}")
        try:
            with _open(question, timeout=PEER_SECONDS) as answer:
                configurations.append(Configuration.from_json(json.load(answer)))
        except (OSError, ValueError) as error:
            _LOG.info("peer %s was not asked: %s", host, error)
    return configurations


def metrics_of(combiner: str) -> bytes:
    """What the combiner counts, for Prometheus, which reads one address of each pod; empty: it does not answer."""
    if not combiner:
        return b""
    try:
        with _open(f"{combiner}/metrics", timeout=PEER_SECONDS) as answer:
            content: bytes = answer.read()
    except OSError as error:
        _LOG.info("the combiner was not asked: %s", error)
        return b""
    return content


def run(options: argparse.Namespace) -> int:
    """Run until SIGTERM, or until Envoy ends: then the whole container does, and the kubelet starts it again."""
    settings = GatewaySettings(port=options.port, host=options.host, admin_port=options.admin_port)
    envoy = EnvoyProcess(EnvoyFiles(options.folder), settings, options.envoy or envoy_process.program())
    pod = wire_pod(envoy, settings)
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    signal.signal(signal.SIGINT, lambda *_: stopping.set())
    combiner = f"http://127.0.0.1:{options.combiner_port}" if options.combiner_port else ""
    known = {"pod": pod, "token_file": options.token_file, "combiner": combiner}
    handler = type("Handler", (_Handler,), known)
    # The server starts before anything is read. A client that cannot connect yet knows that its push will be read.
    server = _Server((options.host, options.agent_port), handler)
    threading.Thread(target=server.serve_forever, name="http", daemon=True).start()
    candidates = [found for found in [mounted(options.config)] if found is not None]
    if options.peers:
        candidates += peers(options.peers, options.token_file.read_text().strip())
    pod.begin(candidates)
    code = _watch(pod, options.config, stopping)
    if code is None:
        pod.draining = True
        envoy.drain(endpoints_seconds=options.endpoints_seconds, limit_seconds=options.drain_seconds)
        envoy.stop()
    server.shutdown()
    return code or 0


def _watch(pod: GatewayPod, config: Path, stopping: threading.Event) -> int | None:
    """Follow the mounted ConfigMap; the exit code when Envoy ends, None when the pod is to end."""
    looked = time.monotonic()
    while not stopping.wait(0.2):
        if (code := pod.envoy.ended()) is not None:
            _LOG.error("Envoy ended with %d", code)
            return code or 1
        if time.monotonic() - looked >= LOOK_SECONDS:
            looked = time.monotonic()
            try:
                pod.follow(mounted(config))
            except CapstanError as error:
                _LOG.warning("the mounted configuration is not taken yet: %s", error)
    return None


def options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m capstan.gateway.agent")
    parser.add_argument("--config", type=Path, required=True, help="where the ConfigMap is mounted")
    parser.add_argument("--folder", type=Path, required=True, help="where Envoy's files are written")
    parser.add_argument("--token-file", type=Path, required=True, help="the internal token")
    parser.add_argument("--peers", default="", help="http://NAME:PORT of the agents of ready gateway pods")
    parser.add_argument("--host", default="0.0.0.0")  # noqa: S104
    parser.add_argument("--port", type=int, default=8080, help="of Envoy")
    parser.add_argument("--agent-port", type=int, default=9902)
    parser.add_argument("--admin-port", type=int, default=9901, help="of Envoy, on loopback")
    parser.add_argument(
        "--combiner-port", type=int, default=0, help="of the combiner in this pod; 0: there is none"
    )
    parser.add_argument("--envoy", type=Path, help="the program, if neither of PyPI's package nor on PATH")
    parser.add_argument("--endpoints-seconds", type=float, default=5.0, help="until nobody new is sent here")
    parser.add_argument("--drain-seconds", type=float, default=25.0, help="for what is under way")
    return parser.parse_args(argv)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    sys.exit(run(options(sys.argv[1:])))
