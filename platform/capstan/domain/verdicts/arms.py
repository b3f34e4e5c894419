"""What an experiment's arms decide: which version wins, whether a guardrail alarms, and the sentence that says so.

Differences are told so that positive favours the arm, whichever way its metric improves. The first crossing of a
bound is latched, and so is what freezes an experiment for good.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Protocol

from capstan.domain.reasons import Reason
from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict
from capstan.domain.verdicts.arm_effects import (
    Covariate,
    covariate_of,
    day_blocks,
)
from capstan.domain.verdicts.confidence import (
    SUSPICION,
    one_sided_radius,
    suspicion_radius,
    two_sided_radius,
)
from capstan.domain.verdicts.evidence import ArmsEvidence, ArmSums
from capstan.domain.verdicts.experiments import (
    LEAST_UNITS,
    ArmMoments,
    Better,
    Test,
    is_skewed,
    mann_whitney,
    proportions,
    welch,
)
from capstan.domain.verdicts.intervals import interval, is_open
from capstan.domain.verdicts.merging import MergedBlocks, describe_spell
from capstan.domain.verdicts.quality import LEAST_BLOCKS, LOOKS_WORSE, NOT_DECIDED, Decide
from capstan.domain.verdicts.sample_ratio import freeze_on_mismatch, judge_sample_ratio
from capstan.domain.verdicts.skewness import LARGEST_SKEWNESS
from capstan.domain.verdicts.validity import judge_covariate, judge_crossing, judge_outcomes
from capstan.domain.versions import VersionName

PLANNED_BLOCKS = 14
"""Day blocks after which a decision is expected; tunes the width, never the error."""


@dataclass(frozen=True)
class ArmsRule:
    """How arms decide; thresholds are in the metric's unit, per unit of the experiment."""

    metric: str
    better: Better = Better.LOWER
    decide: Decide = Decide.BETTER
    test: Test = Test.ALWAYS_VALID
    margin: float = 0.0
    """By how much an arm may be worse; of MannWhitney in shares of pairs of units, above one half, that it wins."""
    minimum_effect: float = 0.0
    """By how much it must be better; used by Better alone."""
    alpha: float = 0.05
    """Error of each wrong decision, a promotion and a rejection; of both together under Better."""
    comparisons: int = 1
    """Comparisons that may be called different together: arms against the champion, times metrics."""
    min_units: int = LEAST_UNITS
    """Units with an outcome, of the champion and an arm together, before anything is decided."""
    planned_units: int = 5000
    """Of the champion and an arm together, after which a decision is expected; tunes the width, never the error."""
    by_days: bool = False
    """Whole days of units are the units of the test, merged until neighbours are not correlated."""
    has_covariate: bool = False
    min_coverage: float = 0.0
    """Below this share of closed units with an outcome the verdict is withheld."""
    max_lost_share: float = 0.01

    @property
    def level(self) -> float:
        """Alpha of one comparison (Bonferroni)."""
        return self.alpha / self.comparisons

    @property
    def is_two_sided(self) -> bool:
        """Better shares one alpha between both verdicts: two equal arms are called either in at most that share."""
        return self.decide is Decide.BETTER

    @property
    def one_look_alpha(self) -> float:
        """Of the two-sided interval of a test of one look, one bound of which may decide alone."""
        return self.level if self.is_two_sided else 2 * self.level

    @property
    def promote_above(self) -> float:
        """The lower bound must be above this to win (UnlessWorse wins without)."""
        return self.minimum_effect if self.decide is Decide.BETTER else -self.margin

    @property
    def sign(self) -> int:
        return 1 if self.better is Better.HIGHER else -1

    @property
    def named(self) -> str:
        """The rule in words."""
        several = f" (alpha/{self.comparisons} each)" if self.comparisons > 1 else ""
        looks = "at any look" if self.test is Test.ALWAYS_VALID else "at one look, fixed beforehand"
        return f"{self.decide} by {self.test} at {self.alpha:g}{several} {looks}"

    def radius(self, units: int, planned: int) -> float:
        """In standard deviations of a unit, of the always-valid test."""
        one = two_sided_radius if self.is_two_sided else one_sided_radius
        return one(units, planned_units=planned, alpha=self.level)

    def bounds_by_days(self, days: MergedBlocks) -> tuple[float, float]:
        """Of the true difference; infinite while no length makes groups of days independent."""
        if not days.is_independent:
            return -math.inf, math.inf
        return days.bounds(self.radius(days.sums.blocks, PLANNED_BLOCKS), self.one_look_alpha)


