"""Which of two rankers users prefer: the verdict on interleaved lists.

A unit (a user, or a request where nothing sticks) won, lost or tied. The coins that made the lists are fair and thrown
for each request, so that where clicks do not depend on who gave an item, a unit that did not tie is a fair coin too,
whatever day it came on. That is tested at every look by the sequential Dirichlet test (Lindon & Malek 2022) at 1/2.

It says a direction alone. How much the metric gains, and what a slower or dearer ranker costs, an A/B test says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from scipy.special import bdtr

from capstan.domain.reasons import Reason
from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict
from capstan.domain.verdicts.confidence import SUSPICION, mixture_scale
from capstan.domain.verdicts.quality import LOOKS_WORSE, NOT_DECIDED, Decide
from capstan.domain.verdicts.sample_ratio import log_mismatch
from capstan.errors import InvalidSpecError, Mistake

LEAST_UNITS = 20
"""Units below which no preference is worth a decision."""
CONFIRM = "a direction alone: how much is gained, an A/B test says"
_EVEN = {"champion": 0.5, "challenger": 0.5}


@dataclass(frozen=True)
class PreferenceCounts:
    """Units by what they preferred, the challenger's view."""

    wins: int = 0
    losses: int = 0
    ties: int = 0
    """Units without a click too."""

    @property
    def units(self) -> int:
        return self.wins + self.losses + self.ties

    @property
    def decided(self) -> int:
        return self.wins + self.losses

    @property
    def preference(self) -> float:
        """(wins + ties / 2) / units - 1/2, in [-1/2, 1/2]; 0 without units."""
        return (self.wins - self.losses) / (2 * self.units) if self.units else 0.0

    def __add__(self, other: PreferenceCounts) -> PreferenceCounts:
        return PreferenceCounts(self.wins + other.wins, self.losses + other.losses, self.ties + other.ties)


@dataclass(frozen=True)
class PreferenceDay:
    """Units whose first interleaved request was on one day (the system's zone) and whose window is over."""

    start: datetime
    counts: PreferenceCounts


@dataclass(frozen=True)
class ListClicks:
    """Clicks on the interleaved lists of units whose window is over, and what either ranker's own list would have got.

    A list of one ranker has the clicked item at that ranker's place. People look at place p in proportion to
    1 / log2(1 + p), as discounted cumulative gain has it, so a click counts for a ranker by its own place over the one
    where it happened.
    """

    clicks: int = 0
    squares: int = 0
    """Sum over units of their clicks squared."""
    champion: float = 0.0
    """Clicks that the champion's own lists would have got."""
    challenger: float = 0.0

    def of_unit(self, places: Iterable[tuple[int, int, int]]) -> ListClicks:
        """With one more unit; of each of its clicks the place in the list, by the champion and by the challenger."""
        clicked = list(places)
        return ListClicks(
            self.clicks + len(clicked),
            self.squares + len(clicked) ** 2,
            self.champion + math.fsum(math.log2(1 + place) / math.log2(1 + own) for place, own, _ in clicked),
            self.challenger
            + math.fsum(math.log2(1 + place) / math.log2(1 + own) for place, _, own in clicked),
        )


@dataclass(frozen=True)
class PreferenceEvidence:
    """All that is known from interleaved lists since a moment."""

    days: tuple[PreferenceDay, ...] = ()
    """In order."""
    waiting: int = 0
    """Units whose window is not over yet."""
    requests: int = 0
    """Interleaved requests of all these units."""
    alone: int = 0
    """Requests that the champion answered alone, because a ranker failed or was late: they are no evidence."""
    lost_share: float = 0.0
    """Lost payloads / (stored + lost)."""
    clicked: ListClicks = field(default_factory=ListClicks)

    @cached_property
    def counts(self) -> PreferenceCounts:
        return sum((day.counts for day in self.days), PreferenceCounts())


