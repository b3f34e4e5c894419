"""Champion and challengers answer different users at the same time, and the better one is found out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from capstan.domain.digest import UNDIGESTED
from capstan.domain.steps.experiment_questions import (
    EXPERIMENT,
    ExperimentQuestion,
    GuardrailQuestion,
    SecondaryQuestion,
    guardrail_name,
)
from capstan.domain.steps.questions import Arms, Question
from capstan.domain.steps.step import Station, Step, passed, runners_up_of
from capstan.domain.traffic import Arm, TrafficSplit, Weight
from capstan.domain.verdicts.arms import ArmsRule
from capstan.domain.verdicts.experiments import Better, ExperimentRule, Test
from capstan.domain.verdicts.quality import Decide
from capstan.domain.verdicts.sample_size import ExperimentDesign
from capstan.domain.verdicts.unit_history import Forecast, UnitHistory, forecast
from capstan.domain.versions import VersionName

if TYPE_CHECKING:
    from capstan.domain.rollout import RolloutPolicy, RolloutState


@dataclass(frozen=True)
class Outcome:
    """One metric of an experiment: how a unit's outcome by it comes about."""

    metric: str
    better: Better
    window: timedelta
    """How long a unit is followed from its first request on."""
    delay: timedelta
    """How long after that labels or events may come."""
    is_loss: bool
    """True: a loss of the task, which every closed unit should have."""
    is_share: bool = False
    """True: each outcome is 0 or 1."""
    cap: float | None = None
    margin: float = 0.0
    """As a guardrail: by how much an arm may be worse."""

    @property
    def closes_after(self) -> timedelta:
        """Time from a unit's first request until nothing more is awaited."""
        return self.window + self.delay

    @property
    def min_coverage(self) -> float:
        return 0.8 if self.is_loss else 0.0