@dataclass(frozen=True)
class _Suspicion(ArmsRule):
    """The same rule by the bounds of one ordinary look: an arm that it calls worse only looks worse."""

    def radius(self, units: int, planned: int) -> float:  # noqa: ARG002
        return suspicion_radius(units)

    def bounds_by_days(self, days: MergedBlocks) -> tuple[float, float]:
        return days.sums.bounds(self.radius(days.sums.blocks, PLANNED_BLOCKS))


@dataclass(frozen=True)
class ArmBounds:
    """An arm against the champion; positive favours the arm."""

    arm: VersionName
    difference: float
    lower: float
    upper: float
    units: int
    """With an outcome, of both."""
    blocks: int | None = None
    """Blocks of days that the bounds rest on; None: they rest on units."""
    block_days: int = 1
    """Days of a block."""
    lag_one: float | None = None
    """Lag-1 autocorrelation of days; None: days are no units of the test."""
    skewness: float | None = None
    """Of the difference; None: that of the arms' totals."""

    are_independent: bool = True
    """False: at no length that leaves enough blocks are neighbours uncorrelated."""
    alone: tuple[float, float] | None = None
    """The bounds if no spell could look like these days; None: they rest on units."""

    @property
    def has_unbounded_days(self) -> bool:
        """Whether its days are enough for a bound and have none."""
        few = self.blocks is None or (self.blocks < LEAST_BLOCKS and self.are_independent)
        return not few and is_open(self.lower, self.upper)

    def is_better(self, rule: ArmsRule) -> bool:
        return self.lower > rule.promote_above

    def is_worse(self, rule: ArmsRule) -> bool:
        return self.upper < -rule.margin


class Comparison(Protocol):
    """Another way to compare arms than by their totals: that of arms whose shares moved."""

    def ratio(self, evidence: ArmsEvidence) -> AnalysisResult:
        """Whether the arms hold the units that they should."""
        ...

    def bounds(
        self, evidence: ArmsEvidence, rule: ArmsRule, champion: VersionName, arm: VersionName
    ) -> ArmBounds:
        """The arm against the champion."""
        ...


def bounds_of(
    evidence: ArmsEvidence, rule: ArmsRule, champion: VersionName, arm: VersionName, covariate: Covariate
) -> ArmBounds:
    """The arm's difference from the champion with its bounds; infinite where the evidence cannot bound it."""
    control, other = evidence.total(champion), evidence.total(arm)
    units = control.units + other.units
    if rule.by_days:
        days = day_blocks(evidence, champion, arm, covariate, sign=rule.sign)
        sums = days.sums
        lower, upper = rule.bounds_by_days(days)
        return ArmBounds(
            arm,
            sums.difference,
            lower,
            upper,
            units,
            blocks=sums.blocks,
            block_days=days.size,
            lag_one=days.single,
            are_independent=days.is_independent,
            alone=sums.bounds(rule.radius(sums.blocks, PLANNED_BLOCKS)),
        )
    if min(control.units, other.units) < 2:
        # Units of one arm alone are no evidence of a difference: a least number of units would be met by them.
        return ArmBounds(arm, 0.0, -math.inf, math.inf, 0)
    skewness = None
    if rule.test is Test.MANN_WHITNEY:
        ranks = evidence.ranks.get(arm)
        if ranks is None:
            return ArmBounds(arm, 0.0, -math.inf, math.inf, 0)
        found = mann_whitney(ranks, alpha=rule.one_look_alpha)
        difference, low, high = found.difference, found.lower, found.upper
        # Ranks have no tails.
        skewness = 0.0
    else:
        difference, low, high = _interval(rule, covariate.moments(control), covariate.moments(other))
    if rule.better is Better.LOWER:
        difference, low, high = 0.0 - difference, -high, -low
    return ArmBounds(arm, difference, low, high, units, skewness=skewness)


