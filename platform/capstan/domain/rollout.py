"""What a rollout is: its file policy, its request, where it stands, and the traffic that follows from that."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NewType

from capstan.domain.digest import UNDIGESTED
from capstan.domain.moving_weights import MovedWeights
from capstan.domain.steps.step import BLOCK, Step, step_span
from capstan.domain.traffic import TrafficSplit, champion_only
from capstan.domain.triggers import Trigger
from capstan.domain.verdicts.analysis import Latch
from capstan.domain.verdicts.guardrails import OperationPolicy
from capstan.domain.verdicts.own_queries import QueryRule
from capstan.domain.verdicts.quality import QualityRule
from capstan.domain.versions import NOBODY, ModelVersion, SystemName, VersionName, fresh_copy

RolloutName = NewType("RolloutName", str)


class OnLimit(StrEnum):
    """What a rollout does when verdicts stay away."""

    HOLD = "Hold"
    ABORT = "Abort"


@dataclass(frozen=True)
class Limits:
    """How many counted looks of one kind a step bears."""

    failures: int = 0
    """Failed looks that are allowed; one more rolls back."""
    inconclusive: int = 5
    """Inconclusive looks that are allowed once the minimum evidence is in; of those at the same blocks one counts."""
    errors: int = 4
    """Looks in a row without a measurement that are allowed."""
    on_inconclusive: OnLimit = OnLimit.HOLD
    on_error: OnLimit = OnLimit.HOLD


@dataclass(frozen=True)
class RolloutPolicy:
    """What the file says about rollouts."""

    steps: tuple[Step, ...]
    rules: Mapping[str, QualityRule]
    """By the analysis' name; minima of evidence come from the step."""
    queries: Mapping[str, QueryRule] = field(default_factory=dict)
    """By the query's name."""
    operation: OperationPolicy = field(default_factory=OperationPolicy)
    limits: Limits = Limits()
    progress_deadline: timedelta = timedelta(minutes=5)
    """Wall time."""
    look_interval: timedelta = timedelta(seconds=10)
    """System's clock between two looks that count towards a limit."""
    revision_history_limit: int = 5
    losses: Mapping[str, float] = field(default_factory=dict)
    """What the objective states about its losses: evidence that was counted by other losses is none."""
    label_delay: timedelta = field(default=timedelta(0), metadata=UNDIGESTED)
    """Longest time that a label takes; a day block closes by it at the latest. Only what is told rests on it."""
    block: timedelta = field(default=BLOCK, metadata=UNDIGESTED)
    """How long a block of paired requests takes; 0: blocks are so many requests, however long they take."""
    has_labels: bool = field(default=True, metadata=UNDIGESTED)
    """Whether the file names a label. Only what is told rests on it."""
    digest: str = ""
    """Of everything above but the label delay; a rollout that began under another digest starts again."""

    def of(self, request: RolloutRequest) -> RolloutPolicy:
        """The policy with the names of the run's runners-up, which nobody knows when the file is read.

        Whoever looks at the steps of a certain rollout asks for this first.
        """
        return self.with_runners_up(request.runners_up)

    def with_runners_up(self, names: Sequence[VersionName]) -> RolloutPolicy:
        """The policy with these runners-up in the order of their ranks; those that are missing have stand-ins."""
        return replace(self, steps=tuple(step.with_runners_up(names) for step in self.steps))


def outlook(policy: RolloutPolicy, now: datetime) -> str:
    """What will be decided by which rule, and when at the earliest, told beforehand; empty without steps."""
    if not policy.steps:
        return ""
    rules = [
        f"{analysis} is decided by {rule.decide} from {rule.least_blocks} closed blocks on"
        for step in policy.steps
        for analysis, rule in step.rules(policy).items()
    ]
    rules += [promise for step in policy.steps if (promise := step.promise(policy))]
    if not policy.has_labels and not rules:
        rules = ["no label says which answers are right, so errors and latency decide"]
    spans = [step_span(policy, step) for step in policy.steps]
    soonest = now + sum((span.soonest for span in spans), timedelta(0))
    latest = now + sum((span.latest for span in spans), timedelta(0))
    needs = [
        f"step {index} waits for {minima}"
        for index, step in enumerate(policy.steps, 1)
        if (minima := _minima(policy, step))
    ]
    return "; ".join([*rules, _ends(policy, now, soonest, latest), *needs])


