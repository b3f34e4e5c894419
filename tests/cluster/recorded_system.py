"""A system's record in a real cluster: collector and monitor as rendered, and pods that log payloads as models do."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
from cluster.access import reached
from cluster.toy_versions import ToyNamespace, wait_until

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.own.monitor import HttpMonitor
from capstan.artifacts.content import MODEL_FOLDER, content_digest
from capstan.artifacts.store import ArtifactStore
from capstan.cluster.names import COLLECTOR_PORT, MONITOR_PORT, SystemNames
from capstan.cluster.objects.access import access
from capstan.cluster.objects.pods import container, pod, token_mount, token_volume
from capstan.cluster.objects.recording import TOKEN_NAMES, recording, tokens
from capstan.cluster.settings import ClusterSettings, Images
from capstan.domain.versions import Digest, SystemName, VersionName
from capstan.monitoring.drift import fitted_detectors
from capstan.spec import MLSystem, parse
from capstan.tasks import Predictions

SYSTEM = SystemName("recorded")
WINDOW = timedelta(seconds=20)
PER_SECOND = 25
SILENCE_SECONDS = 40
TOKENS = {name: f"secret-{name}" for name in TOKEN_NAMES}

PRODUCER = """
import asyncio, json, os, random, signal, sys
from pathlib import Path
from capstan.serving.payload_log import PayloadLog
from capstan.serving.requests import Call
import time

version, url, how = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])

