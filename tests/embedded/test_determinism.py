"""The same replay on a machine that is slow and stutters: the same decisions, from the same numbers."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
from embedded.loop_process import Loop, data_decisions, windows
from embedded.running import processes_about

from capstan.embedded.layout import StateDir
from capstan.embedded.replay.report import Report

pytestmark = [pytest.mark.real, pytest.mark.slow]
UNTIL = datetime(2013, 2, 12, tzinfo=UTC)
"""Past the alert, the training and the beginning of the shadow step."""


def stutter(process: psutil.Process, seconds: float) -> None:
    """Freeze it for a moment, as a machine without memory does."""
    with suppress(psutil.NoSuchProcess):
        process.send_signal(signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            process.send_signal(signal.SIGCONT)


def test_a_slow_and_stuttering_machine_decides_the_same_from_the_same_numbers(
    world: Path, replayed: tuple[StateDir, Report], copy_of: Callable[[str], StateDir]
) -> None:
    fast, _ = replayed
    slow = copy_of("slow")
    rng = random.Random(20130212)
    loop = Loop(world / "system.yaml", slow, until=UNTIL, core=max(os.sched_getaffinity(0)))
    loop.start()
    try:
        while not loop.is_over:
            for process in rng.sample(found := processes_about(slow.root), min(2, len(found))):
                stutter(process, rng.uniform(0.05, 0.4))
            time.sleep(rng.uniform(0.2, 1.0))
        report = loop.wait()
    finally:
        loop.stop()
    assert report["failed_requests"] == 0, report["failures"]
    assert report["payloads_unaccounted"] == 0
    end = datetime.fromisoformat(report["end"])
    decided = data_decisions(slow, before=end)
    assert decided == data_decisions(fast, before=end)
    assert "TrainingSucceeded" in [reason for _, reason, _, _ in decided]
    ended = [window for window in windows(fast) if datetime.fromisoformat(window["end"]) < end]
    assert ended
    assert [window for window in windows(slow) if datetime.fromisoformat(window["end"]) < end] == ended
    digests = {version["name"]: version["digest"] for version in report["versions"]}
    _, fast_report = replayed
    assert digests == {version["name"]: version["digest"] for version in fast_report["versions"]}
