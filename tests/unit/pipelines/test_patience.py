"""FAULTS 24: a trained model waits for the registry and is not thrown away."""

from __future__ import annotations

import pytest

from capstan.errors import ConflictError, UnavailableError
from capstan_pipelines.steps.patience import patiently


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
    said: list[str] = []
    assert patiently(Registry(7), said.append, sleep=waits.append, patience=3600) == "v1"
    assert waits == [1, 2, 4, 8, 16, 30, 30]
    assert said[0] == "MLflow is unavailable: connection refused; trying again in 1 s"


def test_it_gives_up_when_patience_ends() -> None:
    registry = Registry(1000)
    with pytest.raises(UnavailableError):
        patiently(registry, lambda _: None, sleep=lambda _: None, patience=60)
    assert 6 <= registry.calls <= 8


def test_other_errors_are_not_repeated() -> None:
    def conflict() -> str:
        raise ConflictError("other bytes")

    with pytest.raises(ConflictError):
        patiently(conflict, lambda _: None, sleep=lambda _: pytest.fail("slept"), patience=60)
