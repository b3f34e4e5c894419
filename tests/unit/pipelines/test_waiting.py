"""FAULTS 24: a trained model waits for the registry and is not thrown away."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from capstan.errors import ConflictError, UnavailableError
from capstan_pipelines.steps.progress import Telling
from capstan_pipelines.steps.waiting import patiently


class Registry:
    def __init__(self, away: int) -> None:
        self.away = away
        self.calls = 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.away:
            raise UnavailableError("MLflow", "connection refused")
        return "v1"


def test_it_waits_longer_and_longer_and_tells_so() -> None:
    waits: list[float] = []
    say = Telling("register")
    at = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert patiently(Registry(7), say, sleep=waits.append, patience=3600, now=lambda: at) == "v1"
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert say.waits_for == "MLflow"
    assert say.message == (
        "MLflow is unavailable: connection refused; waits since 2026-01-01 12:00 UTC, tries again every 30 s "
        "and gives up at 2026-01-01 13:00 UTC"
    )
    say("v1, sha256")
    assert say.waits_for == "", "what it waited for is there"


def test_it_gives_up_when_patience_ends() -> None:
    registry = Registry(1000)
    with pytest.raises(UnavailableError):
        patiently(registry, Telling("register"), sleep=lambda _: None, patience=60)
    assert 6 <= registry.calls <= 8


def test_other_errors_are_not_repeated() -> None:
    def conflict() -> str:
        raise ConflictError("other bytes")

    with pytest.raises(ConflictError):
        patiently(conflict, Telling("register"), sleep=lambda _: pytest.fail("slept"), patience=60)
