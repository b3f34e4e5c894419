"""Arms share the requests, and the better one gets more of them while it is found out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from capstan.domain.digest import UNDIGESTED
from capstan.domain.moving_weights import MILLIONTHS, MOST_MOVES, MovedWeights, cuts_of, doubling_cuts
from capstan.domain.steps.experiment import Outcome, guardrail_rule
from capstan.domain.steps.experiment_questions import GuardrailQuestion, guardrail_name
from capstan.domain.steps.questions import Arms, Need, Question, StepEvidence
from capstan.domain.steps.step import Station, Step, runners_up_of
from capstan.domain.traffic import Arm, ArmRewards, TrafficSplit, Weight
from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict
from capstan.domain.verdicts.arms import ArmsRule, judge_arms
from capstan.domain.verdicts.bandit_inference import regret
from capstan.domain.verdicts.bandits import BanditRule, Rewards, drawn_shares, shares_of, whole_shares
from capstan.domain.verdicts.evidence import ArmsEvidence
from capstan.domain.verdicts.experiments import Better
from capstan.domain.verdicts.moving_shares import MovingShares, rewards_of
from capstan.domain.verdicts.quality import Decide
from capstan.domain.versions import VersionName

if TYPE_CHECKING:
    from capstan.domain.rollout import RolloutPolicy, RolloutState

BANDIT = "bandit"
MOST_LOST = 0.01
"""Share of lost payloads above which weights stay as they are: what was lost may favour an arm."""


@dataclass(frozen=True)
class BanditQuestion(Question):
    """Which arm wins, though the shares followed the rewards."""

    rule: ArmsRule
    asked: Arms
    moves: tuple[MovedWeights, ...]
    weights: Mapping[VersionName, int]
    """Those of now without vacant arms, in the split's order, the champion first."""
    by_request: bool = False
    """True: each unit says by which shares it was drawn."""

    @property
    def need(self) -> Need:
        return self.asked

    def judge(self, evidence: ArmsEvidence, latched: Latch | None) -> AnalysisResult:
        shares = MovingShares(self.moves, self.rule.better, self.by_request)
        known = evidence.with_answers_of(self.weights)
        result = judge_arms(known, self.rule, self.weights, latched=latched, comparison=shares)
        lost = self._regret(evidence, shares)
        return replace(result, message=f"{result.message}; {lost}") if lost else result

    def _regret(self, evidence: ArmsEvidence, shares: MovingShares) -> str:
        means = shares.means(evidence, tuple(self.weights))
        if len(means) < len(self.weights):
            return ""
        rewards = {str(version): self.rule.sign * mean for version, mean in means.items()}
        assigned = {str(version): evidence.total(version).assigned for version in self.weights}
        lost = regret(assigned, rewards)
        return (
            f"estimated regret {lost.bandit:,.4g} {self.rule.metric} over {sum(assigned.values()):,} units, "
            f"{lost.even:,.4g} in equal shares"
        )