def _compared(
    evidence: ArmsEvidence,
    rule: ArmsRule,
    champion: VersionName,
    arm: VersionName,
    covariate: Covariate,
    comparison: Comparison | None,
) -> ArmBounds:
    """By `comparison` where shares moved, else by totals."""
    if comparison is not None:
        return comparison.bounds(evidence, rule, champion, arm)
    return bounds_of(evidence, rule, champion, arm, covariate)


def _interval(rule: ArmsRule, control: ArmMoments, arm: ArmMoments) -> tuple[float, float, float]:
    """Arm less champion in the metric's own direction."""
    if rule.test is not Test.ALWAYS_VALID:
        one_look = proportions if rule.test is Test.PROPORTIONS else welch
        effect = one_look(control, arm, alpha=rule.one_look_alpha)
        return effect.difference, effect.lower, effect.upper
    difference = arm.mean - control.mean
    error = math.sqrt(control.variance / control.units + arm.variance / arm.units)
    units = control.units + arm.units
    bounded = error and not is_skewed(control, arm)
    radius = rule.radius(units, rule.planned_units) * math.sqrt(units) * error if bounded else math.inf
    return difference, difference - radius, difference + radius


def judge_arms(
    evidence: ArmsEvidence,
    rule: ArmsRule,
    weights: Mapping[VersionName, int],
    *,
    latched: Latch | None = None,
    comparison: Comparison | None = None,
) -> AnalysisResult:
    """Which arm wins, by `weights` in the split's order, the champion first; pass the returned latch to the next look.

    `comparison`: of arms whose shares moved; a unit may meet a second arm there, which is no fault.

    Failed: every arm is shown worse. Inconclusive with a latch: no later look will give a verdict, because the arms
    have the wrong sizes, or the one look of a fixed horizon decided nothing.

    `UnlessWorse` waits while the best arm looks worse, as for a challenger in a shadow step. By a test of one look it
    does not: no later look could say more, and the level that was stated is that of an ordinary test already.
    """
    champion, *arms = weights
    totals = {version: evidence.total(version) for version in weights}
    broken = _broken(evidence, totals)
    if broken:
        return AnalysisResult(Verdict.INCONCLUSIVE, "InvalidEvidence", broken, latch=latched)
    frozen = _frozen(rule, evidence, totals, weights, latched, comparison)
    if frozen is not None:
        return frozen
    covariate = covariate_of(list(totals.values())) if rule.has_covariate else Covariate()

    def bounded(arm: VersionName, by: ArmsRule) -> ArmBounds:
        return _compared(evidence, by, champion, arm, covariate, comparison)

    found = [bounded(arm, rule) for arm in arms]
    numbers = _numbers(evidence, totals, found, covariate, rule)
    words = _words(rule, champion, found, covariate)
    if latched is not None and latched.verdict is Verdict.FAILED:
        message = f"{rule.named}: every arm was shown worse after {latched.block:,} units; {words}"
        return AnalysisResult(Verdict.FAILED, "ShownWorse", message, numbers, latch=latched)
    withheld = _withheld(rule, evidence, champion, totals, found, latched)
    if withheld is not None:
        return replace(withheld, numbers=numbers, latch=latched)
    if latched is None or latched.verdict is not Verdict.SUCCESSFUL:
        latched = _crossed(rule, found)
    if latched is not None:
        return _latched_result(rule, found, numbers, words, latched)
    if rule.decide is Decide.UNLESS_WORSE:
        best = max((one for one in found if not one.is_worse(rule)), key=lambda one: one.difference)
        if rule.test is Test.ALWAYS_VALID and bounded(best.arm, _Suspicion(**vars(rule))).is_worse(rule):
            message = (
                f"{rule.named}: {best.arm} looks worse by more than {rule.margin:g}, not yet shown (an ordinary t test "
                f"at {SUSPICION:.0%} says so): waits for more units; {words}"
            )
            return AnalysisResult(Verdict.INCONCLUSIVE, LOOKS_WORSE, message, numbers)
        message = (
            f"{rule.named}: enough units and {best.arm} is not shown worse by more than {rule.margin:g}; {words}; "
            f"a choice of risk, not a proof: {_could_be_worse(best)}"
        )
        return AnalysisResult(Verdict.SUCCESSFUL, "NotShownWorse", message, numbers, arm=best.arm)
    worse = [one.arm for one in found if one.is_worse(rule)] if rule.test is Test.ALWAYS_VALID else []
    gaps = ", ".join(
        f"{one.lower:+.4g} to {one.upper:+.4g} of {one.arm}"
        for one in found
        if not is_open(one.lower, one.upper)
    )
    message = f"{rule.named}: not decided; {words}"
    if gaps:
        message += f"; it may have missed a true difference from {gaps}"
    latch = None
    if rule.test is not Test.ALWAYS_VALID:
        message += "; there was one look, and no later one counts"
        latch = Latch(Verdict.INCONCLUSIVE, max(one.units for one in found), reason=NOT_DECIDED)
    if worse:
        message = f"{', '.join(worse)} shown worse by more than {rule.margin:g}; {message}"
    return AnalysisResult(
        Verdict.INCONCLUSIVE, NOT_DECIDED, message, numbers, latch=latch, given_up=tuple(worse)
    )