async def main():
    log = PayloadLog(url, "/capstan/recorded/" + version, version, Path("/tokens/internal"))
    log.expect(("distance", "carrier", "id"), "id")
    log.start()
    chance = random.Random(how["seed"])
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    began, number = time.monotonic(), 0
    while not stopped.is_set() and number < how["payloads"]:
        shift = how["shift"] if time.monotonic() - began > how["calm_seconds"] else 0
        number += 1
        row = {"distance": chance.gauss(10 + shift, 3), "carrier": chance.choice(["AA", "UA", "DL"])}
        row["id"] = f"e{number}"
        call = Call(0.0, request_id=f"{log.boot}-{number}")
        log.add(call, 200, 0.01, time.time(), [row], [{"probability": chance.random()}])
        if how["per_second"]:
            await asyncio.sleep(max(0, began + number / how["per_second"] - time.monotonic()))
    while how["per_second"] == 0:
        if log._rows < how["payloads"] - 1000:
            print(json.dumps({"boot": log.boot}), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(0)
    await log.stop()
    print(json.dumps({"boot": log.boot, "produced": log.produced, "lost": log.lost}), flush=True)

asyncio.run(main())
"""
# A process that is the first of its container cannot be killed from inside: it is started by one that is.
_CHILD = (
    "import subprocess, sys; sys.exit(subprocess.run([sys.executable, '-c', *sys.argv[1:]]).returncode == 0)"
)


def recorded_system() -> MLSystem:
    """One with windows of seconds."""
    return parse(
        {
            "apiVersion": "capstan.dev/v1alpha1",
            "kind": "MLSystem",
            "metadata": {"name": SYSTEM},
            "spec": {
                "objective": {"business": "Test", "task": "BinaryClassification", "target": "late"},
                "data": {
                    "sources": [{"name": "t", "csv": {"path": "t.csv", "timeColumn": "at"}}],
                    "query": "select * from t",
                    "keys": {"id": "id", "time": "at"},
                    "label": {"column": "late", "availableAt": "known_at", "maximumDelay": "1s"},
                },
                "features": [
                    {"name": "distance", "numeric": {}},
                    {"name": "carrier", "categorical": {"encode": "OneHot"}},
                ],
                "monitoring": {
                    "window": {"duration": "20s", "minRows": 100},
                    "drift": {"minEffect": 0.2, "consecutive": 2, "falseAlarmsPerMonth": 1},
                    "volume": {"size": "1Gi"},
                },
            },
        },
        base_dir=Path(),
    )


@dataclass
class RecordedSystem:
    """Everything that `recording` renders, running."""

    kube: KubeClient
    namespace: str
    image: str
    bento: tuple[str, Digest]

    @property
    def names(self) -> SystemNames:
        return SystemNames(self.namespace, SYSTEM)

    @property
    def settings(self) -> ClusterSettings:
        # The operator's namespace is this one, so that the test may speak to what only the operator may.
        return ClusterSettings(
            namespace=self.namespace, images=Images(python=self.image, operator=self.image)
        )

    def start(self, artifacts: Mapping[str, bytes]) -> None:
        system, names, settings = recorded_system(), self.names, self.settings
        documents = [
            *access(system, names, settings, None),
            tokens(names, None, TOKENS),
            *recording(system, names, settings, None),
        ]
        for document in documents:
            if document["kind"] == "Deployment":
                # Else a test could not kill a container's first process from inside it.
                document["spec"]["template"]["spec"]["shareProcessNamespace"] = True
            if document["kind"] == "ConfigMap":
                config = json.loads(document["data"]["collector.json"])
                document["data"]["collector.json"] = json.dumps(
                    config | {"silence_seconds": SILENCE_SECONDS, "flush_seconds": 5}
                )
            self.kube.apply(document)
        Kept(self.kube, self.namespace, settings).keep(artifacts)
        for name in (names.collector, names.monitor):
            wait_until(lambda name=name: self.is_ready(name), self.story, 240)

    def is_ready(self, deployment: str) -> bool:
        found = self.kube.get("Deployment", deployment, self.namespace) or {}
        return bool(found.get("status", {}).get("readyReplicas"))

    def pod_of(self, component: str) -> str:
        (found,) = [
            one
            for one in self.kube.list("Pod", self.namespace, labels=self.names.selector(component))
            if "deletionTimestamp" not in one["metadata"]
        ]
        return str(found["metadata"]["name"])

    def kill(self, component: str) -> None:
        """SIGKILL the process; its container is started again."""
        script = (
            "import os, pathlib, signal\n"
            "for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
            "    pid = int(path.parent.name)\n"
            f"    if pid != os.getpid() and b'/config/{component}.json' in path.read_bytes():\n"
            "        os.kill(pid, signal.SIGKILL)\n"
            "        print('killed')\n"
        )
        assert "killed" in self.exec(component, script)

    def exec(self, component: str, script: str) -> str:
        command = [
            "kubectl",
            "-n",
            self.namespace,
            "exec",
            self.pod_of(component),
            "--",
            "python",
            "-c",
            script,
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout

    def delete_by_force(self, component: str) -> None:
        command = ["kubectl", "-n", self.namespace, "delete", "pod", self.pod_of(component), "--force"]
        subprocess.run([*command, "--grace-period=0"], check=True, capture_output=True, timeout=120)

    def produce(
        self,
        name: str,
        *,
        payloads: int,
        per_second: int = PER_SECOND,
        shift: float = 0,
        calm_seconds: float = 0,
    ) -> None:
        """A pod that logs payloads as a model does; without a rate it is killed after its first batch."""
        how = {
            "payloads": payloads, "per_second": per_second, "shift": shift, "calm_seconds": calm_seconds,
            "seed": name,
        }  # fmt: skip
        url = f"http://{self.names.host(self.names.collector)}:{COLLECTOR_PORT}"
        script = (PRODUCER, "v1", url, json.dumps(how))
        argv = ("python", "-c", *script) if per_second else ("python", "-c", _CHILD, *script)
        main = container("model", self.image, self.settings.images, argv, mounts=[token_mount()])
        spec = pod(self.names, self.settings, [main], volumes=[token_volume(self.names, "internal")])
        labels = self.names.version_labels(VersionName("v1"))
        metadata = self.names.metadata(name, labels, None)
        self.kube.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": metadata,
                "spec": {**spec, "restartPolicy": "Never"},
            }
        )

    def told_by(self, name: str, seconds: float = 180) -> dict[str, Any]:
        """What a producer counted itself, once it has ended."""
        wait_until(lambda: self._phase(name) in ("Succeeded", "Failed"), self.story, seconds)
        said = self.kube.pod_log(name, self.namespace)
        assert self._phase(name) == "Succeeded", said
        found: dict[str, Any] = json.loads(said.splitlines()[-1])
        return found

    def _phase(self, name: str) -> str:
        return str((self.kube.get("Pod", name, self.namespace) or {}).get("status", {}).get("phase"))

    def stats(self) -> dict[str, Any] | None:
        """None while the collector does not answer."""
        found = self._get(self.names.collector, COLLECTOR_PORT, "/stats")
        return found if isinstance(found, dict) else None

    def stored(self) -> int:
        stats = self.stats()
        return stats["stored"] if stats else 0

    def windows(self) -> list[dict[str, Any]]:
        found = self._get(self.names.monitor, MONITOR_PORT, "/windows")
        return found["windows"] if isinstance(found, dict) else []

    def _get(self, service: str, port: int, path: str) -> Any:
        proxy = f"/api/v1/namespaces/{self.namespace}/services/{service}:{port}/proxy{path}"
        done = subprocess.run(["kubectl", "get", "--raw", proxy], capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout) if done.returncode == 0 else None

    @contextmanager
    def monitor(self) -> Iterator[HttpMonitor]:
        with (
            reached(self.kube, self.namespace, self.names.monitor, MONITOR_PORT) as address,
            httpx.Client(trust_env=False) as client,
        ):
            yield HttpMonitor(client, address, token=TOKENS["internal"], bento=lambda _version: self.bento)

    def rows(self, boot: str) -> tuple[int, int]:
        """(rows, rows that differ) in Parquet of one producer's payloads."""
        script = (
            'import duckdb; print(*duckdb.sql("select count(*), count(distinct sequence) from read_parquet('
            f"'/record/systems/{SYSTEM}/payloads/*/*.parquet', union_by_name=true) where boot = '{boot}'\")"
            ".fetchall()[0])"
        )
        count, distinct = self.exec("collector", script).split()
        return int(count), int(distinct)

    def story(self) -> str:
        told = self._get(self.names.monitor, MONITOR_PORT, "/windows") or {}
        lines = [f"stats: {json.dumps(self.stats())[:2000]}"]
        lines.append(f"monitor: {json.dumps({key: told.get(key) for key in ('version', 'since', 'error')})}")
        lines.append(
            f"windows: {[(one['start'], one['rows'], one['drift']) for one in told.get('windows', [])]}"
        )
        for one in self.kube.list("Pod", self.namespace):
            name, status = one["metadata"]["name"], one["status"]
            lines.append(f"{name}: {status.get('phase')} {json.dumps(status.get('containerStatuses'))[:600]}")
        return "\n".join(lines)


class Kept(ToyNamespace):
    """Puts files below the artifacts of the recorded system."""

    def __init__(self, kube: KubeClient, namespace: str, settings: ClusterSettings) -> None:
        super().__init__(kube, namespace, settings)

    @property
    def names(self) -> SystemNames:
        return SystemNames(self.name, SYSTEM)


def watched_bento(folder: Path) -> tuple[str, Digest, bytes]:
    """A Bento with references like what the producers send, as the artifacts keep it: tag, digest, bytes."""
    rng = np.random.default_rng(3)
    rows = PER_SECOND * 20 * 15
    start = datetime(2026, 1, 1, tzinfo=UTC)
    table = pa.table(
        {
            "at": pa.array(
                [start + timedelta(seconds=n / PER_SECOND) for n in range(rows)], pa.timestamp("us", tz="UTC")
            ),
            "distance": rng.normal(10, 3, rows),
            "carrier": rng.choice(np.array(["AA", "UA", "DL"], dtype=object), rows),
        }
    )
    bento = folder / "bento"
    model = bento / MODEL_FOLDER
    model.mkdir(parents=True)
    fitted_detectors.fit(
        table, recorded_system(), predictions=Predictions({"probability": rng.random(rows)})
    ).save(model / "detectors")
    (model / "manifest.json").write_text(json.dumps({"metrics": {"rocAuc": 0.9}}))
    (bento / "bento.yaml").write_text(f"name: {SYSTEM}\nversion: one\n")
    store, tag = ArtifactStore(f"file://{folder}/artifacts"), f"{SYSTEM}:one"
    store.push_bento(tag, bento)
    content = store.read(f"bentos/{SYSTEM}/one.tar")
    assert content is not None
    return tag, content_digest(bento), content


def eventually(condition: Callable[[], bool], system: RecordedSystem, seconds: float = 120) -> None:
    wait_until(condition, system.story, seconds)
