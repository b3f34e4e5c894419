"""What a training pod says of its run fits, and what decides is never lost."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest

from capstan.adapters.kubernetes.run_report import (
    MOST_BYTES,
    last_words,
    progress_line,
    read_last_words,
    read_progress,
)
from capstan.domain.system import without_metrics
from capstan.domain.training import GateOutcome, RunnerUp, RunPhase, RunStatus, StepProgress
from capstan.domain.versions import Digest, ModelVersion, RunName, VersionName

AT = datetime(2013, 2, 20, tzinfo=UTC)
VERSION = ModelVersion(
    VersionName("v7"), Digest("sha256:" + "ab" * 32), RunName("run-a"), "flights:abc", AT, {"rocAuc": 0.71}
)


def status(
    *,
    candidates: int = 2,
    steps: int = 3,
    gates: int = 2,
    words: str = "a few words",
    classes: int = 2,
    runners_up: int = 0,
) -> RunStatus:
    judged = tuple(GateOutcome("rocAuc", n % 2 == 0, f"{words} of gate {n}") for n in range(gates))
    made = (replace(VERSION, rank=n + 1, digest=Digest(f"sha256:{n:064x}")) for n in range(runners_up))
    return RunStatus(
        RunPhase.SUCCEEDED,
        words,
        steps=tuple(
            StepProgress(f"fit {n}", RunPhase.SUCCEEDED, AT, AT, f"{words} {n}") for n in range(steps)
        ),
        version=VERSION,
        gates=judged,
        runners_up=tuple(RunnerUp(f"candidate-{one.rank}", one, judged) for one in made),
        left_out={f"lost-{n}": words for n in range(runners_up)},
        candidates={
            f"candidate-{n}": {f"metric-{m}": n + m * 0.7310001 for m in range(12)} for n in range(candidates)
        },
        details={
            "tables": [{"cells": [[n * 7919 % 9973 + m for m in range(classes)] for n in range(classes)]}]
        },
    )


def test_what_fits_is_said_whole_and_readable() -> None:
    said = last_words(status())
    assert said.startswith(b"{")
    assert read_last_words(said.decode()) == status()


def test_a_confusion_matrix_that_does_not_fit_is_left_out_before_the_candidates_are() -> None:
    said = read_last_words(last_words(status(classes=200)).decode())
    assert said is not None
    assert (said.details, said.candidates) == ({}, status().candidates)


def test_what_would_fit_compressed_is_said_whole() -> None:
    long = status(candidates=20)
    said = last_words(long)
    assert len(said) <= MOST_BYTES
    assert read_last_words(said.decode()) == long


@pytest.mark.parametrize(
    "long",
    [
        pytest.param(status(candidates=3000), id="candidates"),
        pytest.param(status(steps=3000), id="steps"),
        pytest.param(status(words="".join(chr(0x4E00 + n) for n in range(6000))), id="texts"),
        pytest.param(
            status(
                candidates=900,
                steps=900,
                gates=20,
                words="".join(chr(0x4E00 + n) for n in range(3000)),
                runners_up=8,
            ),
            id="all",
        ),
    ],
)
def test_what_is_too_long_keeps_the_version_and_every_gate(long: RunStatus) -> None:
    said = last_words(long)
    assert len(said) <= MOST_BYTES
    heard = read_last_words(said.decode())
    assert heard is not None
    assert (heard.phase, heard.version) == (long.phase, long.version)
    assert [(gate.metric, gate.passed) for gate in heard.gates] == [
        (gate.metric, gate.passed) for gate in long.gates
    ]
    assert [one.version for one in heard.runners_up] == [one.version for one in long.runners_up]
    assert all(one.gates == heard.gates for one in heard.runners_up)


def test_runners_up_with_many_metrics_and_gates_fit_without_the_metrics() -> None:
    rng = Random(3)

    def measured(version: ModelVersion) -> ModelVersion:
        digest = Digest(f"sha256:{rng.randbytes(32).hex()}")
        return replace(version, digest=digest, metrics={f"metric-{n}": rng.random() for n in range(30)})

    whole = status(runners_up=8, gates=40)
    runners_up = tuple(replace(one, version=measured(one.version)) for one in whole.runners_up)
    heard = read_last_words(
        last_words(replace(whole, version=measured(VERSION), runners_up=runners_up)).decode()
    )
    assert heard is not None
    assert [one.version for one in heard.runners_up] == [without_metrics(one.version) for one in runners_up]
    assert [gate.passed for one in heard.runners_up for gate in one.gates] == [True, False] * 20 * 8


def test_the_end_of_a_log_is_no_last_word() -> None:
    for text in ("", "Traceback (most recent call last):", "zlib:???", '{"phase": "Nonsense"}', "3"):
        assert read_last_words(text) is None


def test_the_newest_whole_line_of_a_log_tells_how_far_it_is() -> None:
    older = RunStatus(RunPhase.RUNNING, "extract")
    newer = replace(older, message="fit trees")
    log = f"noise\n{progress_line(older)}\n{progress_line(newer)}\nmore\n{progress_line(newer)[:40]}"
    assert read_progress(log) == newer
    assert read_progress("noise") is None
