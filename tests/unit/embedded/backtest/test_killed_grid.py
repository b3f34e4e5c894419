"""A grid that is killed half way goes on: no finished policy is run again, none is lost, the table is the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from unit.embedded.backtest.killed_grid import VALUES

SCRIPT = Path(__file__).with_name("killed_grid.py")
TESTS = Path(__file__).parents[3]


def test_a_killed_grid_goes_on_where_it_was(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path[1:]])}
    results, begun = tmp_path / "places" / "results", tmp_path / "places" / "begun"
    first = subprocess.Popen([sys.executable, str(SCRIPT), str(tmp_path)], env=environment)
    deadline = time.monotonic() + 240
    while len(list(results.glob("*.json"))) < 2:
        assert first.poll() is None, "it must not end by itself"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = {json.loads(path.read_bytes())["min_effect"] for path in results.glob("*.json")}
    every = [float(value) for value in VALUES.split(",")]
    assert 2 <= len(kept) < len(every), "else it was not half way"
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout) == [
        [f"minEffect={value}", {"min_effect": float(value), "failed_trainings": 0}]
        for value in VALUES.split(",")
    ]
    times = Counter(float(line) for line in begun.read_text().split())
    assert set(times) == set(every)
    # What was running when it was killed, at most, was begun twice; the worker may have ended it after all.
    assert all(times[value] == 1 for value in kept)
    assert sum(times.values()) <= len(every) + 1
