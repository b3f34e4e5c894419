"""Whether events that nobody wants, such as a return, fall on the challenger's items of interleaved lists.

Every user of an interleaved list meets both rankers, so no mean of users is one ranker's. What can be told apart are
events that name an item: they are credited to who gave it, as clicks are. Where items of both rankers draw them alike,
a unit that has more of them on one side than on the other is a fair coin, since coins decided who gave which item.

The test is one-sided and exact: the mixture of the likelihoods of all shares above the bound, by a Beta prior that is
cut off there, over the likelihood of the bound itself. Under any share up to the bound it is an e-process, so it may
be looked at after every unit, and one bad event is never an alarm.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scipy.special import betaincc, betaln

from capstan.domain.reasons import Reason
from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict
from capstan.domain.verdicts.confidence import mixture_scale
from capstan.domain.verdicts.preference import PreferenceCounts, PreferenceEvidence, evidence_complaint


@dataclass(frozen=True)
class ItemGuardrail:
    """How much oftener an event may fall on the challenger's items than on the champion's."""

    event: str
    margin: float = 0.0
    """Of the units that have more of them on one side, the challenger may have one half and so much more."""
    alpha: float = 0.05
    """Highest probability, over all looks, of an alarm at the margin itself, of all guardrails together."""
    comparisons: int = 1
    """Guardrails that share `alpha`."""
    min_units: int = 100
    """Units before the guardrail holds; an alarm does not wait for them."""
    planned_units: int = 100
    """Units with such an event on one side after which an alarm is expected; tunes the power, never the error."""
    max_lost_share: float = 0.01

    @property
    def bound(self) -> float:
        """The largest share that the challenger may have."""
        return 0.5 + self.margin

    def log_e(self, counts: PreferenceCounts) -> float:
        """ln e-value against "at most `bound` falls on the challenger"; alarm at ln(comparisons/alpha), at any look.

        A won unit is one with more of the events on the challenger's items.
        """
        return _log_e(counts.wins, counts.losses, self.bound, self._strength)

    def could_be(self, counts: PreferenceCounts) -> float:
        """The largest share of the challenger that is not refuted, at any look, by the same test turned around."""
        if not counts.decided:
            return 1.0
        inside, outside = counts.wins / counts.decided, 1.0
        for _ in range(40):
            middle = (inside + outside) / 2
            refuted = _log_e(counts.losses, counts.wins, 1 - middle, self._strength) >= self._limit
            inside, outside = (inside, middle) if refuted else (middle, outside)
        return outside

    def is_broken(self, counts: PreferenceCounts) -> bool:
        return self.log_e(counts) >= self._limit

    @property
    def _limit(self) -> float:
        return math.log(self.comparisons / self.alpha)

    @property
    def _strength(self) -> float:
        return 1 / mixture_scale(self.planned_units, self.alpha / self.comparisons)


def judge_item_guardrail(
    evidence: PreferenceEvidence, rule: ItemGuardrail, *, latched: Latch | None = None
) -> AnalysisResult:
    """Whether the challenger's items are shown to draw more of the events than they may: an alarm, latched for good."""
    if broken := evidence_complaint(evidence):
        return AnalysisResult(Verdict.INCONCLUSIVE, "InvalidEvidence", broken, latch=latched)
    counts = evidence.counts
    words, numbers = _words(rule, counts), _numbers(rule, evidence)
    named = f"guardrail at {rule.alpha:g}" + (f"/{rule.comparisons}" if rule.comparisons > 1 else "")
    usable = evidence.lost_share <= rule.max_lost_share
    latch = latched or (_alarmed(evidence, rule) if usable else None)
    if latch is not None:
        message = f"{named}: shown at unit {latch.block:,} to fall on the challenger's items; {words}"
        return AnalysisResult(Verdict.FAILED, "GuardrailAlarm", message, numbers, latch=latch)
    if not usable:
        lost = f"{evidence.lost_share:.2%} of payloads were lost, at most {rule.max_lost_share:.2%} may"
        return AnalysisResult(Verdict.INCONCLUSIVE, "EvidenceLost", f"verdict withheld: {lost}", numbers)
    if counts.units < rule.min_units:
        message = f"too early to judge: {counts.units:,} of {rule.min_units:,} units whose window is over"
        return AnalysisResult(
            Verdict.INCONCLUSIVE, Reason.TOO_LITTLE_EVIDENCE, message, numbers, premature=True
        )
    if not counts.decided:
        message = f"too early to judge: no unit has more such events on one side; {words}"
        return AnalysisResult(
            Verdict.INCONCLUSIVE, Reason.TOO_LITTLE_EVIDENCE, message, numbers, premature=True
        )
    message = f"{named}: no alarm; {words}; the true share may be as large as {rule.could_be(counts):.1%}"
    return AnalysisResult(Verdict.SUCCESSFUL, "GuardrailHolds", message, numbers)


def _alarmed(evidence: PreferenceEvidence, rule: ItemGuardrail) -> Latch | None:
    counts = PreferenceCounts()
    for day in evidence.days:
        counts += day.counts
        if rule.is_broken(counts):
            return Latch(Verdict.FAILED, counts.units)
    return None


def _log_e(above: int, below: int, bound: float, strength: float) -> float:
    """Of `above` units on the side of which at most the share `bound` is allowed, and `below` on the other."""
    a, b = strength * bound, strength * (1 - bound)

    def log_mass(x: float, y: float) -> float:
        """ln of the part above `bound` of the Beta integral."""
        part = float(betaincc(x, y, bound))
        return float(betaln(x, y)) + math.log(part) if part > 0 else -math.inf

    mixture = log_mass(a + above, b + below) - log_mass(a, b)
    return mixture - above * math.log(bound) - below * math.log1p(-bound)


def _words(rule: ItemGuardrail, counts: PreferenceCounts) -> str:
    share = (
        f" ({counts.wins / counts.decided:.1%} of these, at most {rule.bound:.1%} may)"
        if counts.decided
        else ""
    )
    return (
        f"of {counts.units:,} units {counts.wins:,} had more {rule.event} on the challenger's items and "
        f"{counts.losses:,} on the champion's{share}"
    )


def _numbers(rule: ItemGuardrail, evidence: PreferenceEvidence) -> Mapping[str, float]:
    counts = evidence.counts
    numbers = {
        "units": float(counts.units),
        "challenger": float(counts.wins),
        "champion": float(counts.losses),
        "bound": rule.bound,
        "log_e": rule.log_e(counts),
        "alpha": rule.alpha,
        "lost_share": evidence.lost_share,
    }
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
