"""Claims about supervised child processes, made with real ones."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from capstan import files
from capstan.adapters.processes.children import (
    ProcessPhase,
    ProcessSpec,
    ProcessSupervisor,
    RestartPolicy,
    free_port,
    require_free,
)
from capstan.errors import DiskFullError, MissingToolError, PortInUseError, UnavailableError

pytestmark = pytest.mark.real

SERVER = (
    "import sys, http.server as h\n"
    "h.HTTPServer(('127.0.0.1', int(sys.argv[1])), h.SimpleHTTPRequestHandler).serve_forever()"
)
QUICK = RestartPolicy(initial_seconds=0.05, maximum_seconds=0.2, gives_up_after=3)


def sleeper(name: str = "sleeper", **more: object) -> ProcessSpec:
    return ProcessSpec(name, (sys.executable, "-c", "import time; time.sleep(600)"), **more)  # type: ignore[arg-type]


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[ProcessSupervisor]:
    supervisor = ProcessSupervisor(tmp_path / "run", tmp_path / "logs")
    yield supervisor
    supervisor.stop_all()


def again(supervisor: ProcessSupervisor) -> ProcessSupervisor:
    """What a new supervisor process would make after the old one was killed."""
    return ProcessSupervisor(supervisor.run_dir, supervisor.log_dir)


def alive(pid: int | None) -> bool:
    return pid is not None and psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def until(supervisor: ProcessSupervisor, condition: Callable[[], bool], seconds: float = 15.0) -> list[str]:
    reasons: list[str] = []
    deadline = time.monotonic() + seconds
    while not condition():
        reasons += [event.reason for event in supervisor.tick()]
        assert time.monotonic() < deadline, (reasons, supervisor.status())
        time.sleep(0.02)
    return reasons


def test_ensuring_twice_runs_one_process(supervisor: ProcessSupervisor) -> None:
    first = supervisor.ensure(sleeper())
    second = supervisor.ensure(sleeper())
    assert first.pid == second.pid
    assert alive(first.pid)


def test_other_arguments_replace_the_process(supervisor: ProcessSupervisor) -> None:
    first = supervisor.ensure(sleeper())
    second = supervisor.ensure(sleeper(env={"COLOUR": "red"}))
    assert not alive(first.pid)
    assert alive(second.pid)


def test_a_process_is_running_only_once_it_answers(supervisor: ProcessSupervisor) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    status = supervisor.ensure(ProcessSpec("web", (sys.executable, "-c", SERVER, str(port)), health_url=url))
    assert status.phase is ProcessPhase.STARTING
    assert supervisor.wait_healthy("web").phase is ProcessPhase.RUNNING


def test_a_killed_process_comes_back(supervisor: ProcessSupervisor) -> None:
    first = supervisor.ensure(sleeper(restart=QUICK))
    assert first.pid is not None
    os.kill(first.pid, signal.SIGKILL)
    reasons = until(supervisor, lambda: supervisor.status()["sleeper"].restarts == 1)
    assert reasons == ["Died", "Restarted"]
    assert alive(supervisor.status()["sleeper"].pid)


def test_one_that_keeps_dying_is_given_up_with_its_last_words(supervisor: ProcessSupervisor) -> None:
    argv = (sys.executable, "-c", "raise SystemExit('the config is broken')")
    supervisor.ensure(ProcessSpec("broken", argv, restart=QUICK))
    reasons = until(supervisor, lambda: supervisor.status()["broken"].phase is ProcessPhase.GAVE_UP)
    assert reasons == ["Died", "Restarted", "Died", "Restarted", "GaveUp"]
    message = supervisor.status()["broken"].message
    assert "died 3 times" in message
    assert "exit code 1" in message
    assert "the config is broken" in message
    supervisor.ensure(ProcessSpec("broken", argv, restart=QUICK))
    assert supervisor.tick() == []
    assert supervisor.status()["broken"].phase is ProcessPhase.GAVE_UP
    with pytest.raises(UnavailableError, match="config is broken"):
        supervisor.wait_healthy("broken")


def test_a_job_that_ends_is_not_restarted(supervisor: ProcessSupervisor) -> None:
    supervisor.ensure(ProcessSpec("job", (sys.executable, "-c", "raise SystemExit(3)"), restart=None))
    until(supervisor, lambda: supervisor.status()["job"].phase is ProcessPhase.EXITED)
    assert supervisor.status()["job"].exit_code == 3


def test_the_next_supervisor_adopts_what_fits(supervisor: ProcessSupervisor) -> None:
    before = supervisor.ensure(sleeper())
    heir = again(supervisor)
    assert heir.adopt() == ["sleeper"]
    after = heir.ensure(sleeper(restart=QUICK))
    assert after.pid == before.pid
    assert heir.tick() == []
    assert after.pid is not None
    os.kill(after.pid, signal.SIGKILL)
    until(heir, lambda: heir.status()["sleeper"].restarts == 1)
    heir.stop_all()


def test_adoption_needs_no_record(supervisor: ProcessSupervisor) -> None:
    before = supervisor.ensure(sleeper())
    for record in supervisor.run_dir.glob("*.process.json"):
        record.unlink()
    assert again(supervisor).ensure(sleeper()).pid == before.pid


def test_a_record_of_a_reused_pid_is_not_believed(supervisor: ProcessSupervisor) -> None:
    status = supervisor.ensure(sleeper())
    supervisor.stop("sleeper")
    record = f'{{"name":"sleeper","pid":{os.getpid()},"born":"ticks:1","digest":"{sleeper().digest}"}}'
    (supervisor.run_dir / "sleeper.process.json").write_text(record)
    heir = again(supervisor)
    assert heir.adopt() == []
    assert heir.ensure(sleeper()).pid not in (os.getpid(), status.pid)
    heir.stop_all()


def test_the_next_supervisor_stops_what_is_stale(supervisor: ProcessSupervisor) -> None:
    changed = supervisor.ensure(sleeper("changed"))
    unwanted = supervisor.ensure(sleeper("unwanted"))
    heir = again(supervisor)
    heir.ensure(sleeper("changed", env={"A": "B"}))
    assert heir.stop_stale(keep=()) == ["unwanted"]
    assert not alive(changed.pid)
    assert not alive(unwanted.pid)
    heir.stop_all()


@pytest.mark.parametrize("started_by", ["this supervisor", "an earlier one"])
def test_stopping_all_leaves_no_descendant(
    supervisor: ProcessSupervisor, tmp_path: Path, started_by: str
) -> None:
    script = (
        "import subprocess,sys,time,pathlib\n"
        "nap=[sys.executable,'-c','import time; time.sleep(600)']\n"
        "kids=[subprocess.Popen(nap), subprocess.Popen(nap,start_new_session=True)]\n"
        f"pathlib.Path({str(tmp_path / 'kids')!r}).write_text(' '.join(str(k.pid) for k in kids))\n"
        "time.sleep(600)\n"
    )
    parent = supervisor.ensure(ProcessSpec("family", (sys.executable, "-c", script)))
    until(supervisor, lambda: (tmp_path / "kids").exists() and bool((tmp_path / "kids").read_text()))
    family = [parent.pid, *map(int, (tmp_path / "kids").read_text().split())]
    assert all(map(alive, family))
    (supervisor if started_by == "this supervisor" else again(supervisor)).stop_all()
    assert not any(map(alive, family))


def test_one_that_ignores_sigterm_is_killed_after_its_grace(supervisor: ProcessSupervisor) -> None:
    script = (
        "import signal,time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
    )
    status = supervisor.ensure(ProcessSpec("deaf", (sys.executable, "-c", script), grace_seconds=0.3))
    until(supervisor, lambda: "deaf" in status.log.read_text())
    started = time.monotonic()
    supervisor.stop("deaf")
    assert 0.3 <= time.monotonic() - started < 5
    assert not alive(status.pid)
    assert "deaf" not in supervisor.status()


def test_one_that_stops_answering_is_restarted(
    supervisor: ProcessSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capstan.adapters.processes.children.RUNNING_HEALTH_PERIOD_SECONDS", 0.01)
    monkeypatch.setattr("capstan.adapters.processes.health.TIMEOUT_SECONDS", 0.1)
    port = free_port()
    url = f"http://127.0.0.1:{port}/"
    spec = ProcessSpec("web", (sys.executable, "-c", SERVER, str(port)), health_url=url, restart=QUICK)
    supervisor.ensure(spec)
    frozen = supervisor.wait_healthy("web").pid
    assert frozen is not None
    os.kill(frozen, signal.SIGSTOP)
    until(supervisor, lambda: supervisor.status()["web"].restarts == 1)
    assert not alive(frozen)


def test_niceness_reaches_the_process(supervisor: ProcessSupervisor) -> None:
    pid = supervisor.ensure(sleeper(nice=7)).pid
    until(supervisor, lambda: os.getpriority(os.PRIO_PROCESS, pid or 0) == 7)


def test_a_log_stays_within_its_bound(tmp_path: Path) -> None:
    script = "import time\nwhile True: print('x'*999, flush=True); time.sleep(0.0005)"
    supervisor = ProcessSupervisor(tmp_path / "run", tmp_path / "logs", max_log_bytes=50_000)
    log = supervisor.ensure(ProcessSpec("chatty", (sys.executable, "-c", script))).log
    try:
        until(supervisor, log.with_name("chatty.log.1").exists)
        until(supervisor, lambda: 0 < log.stat().st_size < 50_000)
    finally:
        supervisor.stop_all()


def test_a_missing_program_is_named(supervisor: ProcessSupervisor) -> None:
    with pytest.raises(MissingToolError, match="no-such-program"):
        supervisor.ensure(ProcessSpec("ghost", ("/no-such-program",)))


def test_a_full_disk_leaves_no_process_behind(
    supervisor: ProcessSupervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "replace", full)
    with pytest.raises(DiskFullError, match="no room left"):
        supervisor.ensure(sleeper())
    monkeypatch.undo()
    assert supervisor.adopt() == []


def test_a_taken_port_names_its_holder_and_the_setting() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(PortInUseError, match=rf"{port}.*process {os.getpid()}.*--gateway-port"):
            require_free(port, "--gateway-port")


def test_a_port_is_remembered_while_its_process_lives(supervisor: ProcessSupervisor) -> None:
    port = supervisor.port("web")
    supervisor.ensure(
        ProcessSpec("web", (sys.executable, "-c", SERVER, str(port)), health_url=f"http://127.0.0.1:{port}/")
    )
    supervisor.wait_healthy("web")
    assert again(supervisor).port("web") == port
    supervisor.stop_all()
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        stranger.bind(("127.0.0.1", port))
        stranger.listen()
        assert again(supervisor).port("web") != port


def test_processes_stop_in_the_wanted_order(supervisor: ProcessSupervisor, tmp_path: Path) -> None:
    script = (
        "import pathlib, signal, sys, time\n"
        "def end(*_):\n"
        f"    open({str(tmp_path / 'ended')!r}, 'a').write(sys.argv[1] + ' ')\n"
        "    sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "print('ready', flush=True)\n"
        "time.sleep(600)\n"
    )
    logs = [
        supervisor.ensure(ProcessSpec(name, (sys.executable, "-c", script, name))).log
        for name in ("collector", "model", "gateway")
    ]
    until(supervisor, lambda: all("ready" in log.read_text() for log in logs))
    supervisor.stop_all(first=["gateway"], last=["collector"])
    assert (tmp_path / "ended").read_text().split() == ["gateway", "model", "collector"]


def test_many_threads_start_one_process(supervisor: ProcessSupervisor) -> None:
    pids: set[int | None] = set()
    threads = [threading.Thread(target=lambda: pids.add(supervisor.ensure(sleeper()).pid)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(pids) == 1


def test_children_of_a_killed_supervisor_live_on_and_are_adopted(tmp_path: Path) -> None:
    script = (
        "import sys, time, pathlib\n"
        "from capstan.adapters.processes.children import ProcessSpec, ProcessSupervisor\n"
        f"s = ProcessSupervisor(pathlib.Path({str(tmp_path / 'run')!r}), pathlib.Path({str(tmp_path / 'logs')!r}))\n"
        "nap = (sys.executable, '-c', 'import time; time.sleep(600)')\n"
        "print(s.ensure(ProcessSpec('sleeper', nap)).pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as doomed:
        assert doomed.stdout is not None
        pid = int(doomed.stdout.readline())
        doomed.kill()
    assert alive(pid)
    heir = ProcessSupervisor(tmp_path / "run", tmp_path / "logs")
    assert heir.ensure(sleeper()).pid == pid
    heir.stop_all()
    assert not alive(pid)
