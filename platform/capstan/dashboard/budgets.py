"""What is left of the budgets of a system's promises to users, read from Prometheus for the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from capstan.dashboard.numbers import Query
from capstan.dashboard.page import BudgetShown
from capstan.monitoring.budgets import BUDGET_LEFT, BURN_RATE, in_words
from capstan.ports.measurements import Sample
from capstan.spec import MLSystem

LATELY = "1h"
"""Of the recorded burn rates the one that is shown."""


@dataclass(frozen=True)
class Budget:
    """What was recorded of one promise; None: nothing was counted."""

    left: float | None = None
    burn_rate: float | None = None


def queries(more: str) -> tuple[str, str]:
    """What asks for the budgets that are left and for how fast they are spent; `more` are matchers of both."""
    return f"{BUDGET_LEFT}{{{more}}}", f'{BURN_RATE}{{{more},window="{LATELY}"}}'


def budgets_of(left: Iterable[Sample], burning: Iterable[Sample]) -> dict[str, Budget]:
    """By the name of the promise, of one system."""
    lefts, rates = ({one.labels.get("slo", ""): one.value for one in found} for found in (left, burning))
    return {name: Budget(lefts.get(name), rates.get(name)) for name in lefts | rates}


def prometheus_budgets(query: Query, system: str) -> Callable[[], Mapping[str, Budget]]:
    """The `budgets` source of one system's page; raises UnavailableError when Prometheus is away."""
    left, burning = queries(f'system="{system}"')
    return lambda: budgets_of(query.instant(left), query.instant(burning))


def budgets_shown(system: MLSystem, found: Mapping[str, Budget]) -> Sequence[BudgetShown]:
    """One for each promise of the file."""
    shown = []
    for slo in system.spec.monitoring.slos:
        one = found.get(slo.name, Budget())
        days = slo.chosen.window / timedelta(days=1)
        shown.append(BudgetShown(slo.name, in_words(slo), days, one.left, one.burn_rate))
    return shown