def judge_guardrail(
    evidence: ArmsEvidence,
    rule: ArmsRule,
    champion: VersionName,
    arm: VersionName,
    *,
    latched: Latch | None = None,
    comparison: Comparison | None = None,
) -> AnalysisResult:
    """Whether the arm is shown worse than the champion by more than the margin: an alarm, latched for good.

    `rule` is one-sided (UnlessWorse). Its sample ratio is not asked: evidence of harm stops an arm in any case. It
    does not wait for what only looks worse: no arm wins by a guardrail, and of several one in ten would look so.
    """
    totals = {version: evidence.total(version) for version in (champion, arm)}
    broken = _broken(evidence, totals)
    if broken:
        return AnalysisResult(Verdict.INCONCLUSIVE, "InvalidEvidence", broken, latch=latched)
    found = _compared(evidence, rule, champion, arm, Covariate(), comparison)
    words = _words(rule, champion, [found], Covariate())
    numbers = _numbers(evidence, totals, [found], Covariate(), rule)
    rule_words = f"guardrail at {rule.alpha:g}"
    if rule.comparisons > 1:
        rule_words += f"/{rule.comparisons}"
    if latched is not None and latched.verdict is Verdict.FAILED:
        message = (
            f"{rule_words}: {arm} was shown worse by more than {rule.margin:g} after {latched.block:,} units"
        )
        return AnalysisResult(Verdict.FAILED, "GuardrailAlarm", f"{message}; {words}", numbers, latch=latched)
    withheld = _withheld(rule, evidence, champion, totals, [found])
    if withheld is not None:
        return replace(withheld, numbers=numbers)
    if found.is_worse(rule):
        latch = Latch(Verdict.FAILED, found.units)
        message = f"{rule_words}: {arm} is shown worse by more than {rule.margin:g}; {words}"
        return AnalysisResult(Verdict.FAILED, "GuardrailAlarm", message, numbers, latch=latch)
    message = f"{rule_words}: no alarm; {words}; {_could_be_worse(found)}"
    return AnalysisResult(Verdict.SUCCESSFUL, "GuardrailHolds", message, numbers)