def _ends(policy: RolloutPolicy, now: datetime, soonest: datetime, latest: datetime) -> str:
    """When the steps end at the earliest, in words."""
    is_one = len(policy.steps) == 1
    takes = "its only step takes" if is_one else f"its {len(policy.steps)} steps take"
    last = f"{latest:%Y-%m-%d %H:%M} UTC if labels come as late as they may,"
    waits = " and a person's approval" if any(step.approval for step in policy.steps) else ""
    if soonest == now and policy.block <= timedelta(0):
        until = f", until {last}" if latest > soonest else ""
        return (
            f"{takes} as long as {'its' if is_one else 'their'} requests take to come{until}{waits} or longer"
        )
    until = f", {last}" if latest > soonest else ""
    return f"{takes} until {soonest:%Y-%m-%d %H:%M} UTC{until}{waits} or longer"


def _minima(policy: RolloutPolicy, step: Step) -> str:
    rules = step.rules(policy).values()
    requests = max([step.min_requests, *(rule.min_requests for rule in rules)])
    labels = max((rule.min_labels for rule in rules), default=0)
    counts = [(requests, "requests"), (labels, "labelled pairs")]
    return " and ".join(f"{count:,} {noun}" for count, noun in counts if count > 1)


class RolloutCause(StrEnum):
    FIRST = "First"
    """The first deployment: no champion to protect, no steps, not a promotion."""
    CHALLENGER = "Challenger"
    UNDO = "Undo"
    """A person goes back to an older version: no steps, counted as a rollback."""


@dataclass(frozen=True)
class RolloutRequest:
    """Everything a rollout is asked for; never changes."""

    name: RolloutName
    system: SystemName
    cause: RolloutCause
    challenger: ModelVersion
    champion: ModelVersion | None
    """The version it runs against and rolls back to; None for the first deployment."""
    trigger: Trigger | None = None
    """The trigger of the training run; None where a person asked."""
    others: tuple[ModelVersion, ...] = ()
    """Versions that take part besides champion and challenger: those that steps name, as far as the registry knows
    them, and the runners-up of the run that passed its gates."""
    runners_up: tuple[VersionName, ...] = ()
    """All runners-up of the run that made the challenger, the best first."""
    kept_out: Mapping[VersionName, str] = field(default_factory=dict)
    """Those of them that did not pass the gates, with the gates in words."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Candidates that the run could not make runners-up, with the reason."""

    @property
    def contenders(self) -> tuple[ModelVersion, ...]:
        """Every version that may replace the champion, the challenger first."""
        return (self.challenger, *self.others)


class RolloutPhase(StrEnum):
    DEPLOYING = "Deploying"
    PROGRESSING = "Progressing"
    PROMOTING = "Promoting"
    ROLLING_BACK = "RollingBack"
    PROMOTED = "Promoted"
    ROLLED_BACK = "RolledBack"

    @property
    def is_final(self) -> bool:
        return self in (RolloutPhase.PROMOTED, RolloutPhase.ROLLED_BACK)


@dataclass(frozen=True)
class LatestVerdict:
    """The last judgement of one analysis, for the page."""

    outcome: str
    message: str
    at: datetime


@dataclass(frozen=True)
class StepSpan:
    """When a step that is over was measured."""

    step: int
    since: datetime
    until: datetime
    """System's clock."""
    moves: tuple[MovedWeights, ...] = ()
    """The weights that a bandit gave its arms."""
    split: TrafficSplit | None = None
    """The traffic that flowed at its end; None: there was none yet."""
    latest: Mapping[str, LatestVerdict] = field(default_factory=dict)
    """How its questions were answered at its last look."""


