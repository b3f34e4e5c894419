"""The Serving contract, on real BentoML processes and a real collector stand-in that speaks HTTP."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import joblib
import numpy as np
import psutil
import pytest
from sent_payloads import Record, records
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from capstan.adapters.bentoml.packager import BentoPackager
from capstan.adapters.bentoml.serving import BentoServing, ServiceOptions
from capstan.adapters.processes.children import ProcessSupervisor, free_port
from capstan.domain.versions import Digest, ModelVersion, Readiness, RunName, SystemName, VersionName
from capstan.errors import NotFoundError, UntrustedArtifactError
from capstan.features.kinds import CategoricalSettings, NumericSettings
from capstan.features.transform import FeatureTransform
from capstan.serving.payload_log import FLUSH_SECONDS

pytestmark = [pytest.mark.real, pytest.mark.slow]
SYSTEM = SystemName("toy")
V1 = VersionName("v1")
ROW = {"distance": 1200, "carrier": "UA", "flight_id": "f-1"}


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(7)
    table = {"distance": rng.uniform(100, 3000, 400), "carrier": rng.choice(["AA", "UA"], 400)}
    transform = FeatureTransform(
        (NumericSettings("distance", "distance", scale="Log"), CategoricalSettings("carrier", "carrier"))
    )
    pipeline = Pipeline([("transform", transform), ("model", LogisticRegression())])
    joblib.dump(pipeline.fit(table, table["carrier"] == "UA"), folder / "pipeline.joblib")
    manifest = {
        "system": SYSTEM,
        "task": "BinaryClassification",
        "target": "late",
        "columns": [
            {"name": "distance", "type": "Number", "kind": "numeric", "nullable": True},
            {"name": "carrier", "type": "Text", "kind": "categorical", "nullable": True},
        ],
        "keys": {"id": "flight_id"},
        "classes": [False, True],
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "sample.json").write_text(json.dumps([{"distance": 500.0, "carrier": "AA"}]))
    return folder


class Collector:
    """Keeps every event it acknowledged and the last headers."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.headers: dict[str, str] = {}
        self.away = False
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["content-length"]))
                if not collector.away:
                    collector.records += records(sent)
                    collector.headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(503 if collector.away else 200)
                self.send_header("content-length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Machine:
    """One machine's Serving with all it stands on."""

    def __init__(self, root: Path, model_dir: Path) -> None:
        self.root = root
        self.collector = Collector()
        self.packager = BentoPackager(root / "bentos")
        token = root / "internal"
        token.write_text("secret")
        self.supervisor = ProcessSupervisor(root / "run", root / "logs")
        self.options = ServiceOptions(
            SYSTEM,
            root / "bentos",
            collector_url=self.collector.url,
            token_file=token,
            event_time_header=True,
        )
        self.serving = BentoServing(self.supervisor, self.packager, self.options)
        self.version = self.versioned(V1, *self.packager.package(SYSTEM, model_dir))

    @staticmethod
    def versioned(name: VersionName, tag: str, digest: Digest) -> ModelVersion:
        return ModelVersion(name, digest, RunName("run-1"), tag, datetime(2013, 2, 1, tzinfo=UTC))

    @property
    def bento(self) -> Path:
        return self.packager.path(self.version.bento_tag)

    def until(self, condition: Callable[[], bool], seconds: float = 90.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            log = self.root / "logs" / "v1.log"
            assert time.monotonic() < deadline, log.read_text() if log.exists() else "no log"
            self.supervisor.tick()
            time.sleep(0.02)

    def until_ready(self) -> None:
        self.until(lambda: self.serving.readiness().get(V1) is Readiness.READY)

    @property
    def pid(self) -> int:
        pid = self.supervisor.status()[V1].pid
        assert pid is not None
        return pid

    def post(self, body: object, **arguments: Any) -> httpx.Response:
        endpoint = self.serving.endpoint(V1)
        assert endpoint is not None
        url = f"http://{endpoint.host}:{endpoint.port}"
        return httpx.post(f"{url}/predict", json=body, timeout=10, trust_env=False, **arguments)


@pytest.fixture
def machine(tmp_path: Path, model_dir: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path, model_dir)
    try:
        yield machine
    finally:
        machine.supervisor.stop_all()
        machine.collector.server.shutdown()
        machine.collector.server.server_close()


def test_the_life_of_a_version(machine: Machine) -> None:
    """Deployed at once, observed to become ready, deployed again without effect, asked, flushed, retired."""
    assert machine.serving.readiness() == {}
    assert machine.serving.endpoint(V1) is None
    started = time.monotonic()
    machine.serving.deploy(machine.version)
    assert time.monotonic() - started < 2.0
    assert machine.serving.readiness() == {V1: Readiness.STARTING}
    machine.until_ready()
    pid = machine.pid
    machine.serving.deploy(machine.version)
    assert machine.pid == pid, "a second deploy leaves it alone"
    memory = psutil.Process(pid).memory_full_info()
    assert getattr(memory, "pss", memory.uss) < 260 << 20, "220 MiB is the goal"
    assert psutil.Process(pid).children() == []

    headers = {"x-request-id": "r-1", "x-capstan-event-time": "2013-02-01T00:00:00+00:00"}
    headers |= {"x-capstan-arm": "v1", "x-capstan-key": "N12345"}
    answer = machine.post(ROW, headers=headers)
    assert (answer.status_code, answer.headers["x-capstan-version"]) == (200, "v1")
    assert answer.json()["predictions"][0]["probability"] > 0.5
    assert machine.post({"distance": "far"}).status_code == 422
    endpoint = machine.serving.endpoint(V1)
    assert endpoint is not None
    scraped = httpx.get(f"http://{endpoint.host}:{endpoint.port}/metrics", trust_env=False).text
    assert 'capstan_requests_total{code="200",role="champion",system="toy",version="v1"} 1.0' in scraped
    assert 'capstan_compiled_path{system="toy",version="v1"} 1.0' in scraped

    assert machine.serving.drain(V1)
    machine.post(ROW, headers={"x-request-id": "r-2"})
    machine.serving.retire(V1)
    assert machine.serving.readiness() == {}
    assert not psutil.pid_exists(pid)
    taken = machine.collector.records
    assert [one.status for one in taken] == [200, 422, 200], "the last was flushed at the stop"
    assert [(one.arm, one.unit) for one in taken] == [
        ("v1", "N12345"),
        (None, None),
        (None, None),
    ]
    assert (taken[0].entity_id, taken[0].event_time) == (
        "f-1",
        "2013-02-01T00:00:00+00:00",
    )
    assert machine.collector.headers["authorization"] == "Bearer secret"
    assert (machine.collector.headers["x-capstan-produced"], machine.collector.headers["x-capstan-lost"]) == (
        "3",
        "0",
    )
    machine.serving.retire(V1)


def test_a_killed_version_is_seen_as_crashed_and_comes_back(machine: Machine) -> None:
    machine.serving.deploy(machine.version)
    machine.until_ready()
    os.kill(machine.pid, signal.SIGKILL)
    machine.until(lambda: machine.serving.readiness()[V1] is Readiness.CRASHED, 10)
    machine.until_ready()
    assert machine.post(ROW).status_code == 200


def test_a_changed_bento_is_never_started_and_never_comes_back(machine: Machine) -> None:
    pipeline = machine.bento / "src/model/pipeline.joblib"
    original = pipeline.read_bytes()
    pipeline.write_bytes(original[:-1])
    with pytest.raises(UntrustedArtifactError):
        machine.serving.deploy(machine.version)
    assert machine.supervisor.status() == {}

    pipeline.write_bytes(original)
    machine.serving.deploy(machine.version)
    machine.until_ready()
    pipeline.write_bytes(original[:-1])
    machine.serving.deploy(machine.version)
    assert machine.post(ROW).status_code == 200, "what runs goes on"
    os.kill(machine.pid, signal.SIGKILL)
    machine.until(lambda: "UntrustedArtifactError" in (machine.root / "logs" / "v1.log").read_text())
    assert machine.serving.readiness()[V1] is not Readiness.READY


def test_a_version_of_no_bento_is_not_found(machine: Machine) -> None:
    with pytest.raises(NotFoundError):
        machine.serving.deploy(machine.versioned(V1, "toy:nothere", machine.version.digest))


def test_a_new_supervisor_finds_the_running_version_again(machine: Machine) -> None:
    machine.serving.deploy(machine.version)
    machine.until_ready()
    pid = machine.pid
    machine.supervisor = ProcessSupervisor(machine.root / "run", machine.root / "logs")
    machine.serving = BentoServing(machine.supervisor, machine.packager, machine.options)
    machine.serving.deploy(machine.version)
    machine.until_ready()
    assert machine.pid == pid


def test_plain_bentoml_serve_serves_the_same_bento(machine: Machine, tmp_path: Path) -> None:
    """What a Bento's container runs; the digest is checked there too."""
    serve = str(Path(sys.executable).with_name("bentoml"))
    with _serving(machine, tmp_path, [serve, "serve"], {"CAPSTAN_DIGEST": machine.version.digest}) as (
        _,
        url,
    ):
        answer = httpx.post(f"{url}/predict", json=ROW, timeout=10, trust_env=False)
        assert answer.json()["predictions"][0]["label"] is True
        assert "capstan_requests_total" in httpx.get(f"{url}/metrics", trust_env=False).text
        assert httpx.get(f"{url}/livez", trust_env=False).status_code == 200


def test_what_was_answered_last_waits_for_a_collector_that_is_away(machine: Machine, tmp_path: Path) -> None:
    """A drained node takes away both: the service stays as long as it was told to, or until all is handed over."""
    start = [sys.executable, "-m", "capstan.serving.start"]
    told = {"CAPSTAN_COLLECTOR_URL": machine.collector.url, "CAPSTAN_FLUSH_SECONDS": "60"}
    with _serving(machine, tmp_path, start, told) as (process, url):
        machine.collector.away = True
        assert httpx.post(f"{url}/predict", json=ROW, timeout=10, trust_env=False).status_code == 200
        process.terminate()
        with pytest.raises(subprocess.TimeoutExpired):
            # Longer than it would wait without having been told.
            process.wait(FLUSH_SECONDS + 3)
        machine.collector.away = False
        process.wait(30)
        assert [one.entity_id for one in machine.collector.records] == [ROW["flight_id"]]
        assert machine.collector.headers["x-capstan-lost"] == "0"


@contextmanager
def _serving(
    machine: Machine, folder: Path, command: list[str], told: dict[str, str]
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The version of the machine, served by a command of its own as in a container; the process and its address."""
    port = free_port()
    environment = {
        **os.environ,
        "BENTOML_HOME": str(folder / "home"),
        "BENTOML_DO_NOT_TRACK": "True",
        "CAPSTAN_SYSTEM": SYSTEM,
        "CAPSTAN_VERSION": "v1",
        **told,
    }
    log = folder / "serve.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*command, machine.bento, "--host", "127.0.0.1", "--port", str(port)],
            env=environment,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + 120
        while not _ready(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False