def _broken(evidence: ArmsEvidence, totals: Mapping[VersionName, ArmSums]) -> str:
    for version, sums in totals.items():
        values = {field.name: getattr(sums, field.name) for field in fields(sums)}
        for name, value in values.items():
            if not math.isfinite(value):
                return f"{name} of {version} is {value}: not evidence"
        if not 0 <= sums.units <= sums.closed <= sums.assigned or sums.covariate_known > sums.units:
            counts = f"{sums.units} with an outcome of {sums.closed} closed of {sums.assigned}"
            return f"units of {version}: {counts}: not evidence"
    if not 0 <= evidence.lost_share <= 1:
        return f"lost share {evidence.lost_share} is not a share"
    return ""


def _frozen(
    rule: ArmsRule,
    evidence: ArmsEvidence,
    totals: Mapping[VersionName, ArmSums],
    weights: Mapping[VersionName, int],
    latched: Latch | None,
    comparison: Comparison | None,
) -> AnalysisResult | None:
    """An experiment that is invalid, now or since an earlier look; None: it is not."""
    assigned = {str(version): sums.assigned for version, sums in totals.items()}
    total = sum(assigned.values())
    wanted = {str(version): weight for version, weight in weights.items()}
    ratio = comparison.ratio(evidence) if comparison else judge_sample_ratio(assigned, wanted)
    if latched is not None and latched.verdict is Verdict.INCONCLUSIVE:
        if latched.reason == NOT_DECIDED:
            message = f"{rule.named}: its one look, at {latched.block:,} units, did not decide"
        else:
            message = f"verdict frozen at {latched.block:,} units, the experiment is invalid ({latched.reason}); now "
            message += ratio.message
        return AnalysisResult(Verdict.INCONCLUSIVE, latched.reason, message, latch=latched)
    champion = next(iter(weights))
    checks: list[AnalysisResult | None] = [ratio]
    if total >= LEAST_UNITS and comparison is None:
        checks.append(judge_crossing(evidence.crossed, total))
    if rule.min_coverage:
        closed = {str(version): sums.closed for version, sums in totals.items()}
        given = {str(version): sums.units for version, sums in totals.items()}
        if all(closed.values()):
            checks.append(judge_outcomes(given, closed, metric=rule.metric))
    if rule.has_covariate:
        known = {str(version): _covariate_moments(sums) for version, sums in totals.items()}
        checks.append(judge_covariate(known, control=str(champion), planned_units=rule.planned_units))
    nothing = AnalysisResult(Verdict.SUCCESSFUL, "", "")
    result = freeze_on_mismatch(nothing, *checks)
    if result.verdict is Verdict.SUCCESSFUL:
        return None
    numbers = {f"assigned_{version}": float(count) for version, count in assigned.items()}
    latch = Latch(Verdict.INCONCLUSIVE, total, reason=result.reason)
    return replace(result, numbers=numbers, latch=latch)


def _covariate_moments(sums: ArmSums) -> ArmMoments:
    known = sums.covariate_known
    if known < 2:
        return ArmMoments(known, 0.0, 0.0)
    mean = sums.covariate / known
    variance = max(sums.covariate_squares - sums.covariate * mean, 0.0) / (known - 1)
    return ArmMoments(known, mean, variance)


