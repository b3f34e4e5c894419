"""Several processes on this machine that learn one network together (data parallel), by torch.distributed's gloo.

One that dies ends all of them and fails the fit with its reason. None outlives who waits for it.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from capstan.errors import InvalidDataError
from capstan.training.networks.plan import Learnt, Plan, Table, write_plan

_LOOK_SECONDS = 0.02
_WORKER = "capstan.training.networks.process"
_LOOPBACKS = ("lo", "lo0")


def learn_in_processes(plan: Plan, table: Table, processes: int, *, threads: int = 1) -> Learnt:
    """What they have learnt, which is what one learns but for the order in which numbers are added, and for dropout.

    Raises InvalidDataError where one of them fails.
    """
    with tempfile.TemporaryDirectory(prefix="capstan-network-") as name:
        folder = Path(name)
        write_plan(plan, folder)
        table.write(folder)
        workers: list[subprocess.Popen[bytes]] = []
        try:
            # One by one: those that were started end even if the next cannot be.
            workers.extend(_started(folder, rank, processes, threads) for rank in range(processes))
            _wait(workers, folder)
        finally:
            for worker in workers:
                worker.kill()
            for worker in workers:
                worker.communicate()
        return Learnt.read(folder)


def log_of(folder: Path, rank: int) -> Path:
    """Where a process tells what ends it."""
    return folder / f"process-{rank}.log"


def _started(folder: Path, rank: int, processes: int, threads: int) -> subprocess.Popen[bytes]:
    # Modules of the working folder are not its own.
    words = [sys.executable, "-P", "-m", _WORKER, str(folder), str(rank), str(processes), str(threads)]
    with log_of(folder, rank).open("wb") as log:
        # Its standard input ends when this process does, however that ends.
        return subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=log, stderr=log, env={**os.environ, **_environment(threads)}
        )


def _environment(threads: int) -> Mapping[str, str]:
    """They talk on this machine alone, whatever its own name leads to."""
    names = {name for _, name in socket.if_nameindex()}
    loopback = next((name for name in _LOOPBACKS if name in names), None)
    found = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return found if loopback is None else {**found, "GLOO_SOCKET_IFNAME": loopback}


def _wait(workers: Sequence[subprocess.Popen[bytes]], folder: Path) -> None:
    while True:
        codes = [worker.poll() for worker in workers]
        failed = [rank for rank, code in enumerate(codes) if code]
        if failed:
            # Those that are left lose the talk with the one that died, so that they fail too.
            first = min(failed, key=lambda rank: (codes[rank] or 0) > 0)
            raise InvalidDataError(
                f"neuralNetwork: process {first + 1} of {len(workers)} {_reason(codes[first] or 0, folder, first)}"
            )
        if all(code == 0 for code in codes):
            return
        time.sleep(_LOOK_SECONDS)


def _reason(code: int, folder: Path, rank: int) -> str:
    if code < 0:
        name = signal.Signals(-code).name
        return f"was ended by {name}" + (
            "; out of memory? Lower processes or batchRows" if code == -9 else ""
        )
    lines = log_of(folder, rank).read_text(errors="replace").strip().splitlines()
    return f"failed: {lines[-1] if lines else f'it left with {code}'}"
