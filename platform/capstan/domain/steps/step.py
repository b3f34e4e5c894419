"""What a rollout asks of each of its steps.

A step is a frozen dataclass whose fields are named like those of the file's grammar. All that the loop, the page and
the command line know of a step is what it answers here, so a new kind of step is one module and one line in `STEPS`.
`capstan.testing.check_step` holds a member to this.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Self

from capstan.domain.durations import in_words
from capstan.domain.steps.questions import QueryQuestion, Question, StepEvidence
from capstan.domain.traffic import TrafficSplit
from capstan.domain.verdicts.guardrails import OperationPolicy
from capstan.domain.verdicts.quality import QualityRule
from capstan.domain.versions import VersionName

if TYPE_CHECKING:
    from capstan.domain.rollout import RolloutPolicy, RolloutState

STAND_IN = "runner-up"
"""Begins the name that stands for a runner-up that is not there: `runner-up 2`."""
BLOCK = timedelta(days=1)
"""Length of the blocks on which quality is judged."""


@dataclass(frozen=True)
class Span:
    """How long something takes on the system's clock at the least."""

    soonest: timedelta
    """If every label comes at once."""
    latest: timedelta
    """If labels come as late as they may."""


@dataclass(frozen=True)
class Station:
    """Where a kind of step stands in the picture of the loop."""

    name: str
    """One word, such as `Shadow`."""
    icon: str
    """An SVG path in a box of 20 by 20."""
    doing: str
    """What happens there, as the page says it: `the challenger answers copies`."""


class Step(ABC):
    """One step of a rollout."""

    name: ClassVar[str]
    """Its key in the file, such as `shadow`."""
    station: ClassVar[Station | None] = None
    """None: the picture stays at the station of the step before."""
    sets_traffic: ClassVar[bool] = True
    """False: the traffic of the step before goes on."""
    keeps_evidence: ClassVar[bool] = True
    """Whether what was measured still counts once the challenger was lost and came back."""

    @property
    def duration(self) -> timedelta | None:
        """The least time that the step takes; None: it ends by a person's approval alone."""
        return timedelta(0)

    @property
    def deadline(self) -> timedelta | None:
        """Without a verdict by then, `limits.onInconclusive` decides; None: no deadline."""
        return None

    @property
    def min_requests(self) -> int:
        """Requests before anything is decided."""
        return 0

    @property
    def share(self) -> str:
        """The challenger's share of the requests in a few characters, such as `25 %`; empty: it has none of its own."""
        return ""

    @property
    def approval(self) -> str:
        """Why a person must approve before the step ends, told while it waits; empty: it ends by itself."""
        return ""

    @property
    def others(self) -> tuple[VersionName, ...]:
        """Versions that get requests in this step besides champion and challenger, as far as their names are known."""
        return ()

    @property
    def needs_copy(self) -> bool:
        """Whether a fresh copy of the champion gets requests too, with which the challenger's operation is compared."""
        return False

    def with_runners_up(self, names: Sequence[VersionName]) -> Self:
        """The step with these versions as the runners-up that it asks for; most steps ask for none."""
        return self

    @abstractmethod
    def split(
        self, champion: VersionName, challenger: VersionName, salt: str, state: RolloutState
    ) -> TrafficSplit | None:
        """The traffic of this step; the same arguments give the same split. None: that of the step before.

        `salt` is the rollout's name, which draws other users for each rollout. Weights that move live in `state`.
        Arms of `others` that left stand in `state.left`; the champion gets their share. Those of them that stand in
        `state.vacant` had units: they stay as vacant arms, so that no unit of another arm moves.
        """

    def rules(self, policy: RolloutPolicy) -> Mapping[str, QualityRule]:
        """The rules by which the step judges quality, by the analysis' name, with the step's own minima."""
        return {}

    def questions(
        self, policy: RolloutPolicy, split: TrafficSplit, state: RolloutState
    ) -> tuple[Question, ...]:
        """What must be answered with yes before the step ends, besides guardrails and split, which always hold.

        `split` is the traffic that flows, `state` where the rollout stands.
        """
        return ()

    def promise(self, policy: RolloutPolicy) -> str:
        """By which rule the step decides, told before it begins; empty: by none of its own."""
        return ""

    def first_outcome(self, policy: RolloutPolicy) -> timedelta:
        """Time from the step's start at which the first evidence counts."""
        return timedelta(0)

    def guardrails(self, policy: RolloutPolicy) -> OperationPolicy:
        """The file's guardrails with the step's own minimum of requests."""
        return replace(policy.operation, min_requests=max(self.min_requests, 1))

    def needed_blocks(self, policy: RolloutPolicy) -> int:
        """Closed blocks without which the step does not end."""
        return max((rule.least_blocks for rule in self.rules(policy).values()), default=0)

    def needed_pairs(self, policy: RolloutPolicy) -> int:
        """Paired requests without which the step does not end."""
        return max((rule.min_requests for rule in self.rules(policy).values()), default=0)

    def needed_labels(self, policy: RolloutPolicy) -> int:
        """Labelled pairs without which the step does not end."""
        return max((rule.min_labels for rule in self.rules(policy).values()), default=0)

    def moved(self, state: RolloutState, evidence: StepEvidence) -> RolloutState:
        """The state after a look at the evidence, for steps whose weights move; most steps leave it as it is."""
        return state

    def without(
        self,
        arm: VersionName,
        champion: VersionName,
        challenger: VersionName,
        state: RolloutState,
        at: datetime,
    ) -> RolloutState:
        """The state once the arm has left while units were counted, for steps whose weights move."""
        return state

    def describe(self) -> str:
        """The step in a few words, such as `canary 25 %`."""
        return f"{self.name} {self.share}" if self.share else self.name

    def progress(self, since: datetime | None, now: datetime) -> str:
        """How far the step is, such as `1.5 d of 2 d`; `since` None: it is not the present one."""
        return elapsed(since, self.duration or timedelta(0), now)