def _withheld(
    rule: ArmsRule,
    evidence: ArmsEvidence,
    champion: VersionName,
    totals: Mapping[VersionName, ArmSums],
    found: list[ArmBounds],
    latched: Latch | None = None,
) -> AnalysisResult | None:
    bad = {version: count for version, count in evidence.nonfinite_answers.items() if count}
    if bad:
        counts = ", ".join(f"{count:,} of {version}" for version, count in sorted(bad.items()))
        return _inconclusive(
            "NonFiniteAnswers", f"verdict withheld: answers with NaN, infinity or out of range: {counts}"
        )
    if evidence.lost_share > rule.max_lost_share:
        lost = f"{evidence.lost_share:.2%} of payloads were lost, at most {rule.max_lost_share:.2%} may"
        return _inconclusive("EvidenceLost", f"verdict withheld: {lost}")
    if evidence.too_many_values:
        return _inconclusive(
            "TooManyValues",
            f"verdict withheld: units have too many distinct outcomes of {rule.metric} to be ranked; "
            "test: FixedHorizon compares their means",
        )
    short = [
        f"{one.units:,} of {rule.min_units:,} units of {champion} and {one.arm}"
        + _lacking(totals, champion, one)
        for one in found
        if one.units < rule.min_units
    ]
    short += [
        f"{one.blocks} of {LEAST_BLOCKS} closed days of {one.arm}"
        for one in found
        if one.blocks is not None and one.blocks < LEAST_BLOCKS and one.are_independent
    ]
    if latched is None:
        # What was shown once is kept, whatever the days since then say of each other.
        short += [_unbounded_days(one) for one in found if one.has_unbounded_days]
    if short:
        return _early("too early to judge: " + ", ".join(short))
    closed, units = (
        sum(sums.closed for sums in totals.values()),
        sum(sums.units for sums in totals.values()),
    )
    if units < rule.min_coverage * closed:
        covered = f"{units / closed:.1%} of the closed units have an outcome, needs {rule.min_coverage:.0%}"
        return _inconclusive("CoverageTooLow", f"verdict withheld: {covered}")
    if rule.by_days:
        return None
    for one in found:
        control, arm = (Covariate().moments(totals[version]) for version in (champion, one.arm))
        skewed = is_skewed(control, arm) if one.skewness is None else abs(one.skewness) > LARGEST_SKEWNESS
        if skewed:
            return _early(
                f"too early to judge: outcomes of {rule.metric} are so skewed (skewness {control.skewness:.1f}) that "
                f"{one.units:,} units of {champion} and {one.arm} are too few; equal weights need fewer"
            )
    return None


def _unbounded_days(one: ArmBounds) -> str:
    """Why no bound is finite though there are days enough."""
    if not one.are_independent:
        return f"days of {one.arm} go together however many are merged (lag-1 autocorrelation {one.lag_one:+.2f})"
    return f"{one.blocks} days or groups of days of {one.arm} bound no difference yet"


def _lacking(totals: Mapping[VersionName, ArmSums], champion: VersionName, one: ArmBounds) -> str:
    """Which of the two has too few units for any comparison; empty: neither."""
    both = totals[champion].units, totals[one.arm].units
    if one.units or min(both) >= 2:
        return ""
    return f" (with an outcome {both[0]:,} and {both[1]:,}; each needs 2)"


def _inconclusive(reason: str, message: str) -> AnalysisResult:
    return AnalysisResult(Verdict.INCONCLUSIVE, reason, message)


def _early(message: str) -> AnalysisResult:
    return AnalysisResult(Verdict.INCONCLUSIVE, Reason.TOO_LITTLE_EVIDENCE, message, premature=True)


def _crossed(rule: ArmsRule, found: list[ArmBounds]) -> Latch | None:
    if all(one.is_worse(rule) for one in found):
        return Latch(Verdict.FAILED, max(one.units for one in found))
    if rule.decide is Decide.UNLESS_WORSE:
        return None
    better = [one for one in found if one.is_better(rule)]
    if not better:
        return None
    best = max(better, key=lambda one: one.lower)
    return Latch(Verdict.SUCCESSFUL, best.units, arm=best.arm)


def _latched_result(
    rule: ArmsRule, found: list[ArmBounds], numbers: Mapping[str, float], words: str, latch: Latch
) -> AnalysisResult:
    if latch.verdict is Verdict.FAILED:
        shown = "it is shown worse" if len(found) == 1 else "every arm is shown worse"
        message = f"{rule.named}: {shown} by more than {rule.margin:g}; {words}"
        return AnalysisResult(Verdict.FAILED, "ShownWorse", message, numbers, latch=latch)
    best = next(one for one in found if one.arm == latch.arm)
    least = max(best.lower, rule.promote_above)
    if rule.decide is Decide.BETTER:
        shown = (
            f"{latch.arm} was shown better by more than {rule.minimum_effect:g} after {latch.block:,} units"
        )
        reason, missed = "ShownBetter", f"the true gain may be as small as {least:.4g}"
    else:
        shown = f"{latch.arm} was shown not worse by {rule.margin:g} after {latch.block:,} units"
        reason = "ShownNotWorse"
        missed = f"it may truly be worse by up to {-least:.4g}" if least < 0 else "it is no worse"
    message = f"{rule.named}: {shown}; {words}; {missed}"
    return AnalysisResult(Verdict.SUCCESSFUL, reason, message, numbers, latch=latch, arm=latch.arm)


