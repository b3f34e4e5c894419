"""Finds the processes of one run folder in the system's process table, and ends them.

Each child carries a mark in its environment, so that it and its descendants are found even if their supervisor was
killed before it could write a record, and even if they moved to a session of their own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import orjson
import psutil

from capstan.adapters.processes.spec import ProcessSpec

MARK = "CAPSTAN_PROCESS"


def mark(run_dir: Path, spec: ProcessSpec) -> str:
    return f"{run_dir}//{spec.name}/{spec.digest}"


def marked_name(value: str) -> str:
    return value.rpartition("//")[2].partition("/")[0]


def marked(run_dir: Path) -> Iterator[tuple[int, str]]:
    """(pid, mark) of every living process of this run folder."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            value = process.environ().get(MARK, "")
            alive = process.status() != psutil.STATUS_ZOMBIE
            if value.startswith(f"{run_dir}//") and alive and process.pid != os.getpid():
                yield process.pid, value


@dataclass(frozen=True)
class LivingProcess:
    """A living process that some supervisor of this run folder started."""

    name: str
    digest: str
    pid: int


def record_file(run_dir: Path, name: str) -> Path:
    return run_dir / f"{name}.process.json"


def living_processes(run_dir: Path) -> list[LivingProcess]:
    """Living processes by their record (pid, start time, digest), or by mark where the supervisor was killed
    before it wrote one.
    """
    by_pid: dict[int, LivingProcess] = {}
    for file in sorted(run_dir.glob("*.process.json")):
        try:
            record = orjson.loads(file.read_bytes())
        except (OSError, orjson.JSONDecodeError):
            continue
        if lives(record["pid"], record["born"]):
            by_pid[record["pid"]] = LivingProcess(record["name"], record["digest"], record["pid"])
    for pid, value in marked(run_dir):
        with contextlib.suppress(OSError):
            if os.getsid(pid) == pid:
                by_pid.setdefault(pid, LivingProcess(marked_name(value), value.rpartition("/")[2], pid))
    return list(by_pid.values())


def holds(run_dir: Path, port: int) -> bool:
    """Whether a process of this run folder listens on the port."""
    for pid in {process.pid for process in living_processes(run_dir)} | {pid for pid, _ in marked(run_dir)}:
        with contextlib.suppress(psutil.Error):
            for connection in psutil.Process(pid).net_connections(kind="inet"):
                if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port:
                    return True
    return False


def born(pid: int) -> str:
    """When the process started, exact enough to tell it from a later one of the same pid; empty if it is gone."""
    try:
        # Field 22, after the parenthesised name, which may hold spaces.
        return "ticks:" + Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        with contextlib.suppress(psutil.Error):
            return f"time:{psutil.Process(pid).create_time():.2f}"
    return ""


def lives(pid: int, born_at: str) -> bool:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE and born(pid) == born_at
    return False


def end_group(pid: int | None, popen: subprocess.Popen[bytes] | None, grace_seconds: float) -> None:
    """SIGTERM to the group of `pid`, SIGKILL to what is left after the grace."""
    if pid is None:
        return
    born_at = born(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if grace_seconds > 0:
            os.killpg(pid, signal.SIGTERM)
            deadline = time.monotonic() + grace_seconds
            while time.monotonic() < deadline and _group_lives(pid, popen, born_at):
                time.sleep(0.02)
        os.killpg(pid, signal.SIGKILL)
    if popen is not None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            popen.wait(timeout=5)


def _group_lives(pid: int, popen: subprocess.Popen[bytes] | None, born_at: str) -> bool:
    if popen is not None:
        return popen.poll() is None
    return lives(pid, born_at)


def end_leftovers(run_dir: Path, name: str | None) -> None:
    """Kill whatever still carries the mark of this name (None: of any name of the folder)."""
    left = [pid for pid, value in marked(run_dir) if name is None or marked_name(value) == name]
    processes = []
    for pid in left:
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(pid)
            process.terminate()
            processes.append(process)
    _, stubborn = psutil.wait_procs(processes, timeout=2.0)
    for process in stubborn:
        with contextlib.suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(stubborn, timeout=5.0)


def bound_log(log: Path, max_bytes: int) -> None:
    """Move the content to `<log>.1` when it is too long; the writer appends, so it goes on in the emptied file."""
    with contextlib.suppress(OSError):
        if log.stat().st_size > max_bytes:
            shutil.copyfile(log, log.with_name(f"{log.name}.1"))
            os.truncate(log, 0)


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, at most 4 kB."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(empty)"


def yield_processor(pid: int, nice: int) -> None:
    """Let the session of the process be as nice as the process.

    Linux shares the processor between sessions first (autogroups), so that niceness within one means nothing to others.
    """
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text(str(nice))