@dataclass(frozen=True)
class RolloutState:
    """Where a rollout stands; the truth behind traffic and aliases."""

    phase: RolloutPhase = RolloutPhase.DEPLOYING
    step: int = 0
    started_at: datetime | None = None
    """System's clock."""
    deploying_since: datetime | None = None
    """Wall time since when a challenger that is not ready is waited for; readiness is an operational matter."""
    step_since: datetime | None = None
    """System's clock, from the moment the gateway obeyed the step's split; None: not yet."""
    step_since_wall: datetime | None = None
    routing_since: datetime | None = None
    """Wall time since when the router of the step is waited for; None: it draws the requests, or there is none."""
    policy_digest: str = ""
    """Of the policy the rollout goes by; a change restarts it at step 0."""
    restarts: int = 0
    failures: int = 0
    inconclusive: int = 0
    """Counted once per closed block where the verdict is on blocks, else once per look."""
    withheld_at: Mapping[str, int] = field(default_factory=dict)
    """Closed blocks at the last look that withheld a verdict, by the analysis' name."""
    errors: int = 0
    """Looks in a row at which evidence could not be had."""
    looked_at: datetime | None = None
    """System's clock at the last counted look."""
    held: str = ""
    """Reason of the present hold; empty while it progresses."""
    waiting: str = ""
    """What the last look left to wait for; empty before the first."""
    message: str = ""
    approved_steps: tuple[int, ...] = ()
    latest: Mapping[str, LatestVerdict] = field(default_factory=dict)
    """By the analysis' name, `operation` and `split` included."""
    latches: Mapping[str, Latch] = field(default_factory=dict)
    why: str = ""
    """Why it was promoted or rolled back."""
    handled: tuple[str, ...] = ()
    """Ids of the commands that it has followed."""
    finished_at: datetime | None = None
    corrections: int = 0
    """How often the split was found changed and was put back."""
    crashes: int = 0
    """How often the challenger was lost after it had been ready."""
    winner: VersionName = NOBODY
    """The version that won a step against the challenger and goes on in its place; empty: the challenger goes on."""
    spans: tuple[StepSpan, ...] = ()
    """Of the steps that are over."""
    forecasts: tuple[str, ...] = ()
    """How long its experiments take with units as they were, told when it began."""
    moves: tuple[MovedWeights, ...] = ()
    """The weights of a step that moves them, from its beginning on; the last ones hold. Empty: it has not moved any."""
    left: Mapping[VersionName, str] = field(default_factory=dict)
    """Further versions that take no part, or no longer, with the reason."""
    vacant: tuple[VersionName, ...] = ()
    """Of those the ones that left while the step counted units: the champion answers theirs, so that no other moves."""

    @classmethod
    def at_step(cls, step: int) -> RolloutState:
        """A rollout in the midst of the step."""
        return cls(phase=RolloutPhase.PROGRESSING, step=step)


def rollout_name(
    system: SystemName, champion: VersionName | None, challenger: VersionName, attempt: int
) -> RolloutName:
    """The same pair and attempt always give the same name, so asking twice starts one rollout."""
    digest = hashlib.sha256(f"{system}\n{champion or ''}\n{challenger}\n{attempt}".encode()).hexdigest()
    return RolloutName(f"{system}-{challenger}-{digest[:8]}")


def contender(request: RolloutRequest, state: RolloutState) -> ModelVersion:
    """The version that replaces the champion if nothing stops it: the winner of a step, else the challenger."""
    return next((version for version in request.others if version.name == state.winner), request.challenger)


def arms_of(
    request: RolloutRequest, state: RolloutState, steps: tuple[Step, ...]
) -> tuple[ModelVersion, ...]:
    """Further versions that the present step needs, without those that left."""
    if state.phase is not RolloutPhase.PROGRESSING or state.step >= len(steps):
        return ()
    flowing = flowing_step(steps, state.step)
    named = flowing.others if flowing is not None else ()
    known = {version.name: version for version in request.others}
    return tuple(
        known[name] for name in named if name in known and name != state.winner and name not in state.left
    )


def copy_of(request: RolloutRequest, state: RolloutState, steps: tuple[Step, ...]) -> ModelVersion | None:
    """The fresh copy of the champion that the present step needs; None: it needs none."""
    if state.phase is not RolloutPhase.PROGRESSING or state.step >= len(steps) or request.champion is None:
        return None
    flowing = flowing_step(steps, state.step)
    return fresh_copy(request.champion) if flowing is not None and flowing.needs_copy else None


def wanted_split(
    request: RolloutRequest, state: RolloutState, steps: tuple[Step, ...]
) -> TrafficSplit | None:
    """The traffic that follows from where the rollout stands; None: leave it as it is (no champion yet)."""
    if state.phase in (RolloutPhase.PROMOTING, RolloutPhase.PROMOTED):
        return champion_only(contender(request, state).name)
    if request.champion is None:
        return None
    alone = champion_only(request.champion.name)
    if state.phase is not RolloutPhase.PROGRESSING:
        return alone
    for step in reversed(steps[: state.step + 1]):
        split = step.split(request.champion.name, contender(request, state).name, request.name, state)
        if split is not None:
            return split
    return alone


def flowing_step(steps: tuple[Step, ...], index: int) -> Step | None:
    """The step whose traffic flows: during a pause the one before it; None if there is none yet."""
    return next((step for step in reversed(steps[: index + 1]) if step.sets_traffic), None)
