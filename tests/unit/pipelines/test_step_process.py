"""A step ends with all that it started, whatever that is, and one that hangs or dies is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from contract.training_system import write_system

from capstan.domain.training import RunPhase, StepProgress
from capstan.ports.codec import from_json
from capstan_pipelines.steps import progress

STEP = """
import os, signal, subprocess, sys, time
from pathlib import Path

def run(folder, what, *_):
    print("it works", flush=True)
    child = [sys.executable, "-c", "import time; time.sleep(600)"]
    deaf = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]
    if what == "leaves":
        started = [subprocess.Popen(child).pid, subprocess.Popen(deaf).pid]
    elif what == "escapes":
        started = [subprocess.Popen(child, start_new_session=True).pid]
    else:
        started = [os.getpid(), subprocess.Popen(child).pid]
    Path(folder, "pids").write_text(" ".join(map(str, started)))
    if what == "raises":
        raise RuntimeError("as it must")
    if what == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "hangs":
        time.sleep(600)
"""
CALL = "import sys; from capstan_pipelines import step_process as s; s.STEPS = ''; sys.exit(not s.run_step(*{call!r}))"


def call(
    folder: Path, what: str, *, step: str = "a_step", arguments: tuple[str, ...] = ()
) -> subprocess.Popen[str]:
    (folder / f"{step}.py").write_text(STEP)
    (folder / "progress").mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(folder), progress.FOLDER: str(folder / "progress")}
    command = [sys.executable, "-c", CALL.format(call=(step, [str(folder), what, *arguments]))]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    )


def pids(folder: Path) -> list[int]:
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def alive(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(("what", "code"), [("leaves", 0), ("raises", 1)])
def test_what_a_step_leaves_behind_is_ended_and_told_in_one_line(
    tmp_path: Path, what: str, code: int
) -> None:
    began = time.monotonic()
    process = call(tmp_path, what)
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 30, "nothing waits for what a step has left"
    assert process.returncode == code
    assert "it works" in output
    count = 2 if what == "leaves" else 1
    assert f"a_step: ended {count} process" in output
    assert not [pid for pid in pids(tmp_path) if alive(pid)]


def test_a_step_that_leaves_nothing_says_nothing_and_is_not_held(tmp_path: Path) -> None:
    (tmp_path / "a_step.py").write_text("def run(*_): print('done')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", CALL.format(call=("a_step", []))],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_what_escapes_into_a_session_of_its_own_does_not_hold_the_output(tmp_path: Path) -> None:
    process = call(tmp_path, "escapes")
    process.communicate(timeout=30)
    (escaped,) = pids(tmp_path)
    os.kill(escaped, signal.SIGKILL)
    assert process.returncode == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["terminated", "killed"])
def test_the_step_and_its_children_end_with_whoever_waits_for_them(tmp_path: Path, number: int) -> None:
    process = call(tmp_path, "hangs")
    deadline = time.monotonic() + 60
    while not (tmp_path / "pids").exists() or len(pids(tmp_path)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    process.communicate(timeout=30)
    while any(alive(pid) for pid in pids(tmp_path)):
        assert time.monotonic() < deadline, "a step goes on after its run was ended"
        time.sleep(0.05)


def fit_call(tmp_path: Path, what: str, deadline: str) -> tuple[subprocess.Popen[str], Path]:
    document = write_system(tmp_path / "data").model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"].setdefault("training", {})["fitDeadline"] = deadline
    places = dict.fromkeys(("secrets", "tracking_uri", "artifact_root", "bentos"), "")
    (tmp_path / "spec.json").write_text(json.dumps(document))
    (tmp_path / "places.json").write_text(json.dumps({**places, "base_dir": str(tmp_path)}))
    fitted = tmp_path / "out" / "fitted"
    return call(tmp_path, what, step="fit", arguments=("cases", str(fitted))), fitted


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("hangs", "was stopped after 2 s, the limit of training.fitDeadline; does it hang?"),
        ("dies", "was ended by SIGKILL; out of memory?"),
    ],
)
def test_a_candidate_that_hangs_or_is_killed_has_failed_and_the_run_goes_on(
    tmp_path: Path, what: str, why: str
) -> None:
    process, fitted = fit_call(tmp_path, what, "2s" if what == "hangs" else "12h")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert json.loads(fitted.read_text())["failure"] == why
    assert json.loads(fitted.read_text())["name"] == what
    told = from_json(StepProgress, json.loads((tmp_path / "progress" / f"fit.{what}.json").read_text()))
    assert (told.phase, told.message) == (RunPhase.FAILED, why)
    assert not [pid for pid in pids(tmp_path) if alive(pid)]


def test_what_is_added_to_a_step_stands_behind_what_it_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(progress.FOLDER, str(tmp_path))
    with progress.step("fit own") as say:
        say("rocAuc 0.7")
    progress.add("fit own", "ended 2 processes")
    told = from_json(StepProgress, json.loads((tmp_path / "fit.own.json").read_text()))
    assert told.message == "rocAuc 0.7; ended 2 processes"
    assert told.phase is RunPhase.SUCCEEDED
