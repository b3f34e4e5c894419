"""How far a step is, in the words that stand under it on the page."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from capstan.domain.steps.bandit import BanditStep
from capstan.domain.steps.experiment import ExperimentStep, Outcome
from capstan.domain.steps.step import Step
from capstan.domain.verdicts.experiments import Better

BEGIN = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
BOOKINGS = Outcome("bookings", Better.HIGHER, DAY, timedelta(0), is_loss=False, is_share=True)
EXPERIMENT = ExperimentStep((), BOOKINGS)
BANDIT = BanditStep(BOOKINGS, batch=timedelta(hours=6))


@pytest.mark.parametrize(
    ("step", "before", "then"),
    [
        (EXPERIMENT, "≥ 500 units", "day 3"),
        (replace(EXPERIMENT, deadline=14 * DAY), "≥ 500 units", "day 3 of ≤ 14"),
        (replace(EXPERIMENT, duration=4 * DAY), "4 d", "2.5 d of 4 d"),
        (BANDIT, "≥ 500 units", "batch 11"),
        (replace(BANDIT, duration=4 * DAY), "4 d", "2.5 d of 4 d"),
    ],
)
def test_a_step_tells_what_it_needs_before_it_begins_and_how_far_it_is_then(
    step: Step, before: str, then: str
) -> None:
    assert step.progress(None, BEGIN) == before
    assert step.progress(BEGIN, BEGIN + 2.5 * DAY) == then
