"""What a file may ask for and a backtest cannot do: what depends on users, on a router or on a person's Prometheus."""

from __future__ import annotations

from capstan.errors import InvalidSpecError, Mistake
from capstan.spec import MLSystem

_WITHOUT_USERS = {
    "experiment": "asks what users do with their answers",
    "bandit": "moves shares by what users do with their answers",
    "interleave": "mixes two lists and asks which of their items users take",
}


def require_backtest(system: MLSystem) -> None:
    """Raises InvalidSpecError that names every such part of the file."""
    spec, mistakes = system.spec, []
    for index, step in enumerate(spec.rollout.steps):
        if step.kind in _WITHOUT_USERS:
            mistakes.append(
                Mistake(
                    f"spec.rollout.steps[{index}].{step.kind}",
                    f"{_WITHOUT_USERS[step.kind]}, and recorded rows do not tell; backtest a copy of the file without "
                    "this step, or use `capstan replay` with replay.events",
                )
            )
    if spec.rollout.queries:
        mistakes.append(
            Mistake(
                "spec.rollout.queries",
                "are asked of a Prometheus, and a backtest has none; backtest a copy of the file without them",
            )
        )
    if mistakes:
        raise InvalidSpecError(mistakes)
