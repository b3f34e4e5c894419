"""What an operator costs that looks after many idle systems: memory, processor time, calls to the API server.

Needs a cluster that KUBECONFIG names and that no other operator of all namespaces looks after. Objects are made in a
namespace of their own and deleted in the end; no pod is started.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

from idle import SINCE, champion

from capstan.adapters.kubernetes.client import KubeClient
from capstan.adapters.kubernetes.compressed_state import to_status
from capstan.adapters.processes.ports_in_use import free_port
from capstan.domain.system import SystemState
from capstan.errors import CapstanError
from capstan.ports.codec import to_json

IDLE = Path(__file__).with_name("idle.py")
GOAL_MIB = 500
SPEC: dict[str, Any] = {
    "objective": {"task": "BinaryClassification", "target": "late"},
    "data": {
        "sources": [
            {"name": "flights", "csv": {"path": "data/flights.csv", "timeColumn": "departure"}},
            {"name": "weather", "parquet": {"path": "data/weather", "timeColumn": "observed"}},
        ],
        "query": "select flights.*, temp, visib from flights left join weather using (origin, hour)",
        "keys": {"id": "flight_id", "time": "departure", "stickyBy": "tailnum"},
        "label": {"column": "late", "availableAt": "arrival", "maximumDelay": "2d"},
    },
    "features": [
        {"name": "distance", "numeric": {"scale": "Log"}},
        {"name": "temp", "numeric": {"impute": "Median", "scale": "ZScore"}},
        {"name": "dest", "categorical": {"encode": "OneHot"}},
    ],
    "retraining": {"triggers": [{"drift": {}}], "cooldown": "14d"},
}


@dataclass
class Measured:
    """One kind of system, measured with an operator that has just been started beside systems that are there."""

    what: str
    first_seconds: float
    """Until a first operator had made everything."""
    seen_seconds: float = 0.0
    """From the start of the next operator's process until it had looked at every system."""
    memory_mib: float = 0.0
    """Proportional set size, in the end."""
    peak_mib: float = 0.0
    cpu_percent: float = 0.0
    """Of one core."""
    looks: float = 0.0
    """Per minute."""
    calls: Counter[str] = field(default_factory=Counter)
    """Per minute, by verb."""
    at_start: int = 0
    """Calls until every system was seen."""
    objects: int = 0


class Operator:
    """One process, and what it says of itself."""

    def __init__(self, namespace: str) -> None:
        self._port = free_port()
        argv = [
            sys.executable,
            "-W",
            "ignore",
            str(IDLE),
            "--namespace",
            namespace,
            "--port",
            str(self._port),
        ]
        self.started = time.monotonic()
        self._process = subprocess.Popen(argv)
        self._seen = psutil.Process(self._process.pid)

    def metrics(self) -> dict[str, float]:
        """By name with labels; empty where it does not answer yet."""
        try:
            text = httpx.get(f"http://127.0.0.1:{self._port}/metrics", timeout=30.0, trust_env=False).text
        except httpx.HTTPError:
            if self._process.poll() is not None:
                raise SystemExit("the operator ended; see what it said above") from None
            return {}
        lines = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in lines}

    def memory_mib(self) -> float:
        return float(self._seen.memory_full_info().pss) / 2**20

    def peak_mib(self) -> float:
        for line in Path(f"/proc/{self._process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
        return 0.0

    def cpu_seconds(self) -> float:
        times = self._seen.cpu_times()
        return float(times.user + times.system)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(timeout=60)


def calls_of(metrics: dict[str, float]) -> Counter[str]:
    """Calls so far, by verb."""
    found: Counter[str] = Counter()
    for name, count in metrics.items():
        if name.startswith("capstan_api_calls_total"):
            verb = name.partition('verb="')[2].partition('"')[0]
            found["Lease" if 'resource="leases"' in name else verb] += int(count)
    return found


def wait(what: str, holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.5)


@contextmanager
def namespace(kube: KubeClient) -> Iterator[str]:
    """A namespace that is gone afterwards."""
    name = f"capstan-bench-{secrets.token_hex(3)}"
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        yield name
    finally:

        def release(document: dict[str, Any]) -> None:
            meta = document["metadata"]
            try:
                if meta.get("finalizers"):
                    kube.patch("MLSystem", meta["name"], name, {"metadata": {"finalizers": None}})
            except CapstanError as error:
                print(f"{name}/{meta['name']}: {error}", file=sys.stderr)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(release, kube.list("MLSystem", name)))
        kube.delete("Namespace", name)


def make_systems(kube: KubeClient, name: str, count: int, *, serving: bool) -> None:
    """MLSystems: suspended ones that never started, or such that serve a champion."""

    def make(number: int) -> None:
        system = f"system-{number:04d}"
        document = kube.create(
            {
                "apiVersion": "capstan.dev/v1alpha1",
                "kind": "MLSystem",
                "metadata": {"name": system, "namespace": name},
                "spec": SPEC if serving else {**SPEC, "suspend": True},
            }
        )
        if serving:
            state = SystemState(
                champion=champion(system),
                champion_since=SINCE,
                split_settled=True,
                incarnation=SINCE.isoformat(),
            )
            kube.replace({**document, "status": to_status({"state": to_json(state)})}, sub="status")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(make, range(count)))