@dataclass(frozen=True)
class PreferenceRule:
    """How a preference decides: Better, or UnlessWorse."""

    decide: Decide = Decide.BETTER
    min_units: int = 100
    alpha: float = 0.05
    """Highest probability, over all looks, of naming either ranker where there is no preference."""
    planned_units: int = 400
    """Units with a preference after which a decision is expected; tunes the width, never the error."""
    max_lost_share: float = 0.01

    def __post_init__(self) -> None:
        checks = {
            "alpha": (self.alpha, 0 < self.alpha < 0.5, "must be above 0 and below 0.5"),
            "minUnits": (self.min_units, self.min_units >= LEAST_UNITS, f"must be at least {LEAST_UNITS}"),
            "plannedUnits": (self.planned_units, self.planned_units >= 1, "must be at least 1"),
            "decide": (
                self.decide,
                self.decide is not Decide.NOT_WORSE,
                "needs a margin, and a preference has no size that one could write; use Better or UnlessWorse",
            ),
        }
        mistakes = [
            Mistake(name, f"{value} {rule}") for name, (value, good, rule) in checks.items() if not good
        ]
        if mistakes:
            raise InvalidSpecError(mistakes)

    @property
    def strength(self) -> float:
        """Of the Dirichlet prior, whose variance is that of the t-mixture tuned to `planned_units`."""
        return 1 / mixture_scale(self.planned_units, self.alpha)

    def log_e(self, counts: PreferenceCounts) -> float:
        """ln e-value against "no preference"; reject at ln(1/alpha), at any look."""
        return log_mismatch(
            {"champion": counts.losses, "challenger": counts.wins}, _EVEN, strength=self.strength
        )

    def looks_worse(self, counts: PreferenceCounts) -> bool:
        """Whether an ordinary one-sided sign test says that users prefer the champion: a suspicion, not a proof."""
        return float(bdtr(counts.wins, counts.decided, 0.5)) <= SUSPICION

    def bounds(self, counts: PreferenceCounts) -> tuple[float, float]:
        """Bounds of the preference that hold at all looks at once; they leave out 0 when the test rejects."""
        if not counts.decided:
            return -0.5, 0.5
        found = counts.wins / counts.decided
        scale = counts.decided / counts.units
        low, high = (_edge(self, counts, found, end) for end in (0.0, 1.0))
        return scale * (low - 0.5), scale * (high - 0.5)


def judge_preference(
    evidence: PreferenceEvidence, rule: PreferenceRule, *, latched: Latch | None = None
) -> AnalysisResult:
    """The verdict of one look; pass the returned `latch` to the next look.

    The evidence is tested after every day, so that the answer depends on it and hardly on when somebody looked.
    """
    if broken := evidence_complaint(evidence):
        return AnalysisResult(Verdict.INCONCLUSIVE, "InvalidEvidence", broken, latch=latched)
    counts = evidence.counts
    numbers = _numbers(evidence, rule)
    usable = evidence.lost_share <= rule.max_lost_share
    latch = latched or (_crossed(evidence, rule) if usable else None)
    found = describe(counts, rule)
    if latch is not None and latch.verdict is Verdict.FAILED:
        message = (
            f"{rule.decide}: users prefer the champion, shown at unit {latch.block:,}; {found}; {CONFIRM}"
        )
        return AnalysisResult(Verdict.FAILED, "ChampionPreferred", message, numbers, latch=latch)
    if not usable:
        lost = f"{evidence.lost_share:.2%} of payloads were lost, at most {rule.max_lost_share:.2%} may"
        message = f"verdict withheld: {lost}"
        return AnalysisResult(Verdict.INCONCLUSIVE, "EvidenceLost", message, numbers, latch=latch)
    if latch is not None:
        message = (
            f"{rule.decide}: users prefer the challenger, shown at unit {latch.block:,}; {found}; {CONFIRM}"
        )
        return AnalysisResult(Verdict.SUCCESSFUL, "ChallengerPreferred", message, numbers, latch=latch)
    if counts.units < rule.min_units:
        message = f"too early to judge: {counts.units:,} of {rule.min_units:,} units whose window is over"
        return AnalysisResult(
            Verdict.INCONCLUSIVE, Reason.TOO_LITTLE_EVIDENCE, message, numbers, premature=True
        )
    if not counts.decided:
        message = (
            f"none of {counts.units:,} units preferred either: no events of this name, or none of these items"
        )
        return AnalysisResult(Verdict.INCONCLUSIVE, "NoPreference", message, numbers)
    if rule.decide is Decide.UNLESS_WORSE and rule.looks_worse(counts):
        message = (
            f"{rule.decide}: users seem to prefer the champion, not yet shown (an ordinary sign test at "
            f"{SUSPICION:.0%} says so): waits for more units; {found}"
        )
        return AnalysisResult(Verdict.INCONCLUSIVE, LOOKS_WORSE, message, numbers)
    if rule.decide is Decide.UNLESS_WORSE:
        message = (
            f"{rule.decide}: enough units, and the champion is not shown to be preferred; {found}; a choice of risk, "
            f"not a proof; {CONFIRM}"
        )
        return AnalysisResult(Verdict.SUCCESSFUL, "ChampionNotPreferred", message, numbers)
    return AnalysisResult(
        Verdict.INCONCLUSIVE, NOT_DECIDED, f"{rule.decide}: no preference is shown yet; {found}", numbers
    )