@dataclass(frozen=True)
class ExperimentStep(Step):
    """Each arm answers so many percent of the users; the rest stays with the champion."""

    name: ClassVar[str] = "experiment"
    station: ClassVar[Station | None] = Station(
        "Experiment",
        "M8 3h4M9 3v5l-4 8h10l-4-8V3M7 13h6",
        "users are divided between versions",
    )
    # Its users met the champion while the challenger was lost.
    keeps_evidence: ClassVar[bool] = False

    weight: Weight
    primary: Outcome
    arms: tuple[Arm, ...] = ()
    """Further registered versions with their shares; the challenger is not among them."""
    runners_up: int = 0
    """How many runners-up of the run take part, each with the challenger's share."""
    named_runners_up: tuple[VersionName, ...] = field(default=(), metadata=UNDIGESTED)
    """Those, or stand-ins; empty before a run has made them."""
    secondary: tuple[Outcome, ...] = ()
    guarded: tuple[Outcome, ...] = ()
    decide: Decide = Decide.BETTER
    test: Test = Test.ALWAYS_VALID
    """Welch stands for `FixedHorizon`, of which the metric chooses the test: shares by Proportions, others by it."""
    margin: float = 0.0
    minimum_effect: float = 0.0
    expected_effect: float = field(default=0.0, metadata=UNDIGESTED)
    """Improvement that should be found, for planning alone; 0: none is named."""
    alpha: float = 0.05
    min_units: int = 500
    by_days: bool = False
    covariate: timedelta | None = None
    min_requests: int = 1
    """Requests of each arm before its errors and latencies are judged."""
    duration: timedelta = timedelta(0)
    """Of a fixed horizon until the windows of its units are over."""
    deadline: timedelta | None = None

    @property
    def is_fixed(self) -> bool:
        """Whether there is one look, at an end that was fixed beforehand."""
        return self.test is not Test.ALWAYS_VALID

    @property
    def share(self) -> str:
        return " + ".join(f"{weight} %" for weight in self._weights)

    @property
    def others(self) -> tuple[VersionName, ...]:
        return tuple(arm.version for arm in self._further)

    def with_runners_up(self, names: Sequence[VersionName]) -> Self:
        return replace(self, named_runners_up=runners_up_of(names, self.runners_up))

    @property
    def _further(self) -> tuple[Arm, ...]:
        made = tuple(Arm(version, self.weight) for version in self.named_runners_up)
        return (*made, *(arm for arm in self.arms if arm.version not in self.named_runners_up))

    @property
    def _weights(self) -> list[Weight]:
        """Of all arms but the champion, the challenger first."""
        return [*[self.weight] * (1 + self.runners_up), *(arm.weight for arm in self.arms)]

    def split(
        self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState
    ) -> TrafficSplit:
        further = [
            replace(arm, is_vacant=arm.version in state.vacant)
            for arm in self._further
            if arm.version not in (champion, challenger)
            and (arm.version not in state.left or arm.version in state.vacant)
        ]
        arms = [Arm(challenger, self.weight), *further]
        rest = Weight(100 - sum(arm.weight for arm in arms))
        return TrafficSplit(arms=(Arm(champion, rest), *arms), salt=salt)

    def questions(
        self, policy: RolloutPolicy, split: TrafficSplit, state: RolloutState
    ) -> tuple[Question, ...]:
        weights = {arm.version: int(arm.weight) for arm in split.arms if not arm.is_vacant}
        versions = tuple(weights)
        champion, *rivals = versions
        after = self.duration if self.is_fixed else timedelta(0)
        asked: list[Question] = [
            ExperimentQuestion(
                EXPERIMENT,
                self.rule(len(self._weights)),
                self._ranked(self.primary, versions),
                weights,
                after,
            )
        ]
        for outcome in self.guarded:
            for place, arm in enumerate(rivals):
                asked.append(
                    GuardrailQuestion(
                        guardrail_name(outcome.metric, arm, is_further=place > 0),
                        replace(
                            guardrail_rule(outcome, self.alpha, len(self.guarded), self.min_units),
                            by_days=self.by_days,
                        ),
                        self._need(outcome, versions),
                        champion,
                        arm,
                        is_further=place > 0,
                    )
                )
        for outcome in self.secondary:
            rule = self._secondary_rule(outcome)
            asked.append(
                SecondaryQuestion(
                    f"secondary {outcome.metric}", rule, self._ranked(outcome, versions), weights, after
                )
            )
        return tuple(asked)

    def rule(self, arms: int) -> ArmsRule:
        """How the primary metric decides between so many arms and the champion."""
        return self._rule(self.primary, self.decide, arms)

    def _rule(self, outcome: Outcome, decide: Decide, comparisons: int) -> ArmsRule:
        test = self.test
        if test is Test.WELCH and outcome.is_share and self.covariate is None:
            test = Test.PROPORTIONS
        return ArmsRule(
            metric=outcome.metric,
            better=outcome.better,
            decide=decide,
            test=test,
            margin=self.margin,
            minimum_effect=self.minimum_effect,
            alpha=self.alpha,
            comparisons=comparisons,
            min_units=self.min_units,
            by_days=self.by_days and not self.is_fixed,
            has_covariate=self.covariate is not None,
            min_coverage=outcome.min_coverage,
        )

    def _secondary_rule(self, outcome: Outcome) -> ArmsRule:
        rule = self._rule(outcome, Decide.BETTER, len(self._weights) * len(self.secondary))
        return replace(rule, margin=0.0, minimum_effect=0.0)

    def _need(self, outcome: Outcome, versions: tuple[VersionName, ...]) -> Arms:
        return Arms(outcome.metric, versions, outcome.window, outcome.cap, self.covariate)

    def _ranked(self, outcome: Outcome, versions: tuple[VersionName, ...]) -> Arms:
        return replace(self._need(outcome, versions), by_rank=self.test is Test.MANN_WHITNEY)

    def history_need(self, champion: VersionName) -> Arms:
        """The units of the champion alone from which the experiment's time is forecast."""
        return replace(self._need(self.primary, (champion,)), covariate=None)

    def forecast(self, history: UnitHistory) -> Forecast:
        """How long it takes with units as they were, and why its deadline can't be met."""
        rule, share = self.rule(len(self._weights)), self.primary.is_share
        if rule.decide is Decide.UNLESS_WORSE:
            days = math.ceil(self.min_units / history.units_per_day) if history.units_per_day else 0
            time = timedelta(days=days) + self.primary.closes_after
            message = f"{self.min_units:,} units are in after {time / timedelta(days=1):.3g} days"
            return Forecast(time, time, message)
        distance = self.expected_effect - rule.promote_above if self.expected_effect or self.margin else 0.0
        weights = self._weights
        design = ExperimentDesign(
            effect=rule.sign * max(distance, 0.0),
            variance=history.variance,
            base=min(max(history.mean, 0.0), 1.0) if share and rule.test is not Test.MANN_WHITNEY else None,
            rule=ExperimentRule(
                test=rule.test,
                better=rule.better,
                # One-sided bounds at alpha are two-sided ones at twice as much.
                alpha=rule.alpha if rule.is_two_sided else 2 * rule.alpha,
                comparisons=rule.comparisons,
                planned_units=rule.planned_units,
                least_units=rule.min_units,
            ),
            shares=(100 - sum(weights), *weights),
            guardrails=len(self.guarded),
        )
        return forecast(
            design,
            history,
            metric=self._measured,
            closes_after=self.primary.closes_after,
            deadline=self.deadline,
        )

    @property
    def _measured(self) -> str:
        """What effects are of."""
        metric = self.primary.metric
        return f"the share of pairs with better {metric}" if self.test is Test.MANN_WHITNEY else metric

    def promise(self, policy: RolloutPolicy) -> str:
        rule = self.rule(len(self._weights))
        when = f"once {self.min_units:,} units have an outcome"
        if self.is_fixed:
            when = "when its duration is over and the units' windows have closed"
        watched = f"; {', '.join(one.metric for one in self.guarded)} may stop it" if self.guarded else ""
        return f"the experiment on {self.primary.metric} is decided by {rule.named}, {when}{watched}"

    def progress(self, since: datetime | None, now: datetime) -> str:
        if self.duration:
            return super().progress(since, now)
        return passed(since, self.deadline, now, least=f"{self.min_units:,} units")

    def first_outcome(self, policy: RolloutPolicy) -> timedelta:
        return self.primary.closes_after

    def needed_blocks(self, policy: RolloutPolicy) -> int:
        return 7 if self.by_days and not self.is_fixed else 0


def guardrail_rule(outcome: Outcome, alpha: float, guardrails: int, min_units: int) -> ArmsRule:
    """How one of so many guardrails is judged: one-sided, at alpha divided by their number."""
    return ArmsRule(
        metric=outcome.metric,
        better=outcome.better,
        decide=Decide.UNLESS_WORSE,
        margin=outcome.margin,
        alpha=alpha,
        comparisons=guardrails,
        min_units=min_units,
        min_coverage=outcome.min_coverage,
    )
