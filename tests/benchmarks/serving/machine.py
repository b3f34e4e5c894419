"""The processes of this benchmark: processors to run on, what their work cost."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


class Processors:
    """Servers on the first, the client and the gateway on the second, a mirrored version on the third if there is."""

    def __init__(self) -> None:
        affinity = getattr(os, "sched_getaffinity", None)
        self.free: list[int] = sorted(affinity(0)) if affinity else []
        self.pins = len(self.free) >= 2
        self.server, self.client = (self.free[0], self.free[1]) if self.pins else (0, 0)
        self.mirror = self.free[2] if len(self.free) > 2 else self.client

    @contextmanager
    def on(self, processor: int) -> Iterator[None]:
        """What is started inside, and what this process does meanwhile, stays on that processor."""
        if not self.pins:
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {processor})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)

    def told(self) -> str:
        if not self.pins:
            return "processes are not pinned: this system can't, or has one core"
        mirror = "" if self.mirror == self.client else f", the mirrored version to {self.mirror}"
        return f"servers pinned to core {self.server}, client, Envoy and collector to {self.client}{mirror}"


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """Of each named process and all its descendants, by now."""
    return {name: sum(_own_seconds(process) for process in _tree(pid)) for name, pid in pids.items()}


def _tree(pid: int) -> Iterable[psutil.Process]:
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def _own_seconds(process: psutil.Process) -> float:
    try:
        # Nanoseconds of each thread; the process's own times come in steps of 10 ms, too coarse for a short run.
        threads = list(Path(f"/proc/{process.pid}/task").glob("*/schedstat"))
        return (
            sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
            if threads
            else _ticks(process)
        )
    except (OSError, psutil.NoSuchProcess):
        return _ticks(process)


def _ticks(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)