def evidence_complaint(evidence: PreferenceEvidence) -> str:
    """What makes it no evidence; empty: nothing does."""
    for day in evidence.days:
        if min(day.counts.wins, day.counts.losses, day.counts.ties) < 0:
            return f"negative counts of units: {day.counts}"
    if not 0 <= evidence.lost_share <= 1:
        return f"lost share {evidence.lost_share} is not a share"
    return ""


def describe(counts: PreferenceCounts, rule: PreferenceRule) -> str:
    """The counts, the preference and its bounds in one phrase."""
    lower, upper = rule.bounds(counts)
    return (
        f"of {counts.units:,} units the challenger won {counts.wins:,}, lost {counts.losses:,} and tied "
        f"{counts.ties:,}: preference {counts.preference:+.4f}, {1 - rule.alpha:.0%} bounds "
        f"[{lower:+.4f}, {upper:+.4f}] at any look (positive favours the challenger)"
    )


def _crossed(evidence: PreferenceEvidence, rule: PreferenceRule) -> Latch | None:
    counts = PreferenceCounts()
    for day in evidence.days:
        counts += day.counts
        if counts.units >= rule.min_units and rule.log_e(counts) >= -math.log(rule.alpha):
            better = counts.wins > counts.losses
            if better and rule.decide is Decide.UNLESS_WORSE:
                # Later units may still show the champion to be preferred: what is enough is not latched.
                continue
            return Latch(Verdict.SUCCESSFUL if better else Verdict.FAILED, counts.units)
    return None


def _edge(rule: PreferenceRule, counts: PreferenceCounts, inside: float, outside: float) -> float:
    """Where the Dirichlet test's e-value against a share of wins reaches 1/alpha, between the two shares."""
    limit = -math.log(rule.alpha)
    mixture = rule.log_e(counts) + counts.decided * math.log(0.5)

    def is_refused(share: float) -> bool:
        sides = ((counts.wins, share), (counts.losses, 1 - share))
        if any(count and not part for count, part in sides):
            return True
        return mixture - sum(count * math.log(part) for count, part in sides if count) >= limit

    if not is_refused(outside):
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        inside, outside = (inside, middle) if is_refused(middle) else (middle, outside)
    return outside


def _numbers(evidence: PreferenceEvidence, rule: PreferenceRule) -> Mapping[str, float]:
    counts = evidence.counts
    lower, upper = rule.bounds(counts)
    numbers = {
        "units": float(counts.units),
        "wins": float(counts.wins),
        "losses": float(counts.losses),
        "ties": float(counts.ties),
        "waiting": float(evidence.waiting),
        "requests": float(evidence.requests),
        "alone": float(evidence.alone),
        "preference": counts.preference,
        "lower": lower,
        "upper": upper,
        "log_e": rule.log_e(counts),
        "alpha": rule.alpha,
        "lost_share": evidence.lost_share,
    }
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