@dataclass(frozen=True)
class BanditStep(Step):
    """Weights move in batches by the rewards; the first ones are equal."""

    name: ClassVar[str] = BANDIT
    station: ClassVar[Station | None] = Station(
        "Bandit",
        "M3 15l4-5 3 3 7-8M13 5h4v4",
        "the better version gets more of the requests",
    )
    # Its users met the champion while the challenger was lost.
    keeps_evidence: ClassVar[bool] = False

    primary: Outcome
    shares: BanditRule = field(default_factory=BanditRule)
    arms: tuple[VersionName, ...] = ()
    """Further registered versions; the challenger is not among them."""
    runners_up: int = 0
    """How many runners-up of the run take part."""
    named_runners_up: tuple[VersionName, ...] = field(default=(), metadata=UNDIGESTED)
    """Those, or stand-ins; empty before a run has made them."""
    guarded: tuple[Outcome, ...] = ()
    by_request: bool = False
    """True: a router draws each request by what it was told at the end of the last batch; False: weights split them."""
    by_version: bool = False
    """True: the gateway tells no arm, so the version that answered is the one that was drawn."""
    settles: timedelta = timedelta(0)
    """How long it may take, once the gateway has weights, until every request is drawn by them."""
    batch: timedelta = timedelta(days=1)
    decide: Decide = Decide.BETTER
    margin: float = 0.0
    minimum_effect: float = 0.0
    alpha: float = 0.05
    min_units: int = 500
    min_requests: int = 1
    """Requests of each arm before its errors and latencies are judged."""
    duration: timedelta = timedelta(0)
    deadline: timedelta | None = None

    @property
    def share(self) -> str:
        return f"{self.shares.policy} of {self._challengers + 1}"

    @property
    def others(self) -> tuple[VersionName, ...]:
        return (*self.named_runners_up, *(arm for arm in self.arms if arm not in self.named_runners_up))

    def with_runners_up(self, names: Sequence[VersionName]) -> Self:
        return replace(self, named_runners_up=runners_up_of(names, self.runners_up))

    @property
    def _challengers(self) -> int:
        """How many arms are compared with the champion."""
        return 1 + self.runners_up + len(self.arms)

    def split(
        self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState
    ) -> TrafficSplit:
        weights = state.moves[-1].weights if state.moves else self._first(champion, challenger, state)
        arms = tuple(
            Arm(version, Weight(weight), is_vacant=version in state.vacant)
            for version, weight in weights.items()
        )
        return TrafficSplit(
            arms=arms, salt=salt, routed=self._told(weights, state) if self.by_request else ()
        )

    def _told(self, weights: Mapping[VersionName, int], state: RolloutState) -> tuple[ArmRewards, ...]:
        """What the router is told; before the first move it knows no reward, and its shares are equal."""
        known = {one.version: one for one in state.moves[-1].rewards} if state.moves else {}
        return tuple(
            known.get(version, ArmRewards(version)) for version in weights if version not in state.vacant
        )

    def compared(self, moves: Sequence[MovedWeights], better: Better | None = None) -> MovingShares:
        """How arms are compared by the metric, or by one of which so much is better."""
        return MovingShares(moves, better or self.primary.better, self.by_request)

    def _first(
        self, champion: VersionName, challenger: VersionName, state: RolloutState
    ) -> dict[VersionName, int]:
        """Equal shares. By weights the champion has those of arms that take no part; a router knows no such arms."""
        further = [arm for arm in self.others if arm not in (champion, challenger)]
        if self.by_request:
            further = [arm for arm in further if arm not in state.left]
        every = [champion, challenger, *further]
        even = dict(zip(every, whole_shares([1 / len(every)] * len(every), 1), strict=True))
        # Before the first move nobody has left who had units: `without` makes that a move.
        taken = {version: weight for version, weight in even.items() if version not in state.left}
        taken[champion] += 100 - sum(taken.values())
        return taken

    def questions(
        self, policy: RolloutPolicy, split: TrafficSplit, state: RolloutState
    ) -> tuple[Question, ...]:
        weights = {arm.version: int(arm.weight) for arm in split.arms if not arm.is_vacant}
        moves = state.moves
        if not moves:
            moves = (MovedWeights(weights, since=self._surely(state.step_since)),)
        cuts: tuple[datetime, ...] = ()
        if state.step_since is not None and self.by_request:
            cuts = doubling_cuts(state.step_since, self.batch)
        elif state.step_since is not None:
            cuts = cuts_of(moves, state.step_since)
        # Units of arms that left are needed too: each unit's share is one of all.
        versions = tuple(arm.version for arm in split.arms)
        asked = Arms(
            self.primary.metric,
            versions,
            self.primary.window,
            self.primary.cap,
            cuts=cuts,
            every=self.batch,
            by_shares=self.by_request,
            by_version=self.by_version,
        )
        champion, *rivals = weights
        guardrails = tuple(
            GuardrailQuestion(
                guardrail_name(outcome.metric, arm, is_further=place > 0),
                guardrail_rule(outcome, self.alpha, len(self.guarded), self.min_units),
                Arms(
                    outcome.metric,
                    versions,
                    outcome.window,
                    outcome.cap,
                    cuts=cuts,
                    by_shares=self.by_request,
                    by_version=self.by_version,
                ),
                champion,
                arm,
                is_further=place > 0,
                comparison=self.compared(moves, outcome.better),
            )
            for outcome in self.guarded
            for place, arm in enumerate(rivals)
        )
        question = BanditQuestion(BANDIT, self.rule(), asked, moves, weights, self.by_request)
        return (question, *guardrails)

    def without(
        self,
        arm: VersionName,
        champion: VersionName,
        challenger: VersionName,
        state: RolloutState,
        at: datetime,
    ) -> RolloutState:
        """The arm never gets a share any more. Until weights move again the champion has its share; a router divides
        it by the rewards that it knows.
        """
        others = {name: why for name, why in state.left.items() if name != arm}
        first = self._first(champion, challenger, replace(state, left=others))
        moves = state.moves or (MovedWeights(first, since=self._surely(state.step_since)),)
        weights = dict(moves[-1].weights)
        if arm not in weights:
            return state
        if self.by_request:
            weights = self._drawn(weights, moves[-1].rewards, (*state.vacant, arm))
        else:
            weights[champion] += weights[arm]
            weights[arm] = 0
        moved = MovedWeights(weights, moves[-1].batch, rewards=moves[-1].rewards)
        return replace(state, moves=(*moves[:-1], replace(moves[-1], until=at), moved))

    def _drawn(
        self, weights: Mapping[VersionName, int], told: Sequence[ArmRewards], closed: Sequence[VersionName]
    ) -> dict[VersionName, int]:
        """The shares by which a router draws that was told these rewards: it computes them by the same function."""
        known = {one.version: _told_rewards(one) for one in told}
        rewards = {version: known.get(version, Rewards()) for version in weights}
        return drawn_shares(self.shares, rewards, closed)

    def rule(self) -> ArmsRule:
        """How the metric decides between the arms and the champion."""
        return ArmsRule(
            metric=self.primary.metric,
            better=self.primary.better,
            decide=self.decide,
            margin=self.margin,
            minimum_effect=self.minimum_effect,
            alpha=self.alpha,
            comparisons=self._challengers,
            min_units=self.min_units,
            min_coverage=self.primary.min_coverage,
            max_lost_share=MOST_LOST,
        )

    def moved(self, state: RolloutState, evidence: StepEvidence) -> RolloutState:
        """The weights that follow from the evidence of the batches that are over.

        That evidence is the same whenever somebody looks, so the weights are; only the moments of the moves differ.
        """
        asked, found = _asked(evidence)
        at, since = state.looked_at, state.step_since
        if asked is None or found is None or at is None or since is None:
            return state
        moves = state.moves
        if not moves:
            champion, challenger = asked.versions[:2]
            moves = (MovedWeights(self._first(champion, challenger, state), since=self._surely(since)),)
        if moves[-1].since is None:
            # A look is taken only while the gateway obeys the wanted split.
            moves = (*moves[:-1], replace(moves[-1], since=self._surely(at)))
        batch = (at - since) // self.batch
        frozen = (latch := state.latches.get(BANDIT)) is not None and latch.verdict is Verdict.INCONCLUSIVE
        may_move = batch > moves[-1].batch and not frozen
        weights = self._weights_after(found, moves, state.vacant) if may_move else None
        # What a router is told is no stretch of the evidence, so the oldest may be forgotten.
        is_kept = len(moves) < MOST_MOVES or self.by_request
        if weights is not None and weights != moves[-1].weights and is_kept:
            means = self.compared(moves).means(found, asked.versions)
            moves = (
                *moves[-MOST_MOVES + 1 : -1],
                # Only what was told last is needed: with all of it the state would grow too large to be stored.
                replace(moves[-1], until=at, rewards=()),
                MovedWeights(
                    weights,
                    batch,
                    assigned={version: found.total(version).assigned for version in asked.versions},
                    means={version: round(mean * MILLIONTHS) for version, mean in means.items()},
                    rewards=self._rewards_told(found, weights) if self.by_request else (),
                ),
            )
        return replace(state, moves=moves)

    def _surely(self, obeyed: datetime | None) -> datetime | None:
        """When every request was drawn by the weights that the gateway had at that moment."""
        return None if obeyed is None else obeyed + self.settles

    def _weights_after(
        self, found: ArmsEvidence, moves: tuple[MovedWeights, ...], vacant: tuple[VersionName, ...]
    ) -> dict[VersionName, int] | None:
        """None: the weights stay, because too little is known or what is known can't be trusted."""
        every = moves[-1].weights
        ratio = self.compared(moves).ratio(found)
        if ratio.verdict is Verdict.FAILED or found.lost_share > MOST_LOST:
            return None
        rewards = {version: self._rewards(found, version) for version in every if version not in vacant}
        if self.by_request:
            # Shares follow from what a router is told, which is rounded: else it would draw by others now and then.
            rewards = {version: _told_rewards(_as_told(version, one)) for version, one in rewards.items()}
        try:
            shares = shares_of(self.shares, rewards)
        except ValueError:
            return None
        return None if shares is None else {version: shares.get(version, 0) for version in every}

    def _rewards(self, found: ArmsEvidence, version: VersionName) -> Rewards:
        return rewards_of(found.total(version), self.primary.better, is_share=self.primary.is_share)

    def _rewards_told(
        self, found: ArmsEvidence, weights: Mapping[VersionName, int]
    ) -> tuple[ArmRewards, ...]:
        return tuple(_as_told(version, self._rewards(found, version)) for version in weights)

    def promise(self, policy: RolloutPolicy) -> str:
        return (
            f"the bandit on {self.primary.metric} moves weights by {self.shares.policy} and is decided by "
            f"{self.rule().named}, once {self.min_units:,} units have an outcome"
            + (f"; {', '.join(one.metric for one in self.guarded)} may stop it" if self.guarded else "")
        )

    def first_outcome(self, policy: RolloutPolicy) -> timedelta:
        return max(self.primary.closes_after, self.batch)

    def progress(self, since: datetime | None, now: datetime) -> str:
        if self.duration:
            return super().progress(since, now)
        if since is None:
            return f"≥ {self.min_units:,} units"
        return f"batch {(now - since) // self.batch + 1}"


def _as_told(version: VersionName, sums: Rewards) -> ArmRewards:
    if not (math.isfinite(sums.total) and math.isfinite(sums.squares)):
        # No share follows from such sums, so none is told: only an arm that left can have them.
        return ArmRewards(version)
    return ArmRewards(version, sums.count, round(sums.total * MILLIONTHS), round(sums.squares * MILLIONTHS))


def _told_rewards(one: ArmRewards) -> Rewards:
    return Rewards(one.count, one.total / MILLIONTHS, one.squares / MILLIONTHS)


def _asked(evidence: StepEvidence) -> tuple[Arms | None, ArmsEvidence | None]:
    for need, found in evidence.answers.items():
        if isinstance(need, Arms) and need.every is not None and isinstance(found, ArmsEvidence):
            return need, found
    return None, None
