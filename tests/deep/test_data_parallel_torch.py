"""Several processes learn one network as one process does, and a process that dies leaves none behind."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from capstan.errors import InvalidDataError
from capstan.spec.families import Candidate
from capstan.testing.lessons import lesson
from capstan.training.families import fit_model
from capstan.training.networks import processes as together
from capstan.training.networks.learning import learn
from capstan.training.networks.plan import Plan, Table


def table_of(rows: int) -> Table:
    draw = np.random.default_rng(0)
    numbers, codes = draw.normal(size=(rows, 5)), draw.integers(0, 4, (rows, 1))
    targets = (numbers[:, 0] + (codes[:, 0] == 2) + draw.normal(0, 0.5, rows) > 0).astype(np.int64)
    weights = draw.uniform(0.5, 1.5, rows).astype(np.float32)
    return Table(numbers.astype(np.float32), codes, targets, weights, numbers[:50], codes[:50])


PLAN = Plan(
    layers=(16, 8), activation="ELU", outputs=1, numbers=5, embedded=((4, 3),), epochs=6, batch_rows=64,
    learning_rate=0.01, l1=1e-4, l2=1e-3, clip_norm=1.0, entropy=0.05, older_rows=410, patience=2,
)  # fmt: skip


def test_two_processes_learn_what_one_learns() -> None:
    """Of the same rows of each step: 500 rows leave an odd last step, of which each process has a part."""
    table = table_of(501)
    one, two = learn(PLAN, table), together.learn_in_processes(PLAN, table, 2)
    assert len(one.losses) == len(two.losses), "they stop after as many passes"
    np.testing.assert_allclose(two.losses, one.losses, rtol=1e-5)
    np.testing.assert_allclose(two.said, one.said, rtol=1e-3, atol=1e-4)


def test_two_processes_give_the_same_bytes_again() -> None:
    candidate = Candidate.model_validate(
        {"name": "net", "neuralNetwork": {"layers": [8], "epochs": 3, "dropout": "20%", "processes": 2}}
    )
    first, second = (pickle.dumps(fit_model(candidate, {}, lesson("Number"))) for _ in range(2))
    assert first == second


def talks(pid: int) -> bool:
    """Whether it has met the other one, which happens once it has rows and a network."""
    return any(one.status == psutil.CONN_ESTABLISHED for one in psutil.Process(pid).net_connections())


def test_a_process_that_dies_fails_the_fit_with_its_reason_and_leaves_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[Any] = []
    start = together._started

    def noted(*arguments: Any) -> Any:
        started.append(start(*arguments))
        return started[-1]

    monkeypatch.setattr(together, "_started", noted)

    def kill() -> None:
        while len(started) < 2 or not talks(started[1].pid):
            time.sleep(0.05)
        os.kill(started[1].pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    endless = Candidate.model_validate(
        {"name": "net", "neuralNetwork": {"epochs": 10_000, "batchRows": 2, "processes": 2}}
    )
    with pytest.raises(
        InvalidDataError,
        match=r"neuralNetwork: process 2 of 2 was ended by SIGKILL; out of memory\? Lower processes or batchRows",
    ):
        fit_model(endless, {}, lesson("Boolean"))
    killer.join()
    assert not any(psutil.pid_exists(one.pid) for one in started)


def test_a_process_that_fails_tells_why() -> None:
    candidate = Candidate.model_validate(
        {
            "name": "net",
            "neuralNetwork": {"optimizer": "SGD", "learningRate": 10, "layers": [64, 64], "processes": 2},
        }
    )
    with pytest.raises(
        InvalidDataError, match=r"process [12] of 2 failed: .*lower learningRate, or write clipNorm"
    ):
        fit_model(candidate, {}, lesson("Number"))


def test_a_process_ends_with_who_waits_for_it(tmp_path: Path) -> None:
    """It waits for a second one that never comes."""
    together.write_plan(PLAN, tmp_path)
    table_of(500).write(tmp_path)
    worker = together._started(tmp_path, 0, 2, 1)
    assert worker.poll() is None
    assert worker.stdin is not None
    worker.stdin.close()
    assert worker.wait(60) == 1