def _unknown(rule: ArmsRule, champion: VersionName, one: ArmBounds) -> str:
    """What is waited for while nothing bounds the arm's difference."""
    if one.has_unbounded_days:
        lack = f"{_unbounded_days(one)}, waits for more days"
    elif one.blocks is not None:
        lack = f"waits for closed days, of which {one.blocks} of {LEAST_BLOCKS} are there"
    elif one.units < rule.min_units:
        missing = rule.min_units - one.units
        lack = f"waits for {missing:,} more of {rule.min_units:,} units with an outcome, of both versions"
    else:
        lack = f"outcomes of its {one.units:,} units are all alike or too skewed, waits for units that differ"
    return f"nothing is known yet of {rule.metric} of {one.arm} against {champion}: {lack}"


def _could_be_worse(one: ArmBounds) -> str:
    if math.isinf(one.lower):
        return f"nothing bounds yet how much worse {one.arm} may be"
    if one.lower >= 0:
        return f"no {one.arm} worse than the champion fits these units"
    return f"a {one.arm} truly worse by up to {-one.lower:.4g} could look like this"


def _words(rule: ArmsRule, champion: VersionName, found: list[ArmBounds], covariate: Covariate) -> str:
    sides = "two-sided" if rule.is_two_sided else "one-sided"
    parts = []
    for one in found:
        over, lag_one = f"{one.units:,} units", one.lag_one or 0.0
        if one.blocks is not None:
            blocks = "day blocks" if one.block_days == 1 else f"blocks of {one.block_days} days"
            over += f" in {one.blocks} {blocks} (lag-1 autocorrelation of days {lag_one:+.2f})"
        unit = "per unit" if rule.test is not Test.MANN_WHITNEY else "of the pairs of units above one half"
        if is_open(one.lower, one.upper):
            parts.append(_unknown(rule, champion, one))
            continue
        spell = describe_spell(one.alone, (one.lower, one.upper), "+.4g") if one.alone else ""
        parts.append(
            f"{rule.metric} of {one.arm} against {champion} {one.difference:+.4g} {unit} over {over}, {sides} "
            f"{100 * (1 - rule.level):.4g}% bounds {interval(one.lower, one.upper)}"
            + (f"; {spell}" if spell else "")
        )
    told = "; ".join(parts)
    if not all(is_open(one.lower, one.upper) for one in found):
        told += " (positive favours the arm)"
    if covariate.explained:
        told += f"; the covariate takes away {covariate.explained:.0%} of the variance"
    return told


def _numbers(
    evidence: ArmsEvidence,
    totals: Mapping[VersionName, ArmSums],
    found: list[ArmBounds],
    covariate: Covariate,
    rule: ArmsRule,
) -> dict[str, float]:
    numbers = {
        "crossed": float(evidence.crossed),
        "lost_share": evidence.lost_share,
        "clipped_share": evidence.clipped_share,
        "explained": covariate.explained,
        "margin": rule.margin,
        "minimum_effect": rule.minimum_effect,
    }
    for version, sums in totals.items():
        numbers |= {f"assigned_{version}": float(sums.assigned), f"units_{version}": float(sums.units)}
    for one in found:
        numbers |= {
            f"difference_{one.arm}": one.difference,
            f"alpha_{one.arm}": rule.level,
            f"lower_{one.arm}": one.lower,
            f"upper_{one.arm}": one.upper,
        }
        if one.blocks is not None and one.lag_one is not None:
            numbers |= {"blocks": float(one.blocks), "lag_one": one.lag_one, "block_days": one.block_days}
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
