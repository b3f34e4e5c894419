"""A bandit on the page: its weights over time, and the regret when they last moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from capstan.dashboard.bandit_panel import bandit_shown
from capstan.domain.moving_weights import MovedWeights
from capstan.domain.rollout import RolloutPhase, RolloutPolicy, RolloutState, StepSpan
from capstan.domain.steps import CanaryStep
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.steps.experiment import Outcome
from capstan.domain.traffic import Weight
from capstan.domain.verdicts.experiments import Better
from capstan.domain.versions import VersionName

START = datetime(2013, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
V1, V2 = VersionName("v1"), VersionName("v2")
COMPLAINTS = Outcome("complaints", Better.LOWER, DAY, timedelta(0), is_loss=False, is_share=True)
POLICY = RolloutPolicy((BanditStep(COMPLAINTS), CanaryStep(Weight(95))), {}, digest="d")
MOVES = (
    MovedWeights({V1: 50, V2: 50}, since=START, until=START + DAY),
    MovedWeights(
        {V1: 10, V2: 90},
        1,
        since=START + DAY,
        assigned={V1: 500, V2: 500},
        means={V1: 120_000, V2: 80_000},
    ),
)


def panel(state: RolloutState) -> Any:
    seen: Any = SimpleNamespace(policy=SimpleNamespace(rollout=POLICY), now=START + 3 * DAY)
    rollout: Any = SimpleNamespace(state=state)
    return bandit_shown(seen, rollout)


def test_a_running_bandit_shows_its_weights_and_what_it_has_lost() -> None:
    found = panel(RolloutState(RolloutPhase.PROGRESSING, policy_digest="d", moves=MOVES))
    assert (found.policy, found.is_running, found.units) == ("Thompson", True, 1000)
    assert [move.weights for move in found.moves] == [{"v1": 50, "v2": 50}, {"v1": 10, "v2": 90}]
    # Fewer complaints are better: 500 units met the arm with 0.04 more of them.
    assert abs(found.regret - 20) < 1e-9
    assert abs(found.even - 20) < 1e-9


def test_a_bandit_that_is_over_keeps_its_weights_on_the_page() -> None:
    spans = (StepSpan(0, START, START + 2 * DAY, MOVES),)
    found = panel(RolloutState(RolloutPhase.PROGRESSING, 1, policy_digest="d", spans=spans))
    assert (found.is_running, found.until, len(found.moves)) == (False, START + 2 * DAY, 2)


def test_before_the_first_move_no_regret_is_told() -> None:
    found = panel(RolloutState(RolloutPhase.PROGRESSING, policy_digest="d", moves=MOVES[:1]))
    assert (found.regret, found.even) == (None, None)


def test_other_steps_and_other_files_show_no_bandit() -> None:
    assert panel(RolloutState(RolloutPhase.PROGRESSING, 1, policy_digest="d")) is None
    assert panel(RolloutState(RolloutPhase.PROGRESSING, policy_digest="old", moves=MOVES)) is None