def measure(kube: KubeClient, count: int, minutes: float, *, serving: bool) -> Measured:
    """One kind of systems, from nothing."""
    what = "serving a champion" if serving else "suspended"
    print(f"{count} systems, {what}: making them", file=sys.stderr)
    with namespace(kube) as name:
        make_systems(kube, name, count, serving=serving)
        first = Operator(name)
        try:
            wait("a first operator has looked at all", lambda: is_done(first, name, kube, count), 3600)
            measured = Measured(what, time.monotonic() - first.started)
        finally:
            first.stop()
        print(f"{count} systems, {what}: measuring", file=sys.stderr)
        operator = Operator(name)
        try:
            wait("all are seen", lambda: seen(operator.metrics()) >= count, 1800)
            measured.seen_seconds = time.monotonic() - operator.started
            measured.at_start = sum(calls_of(operator.metrics()).values())
            # What the start itself left to be done is not idleness.
            time.sleep(45.0)
            before, cpu, began = operator.metrics(), operator.cpu_seconds(), time.monotonic()
            time.sleep(60.0 * minutes)
            after, passed = operator.metrics(), time.monotonic() - began
            measured.cpu_percent = 100 * (operator.cpu_seconds() - cpu) / passed
            measured.looks = (seen(after) - seen(before)) / passed * 60
            grown = calls_of(after)
            grown.subtract(calls_of(before))
            measured.calls = Counter({verb: round(n / passed * 60) for verb, n in grown.items() if n})
            measured.memory_mib, measured.peak_mib = operator.memory_mib(), operator.peak_mib()
        finally:
            operator.stop()
        kinds = ("MLSystem", "Deployment", "Service", "ConfigMap", "NetworkPolicy", "PodDisruptionBudget")
        measured.objects = sum(len(kube.list(kind, name)) for kind in kinds)
    return measured


def seen(metrics: dict[str, float]) -> float:
    return metrics.get("capstan_reconcile_seconds_count", 0.0)


def is_done(operator: Operator, name: str, kube: KubeClient, count: int) -> bool:
    if seen(operator.metrics()) < count:
        return False
    time.sleep(2.0)
    phases = [document.get("status", {}).get("phase") for document in kube.list("MLSystem", name)]
    return all(phases) and operator.metrics().get("capstan_queue_depth") == 0


def show(found: list[Measured], count: int) -> None:
    table = Table(title=f"One operator, {count} idle systems")
    table.add_column("")
    for one in found:
        table.add_column(one.what, justify="right")
    rows: list[tuple[str, Callable[[Measured], str]]] = [
        ("watched objects", lambda m: f"{m.objects:,}"),
        ("memory in use (PSS), MiB", lambda m: f"{m.memory_mib:.0f}"),
        ("highest (RSS), MiB", lambda m: f"{m.peak_mib:.0f}"),
        ("processor, % of a core", lambda m: f"{m.cpu_percent:.1f}"),
        ("looks a minute", lambda m: f"{m.looks:.0f}"),
        ("API calls a minute", lambda m: f"{sum(m.calls.values())}"),
        ("  of these", lambda m: ", ".join(f"{n} {verb}" for verb, n in sorted(m.calls.items())) or "-"),
        ("seconds until all are seen after a start", lambda m: f"{m.seen_seconds:.0f}"),
        ("API calls of the start", lambda m: f"{m.at_start:,}"),
        ("seconds until a first operator has made all", lambda m: f"{m.first_seconds:.0f}"),
    ]
    for title, tell in rows:
        table.add_row(title, *(tell(one) for one in found))
    console = Console(width=max(110, Console().width))
    console.print(table)
    worst = max(one.memory_mib for one in found)
    console.print(f"goal: below {GOAL_MIB} MiB; reached: {worst:.0f} MiB")


def main() -> int:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="50 systems, half a minute")
    parser.add_argument("--systems", type=int, default=1000)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--only", choices=["suspended", "serving"])
    options = parser.parse_args()
    count, minutes = (50, 0.5) if options.quick else (options.systems, options.minutes)
    try:
        kube = KubeClient.from_kubeconfig()
        if not kube.serves("MLSystem"):
            raise CapstanError("the cluster has no MLSystem; `kubectl apply -f charts/capstan/crds`")
    except CapstanError as error:
        print(f"operator: {error}", file=sys.stderr)
        return 1
    kinds = [
        serving for serving in (False, True) if options.only in (None, ("suspended", "serving")[serving])
    ]
    show([measure(kube, count, minutes, serving=serving) for serving in kinds], count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