def runners_up_of(names: Sequence[VersionName], asked: int) -> tuple[VersionName, ...]:
    """As many of the names as are asked for, and stand-ins for those that are missing."""
    missing = (VersionName(f"{STAND_IN} {rank}") for rank in range(len(names) + 1, asked + 1))
    return (*names[:asked], *missing)


def own_queries(names: Sequence[str], policy: RolloutPolicy) -> tuple[Question, ...]:
    """The questions of a step that asks for these queries of the file."""
    return tuple(QueryQuestion(name, policy.queries[name]) for name in names)


def step_span(policy: RolloutPolicy, step: Step) -> Span:
    """How long the step lasts at the least: its duration, or the blocks that verdicts need.

    Minima of requests and labels may make it longer; how much rests on the traffic.
    """
    duration = step.duration or timedelta(0)
    blocks = step.needed_blocks(policy)
    closed = blocks_span(blocks, policy.label_delay, policy.block)
    first = step.first_outcome(policy)
    return Span(max(duration, first, closed.soonest), max(duration, first, closed.latest))


def blocks_span(blocks: int, label_delay: timedelta, block: timedelta = BLOCK) -> Span:
    """Until so many blocks are closed: a block closes once its labels are in, at the latest by their delay."""
    soonest = blocks * block
    return Span(soonest, soonest + label_delay if blocks else soonest)


def elapsed(since: datetime | None, duration: timedelta, now: datetime) -> str:
    """`1.5 d of 2 d`, or the duration alone where nothing has begun."""
    if since is None:
        return in_words(duration)
    return f"{in_words(min(max(now - since, timedelta(0)), duration))} of {in_words(duration)}"


def passed(since: datetime | None, deadline: timedelta | None, now: datetime, *, least: str) -> str:
    """`day 3 of ≤ 14`; where the deadline is no number of whole days `1.5 min of ≤ 10 min`.

    `least`: what the step needs at the least, such as `7 blocks`; it is told where nothing has begun.
    """
    if since is None:
        return f"≥ {least}"
    if deadline is not None and deadline % BLOCK:
        return f"{in_words(max(now - since, timedelta(0)))} of ≤ {in_words(deadline)}"
    return f"day {(now - since).days + 1}" + (f" of ≤ {deadline.days}" if deadline else "")
