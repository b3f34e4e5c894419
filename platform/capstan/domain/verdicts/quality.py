"""Whether a challenger predicts well enough: the verdict on paired losses.

The method is a t-mixture confidence sequence over closed blocks, so a look after every block keeps the stated
error. The first crossing of a bound is latched: later blocks do not undo it.

`UnlessWorse` passes without a crossing, so it asks one thing more: the blocks must not look worse. At seven blocks the
bound of the sequence is 1.57 standard deviations wide, and a challenger that is worse by one of them would pass in
nine cases of ten. So while an ordinary one-sided t test at 10 % calls the challenger worse by more than the margin,
the verdict is Inconclusive. Repeated looks inflate that test, which is why it rejects nobody: it only withholds a pass,
and both bounds keep their alpha. What is truly worse is shown so in the end; what is not recovers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import count

from capstan.domain.reasons import Reason
from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict
from capstan.domain.verdicts.blocks import MAX_AUTOCORRELATION, BlockSums, residuals, skewness
from capstan.domain.verdicts.confidence import (
    SUSPICION,
    log_e_value,
    one_sided_radius,
    suspicion_radius,
    two_sided_radius,
)
from capstan.domain.verdicts.evidence import CLOSED_COVERAGE, LossBlock, PairedEvidence
from capstan.domain.verdicts.intervals import interval, is_open
from capstan.domain.verdicts.merging import MergedBlocks, describe_spell, merge_as_needed
from capstan.domain.verdicts.refusals import judge_refused_answers
from capstan.errors import InvalidSpecError, Mistake

NOT_DECIDED = "NotDecided"
"""Reason of a look at enough sound evidence that shows neither side yet."""
LOOKS_WORSE = "LooksWorse"
"""Reason of a look at enough sound evidence that suggests harm and does not show it: `UnlessWorse` waits."""
LEAST_BLOCKS = 7
"""Below seven closed blocks no bound is worth a decision (at six it is barely finite)."""


class Decide(StrEnum):
    """Who carries the burden of proof, in analyses and gates; named as the field of the file."""

    BETTER = "Better"
    """The challenger must be shown better by more than `minimumEffect`."""
    NOT_WORSE = "NotWorse"
    """The challenger must be shown not worse by `margin` or more."""
    UNLESS_WORSE = "UnlessWorse"
    """With enough evidence the challenger passes unless shown worse by more than `margin`: a choice of risk.

    It waits while it looks worse, see `QualityRule.looks_worse`.
    """


OWN_LOSS = "loss"
"""Stands for the loss that a task is compared by where nobody names one."""


@dataclass(frozen=True)
class QualityRule:
    """How paired losses decide; thresholds are loss per request, positive differences favour the challenger."""

    decide: Decide
    metric: str = OWN_LOSS
    margin: float = 0.0
    """Loss per request by which the challenger may be worse."""
    minimum_effect: float = 0.0
    """Loss per request by which it must be better; used by Better alone."""
    alpha: float = 0.05
    """Error of each wrong decision, a promotion and a rejection, at its threshold; of both together under Better."""
    min_blocks: int = LEAST_BLOCKS
    min_requests: int = 0
    """Paired requests, labelled or not."""
    min_labels: int = 0
    """Labelled pairs."""
    planned_blocks: int = 14
    """Blocks after which a decision is expected; tunes the width, never the error."""
    max_lost_share: float = 0.01
    """Above this share of lost payloads the verdict is withheld."""
    min_coverage: float = 0.8
    """Below this labelled share the verdict is withheld."""

    def __post_init__(self) -> None:
        checks = {
            "margin": (self.margin, self.margin >= 0, "must be at least 0"),
            "minimumEffect": (self.minimum_effect, self.minimum_effect >= 0, "must be at least 0"),
            "alpha": (self.alpha, 0 < self.alpha <= 0.5, "must be above 0 and at most 0.5"),
            "minBlocks": (
                self.min_blocks,
                self.min_blocks >= LEAST_BLOCKS,
                f"must be at least {LEAST_BLOCKS}",
            ),
            "plannedBlocks": (self.planned_blocks, self.planned_blocks >= 1, "must be at least 1"),
        }
        mistakes = [
            Mistake(name, f"{value} {rule}") for name, (value, holds, rule) in checks.items() if not holds
        ]
        if mistakes:
            raise InvalidSpecError(mistakes)

    @property
    def promote_above(self) -> float:
        """The lower bound must be above this difference to promote (UnlessWorse promotes without)."""
        return self.minimum_effect if self.decide is Decide.BETTER else -self.margin

    @property
    def reject_below(self) -> float:
        """The upper bound must be below this difference to reject."""
        return -self.margin

    @property
    def least_units(self) -> int:
        """Independent units, single blocks or merged ones, before which nothing is decided."""
        return next(n for n in count(LEAST_BLOCKS) if math.isfinite(self.radius(n)))

    @property
    def is_two_sided(self) -> bool:
        """Better shares one alpha between both verdicts: two equal models are called either in at most that share."""
        return self.decide is Decide.BETTER

    @property
    def least_blocks(self) -> int:
        """Blocks before which nothing is decided: the minimum, or later where no bound is finite yet."""
        return next(n for n in count(self.min_blocks) if math.isfinite(self.radius(n)))

    def radius(self, blocks: int) -> float:
        """Radius in standard deviations after so many independent blocks."""
        if self.is_two_sided:
            return two_sided_radius(blocks, planned_units=self.planned_blocks, alpha=self.alpha)
        return one_sided_radius(blocks, planned_units=self.planned_blocks, alpha=self.alpha)

    @property
    def two_sided_alpha(self) -> float:
        """Of an interval whose bounds each decide at `alpha`, or both together under Better."""
        return self.alpha if self.is_two_sided else min(2 * self.alpha, 1.0)

    def bounds(self, merged: MergedBlocks) -> tuple[float, float]:
        """Of the true difference; infinite where nothing bounds it yet."""
        return merged.bounds(self.radius(merged.sums.blocks), self.two_sided_alpha)

    def looks_worse(self, sums: BlockSums) -> bool:
        """Whether an ordinary t test of independent blocks calls the challenger worse by more than `margin`.

        It is a suspicion, not a proof: at `SUSPICION` it suspects one equal challenger in ten at a first look.
        """
        return sums.is_below(self.reject_below, suspicion_radius(sums.blocks))


def judge_quality(
    evidence: PairedEvidence, rule: QualityRule, *, latched: Latch | None = None
) -> AnalysisResult:
    """The verdict of one look; pass the returned `latch` to the next look.

    Every prefix of the closed blocks is tested, so the answer depends on the blocks and not on when somebody
    looked. Only shown crossings are latched: UnlessWorse's "enough evidence and not worse" may still become Failed, and
    its "looks worse" is the answer of all closed blocks alone, whatever earlier looks said.
    """
    broken = _broken_evidence(evidence, latched)
    if broken is not None:
        return broken
    merged, crossed = _walk(evidence, rule)
    sums = merged.sums
    latch = latched or crossed
    numbers = _numbers(evidence, rule, merged)
    found = _describe(rule, merged)
    if latch is not None and latch.verdict is Verdict.FAILED:
        shown = f"shown worse by more than {rule.margin:g} {rule.metric} at block {latch.block}"
        message = f"{rule.decide}: {shown}; {found}"
        return AnalysisResult(Verdict.FAILED, "ShownWorse", message, numbers, latch=latch)
    withheld = _withheld(evidence, rule, merged, numbers, latch)
    if withheld is not None:
        return withheld
    if latch is not None and rule.decide is Decide.BETTER:
        shown = f"shown better by more than {rule.minimum_effect:g} {rule.metric} at block {latch.block}"
        message = f"{rule.decide}: {shown}; {found}"
        return AnalysisResult(Verdict.SUCCESSFUL, "ShownBetter", message, numbers, latch=latch)
    if latch is not None:
        message = (
            f"{rule.decide}: shown not worse by {rule.margin:g} {rule.metric} at block {latch.block}; {found}"
        )
        return AnalysisResult(Verdict.SUCCESSFUL, "ShownNotWorse", message, numbers, latch=latch)
    if rule.decide is Decide.UNLESS_WORSE and rule.looks_worse(sums):
        message = (
            f"{rule.decide}: looks worse by more than {rule.margin:g} {rule.metric}, not yet shown (an ordinary t test "
            f"at {SUSPICION:.0%} says so): waits for more blocks; {found}"
        )
        return AnalysisResult(Verdict.INCONCLUSIVE, LOOKS_WORSE, message, numbers)
    if rule.decide is Decide.UNLESS_WORSE:
        message = (
            f"{rule.decide}: enough evidence and not shown worse by more than {rule.margin:g} {rule.metric}; {found}; "
            f"a choice of risk, not a proof: {_missed(rule, merged)}"
        )
        return AnalysisResult(Verdict.SUCCESSFUL, "NotShownWorse", message, numbers)
    message = f"{rule.decide}: needs a lower bound above {rule.promote_above:+g} {rule.metric}; {found}"
    return AnalysisResult(Verdict.INCONCLUSIVE, NOT_DECIDED, message, numbers)


def merged_blocks(evidence: PairedEvidence, rule: QualityRule) -> MergedBlocks:
    """The units that the verdict goes by after the last closed block."""
    last = MergedBlocks()
    for last in merge_as_needed(evidence.blocks, least=rule.least_units):  # noqa: B007
        pass
    return last


def _walk(evidence: PairedEvidence, rule: QualityRule) -> tuple[MergedBlocks, Latch | None]:
    merged, labels, latch = MergedBlocks(), 0, None
    least_blocks = rule.least_blocks
    usable = evidence.lost_share <= rule.max_lost_share and evidence.paired_requests >= rule.min_requests
    labelled = [block for block in evidence.blocks if block.count]
    for block, merged in zip(labelled, merge_as_needed(labelled, least=rule.least_units), strict=True):
        labels += block.count
        enough = merged.closed >= least_blocks and labels >= rule.min_labels
        if latch is not None or not usable or not enough:
            continue
        radius, alpha = rule.radius(merged.sums.blocks), rule.two_sided_alpha
        # What is clearly worse is stopped though nothing says yet that it could be promoted.
        may_reject = merged.is_independent or merged.size > 1
        may_promote = merged.is_independent and rule.decide is not Decide.UNLESS_WORSE
        if may_reject and merged.is_below(rule.reject_below, radius, alpha):
            latch = Latch(Verdict.FAILED, merged.closed)
        elif may_promote and merged.is_above(rule.promote_above, radius, alpha):
            latch = Latch(Verdict.SUCCESSFUL, merged.closed)
    return merged, latch


def _broken_evidence(evidence: PairedEvidence, latched: Latch | None) -> AnalysisResult | None:
    blocks = {"blocks": float(len(evidence.blocks))}
    if evidence.nonfinite_answers > 0:
        return AnalysisResult(
            Verdict.FAILED,
            "NonFiniteAnswers",
            f"the challenger answered {evidence.nonfinite_answers:,} requests with NaN, infinity or out of range",
            {"nonfinite_answers": float(evidence.nonfinite_answers)},
            latch=latched,
        )
    refusing = judge_refused_answers(evidence)
    if refusing is not None:
        return replace(refusing, latch=latched)
    for block in evidence.blocks:
        if not math.isfinite(block.loss_difference) or block.count < 0 or not 0 <= block.coverage <= 1:
            return AnalysisResult(
                Verdict.INCONCLUSIVE,
                "InvalidEvidence",
                f"block of {block.start.isoformat()}: loss difference {block.loss_difference}, count {block.count}, "
                f"coverage {block.coverage} is not evidence",
                blocks,
                latch=latched,
            )
    if not math.isfinite(evidence.lost_share) or not 0 <= evidence.lost_share <= 1:
        return AnalysisResult(
            Verdict.INCONCLUSIVE,
            "InvalidEvidence",
            f"lost share {evidence.lost_share} is not a share",
            blocks,
            latch=latched,
        )
    return None


def _withheld(
    evidence: PairedEvidence,
    rule: QualityRule,
    merged: MergedBlocks,
    numbers: dict[str, float],
    latch: Latch | None,
) -> AnalysisResult | None:
    if evidence.lost_share > rule.max_lost_share:
        return AnalysisResult(
            Verdict.INCONCLUSIVE,
            "EvidenceLost",
            f"verdict withheld: {evidence.lost_share:.2%} of payloads were lost, at most {rule.max_lost_share:.2%} may",
            numbers,
            latch=latch,
        )
    short = [
        f"{have:,} of {need:,} {what}"
        for have, need, what in (
            (merged.closed, rule.least_blocks, "closed blocks"),
            (evidence.paired_requests, rule.min_requests, "paired requests"),
            (evidence.labelled_pairs, rule.min_labels, "labelled pairs"),
        )
        if have < need
    ]
    if latch is None and not merged.is_independent:
        needed = (merged.closed // rule.least_units + 1) * rule.least_units
        short.append(
            f"{merged.closed:,} of {needed:,} closed blocks, as neighbouring blocks go together (lag-1 autocorrelation "
            f"{merged.single:+.2f}, at most {MAX_AUTOCORRELATION:g} may be), so that they must be merged"
        )
    if not merged.closed and evidence.labelled_pairs >= max(rule.min_labels, 1):
        short.append(
            f"a block closes once {CLOSED_COVERAGE:.0%} of its labels are in, or when none may come any more; "
            f"{evidence.labelled_pairs:,} of {evidence.paired_requests:,} pairs have one"
        )
    if latch is None and not short and is_open(*rule.bounds(merged)):
        # Nothing could have been shown worse.
        short.append(f"{merged.closed:,} closed blocks bound no difference yet")
    if short:
        return AnalysisResult(
            Verdict.INCONCLUSIVE,
            Reason.TOO_LITTLE_EVIDENCE,
            "too early to judge: " + ", ".join(short),
            numbers,
            premature=True,
            latch=latch,
        )
    if numbers["coverage"] < rule.min_coverage:
        return AnalysisResult(
            Verdict.INCONCLUSIVE,
            "CoverageTooLow",
            f"verdict withheld: {numbers['coverage']:.1%} of the requests in closed blocks have labels, "
            f"needs {rule.min_coverage:.0%}",
            numbers,
            latch=latch,
        )
    return None


def _coverage(blocks: tuple[LossBlock, ...]) -> float:
    used = [block for block in blocks if block.count]
    if any(block.coverage == 0 for block in used) or not used:
        return 0.0
    return sum(block.count for block in used) / math.fsum(block.count / block.coverage for block in used)


def _numbers(evidence: PairedEvidence, rule: QualityRule, merged: MergedBlocks) -> dict[str, float]:
    sums = merged.sums
    lower, upper = rule.bounds(merged)
    numbers = {
        "blocks": float(merged.closed),
        "units": float(sums.blocks),
        "merged_blocks": float(merged.size),
        "autocorrelation": merged.single,
        "paired_requests": float(evidence.paired_requests),
        "labelled_pairs": float(evidence.labelled_pairs),
        "difference": sums.difference,
        "lower": lower,
        "upper": upper,
        "spread": sums.spread,
        "skewness": skewness(residuals(evidence.blocks)),
        "coverage": _coverage(evidence.blocks),
        "lost_share": evidence.lost_share,
        "clipped_share": evidence.clipped_share,
        "alpha": rule.alpha,
        "margin": rule.margin,
        "minimum_effect": rule.minimum_effect,
        "log_e_promote": _log_e(rule, sums, rule.promote_above, 1),
        "log_e_reject": _log_e(rule, sums, rule.reject_below, -1),
    }
    if evidence.disagreement is not None:
        numbers["disagreement"] = evidence.disagreement
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _log_e(rule: QualityRule, sums: BlockSums, threshold: float, sign: int) -> float:
    t = sign * sums.t_statistic(threshold)
    if not math.isfinite(t):
        return math.inf
    return log_e_value(sums.blocks, t, planned_units=rule.planned_blocks, alpha=rule.alpha)


def _describe(rule: QualityRule, merged: MergedBlocks) -> str:
    lower, upper = rule.bounds(merged)
    sides = "two-sided" if rule.is_two_sided else "one-sided"
    if is_open(lower, upper):
        needs = rule.least_units
        wait = f", waits for {needs - merged.sums.blocks} more" if merged.sums.blocks < needs else ""
        told = f"nothing bounds the {rule.metric} difference yet over {merged.sums.blocks} of {needs} blocks{wait}"
        return "; ".join(part for part in (told, merged.describe()) if part)
    told = (
        f"{rule.metric} difference {merged.sums.difference:+.4f} per request over {merged.closed} blocks, "
        f"{sides} {100 * (1 - rule.alpha):.4g}% bounds {interval(lower, upper, '+.4f')} "
        "(positive favours the challenger)"
    )
    alone = merged.sums.bounds(rule.radius(merged.sums.blocks))
    spell = describe_spell(alone, (lower, upper), "+.4f")
    return "; ".join(part for part in (told, merged.describe(), spell) if part)


def _missed(rule: QualityRule, merged: MergedBlocks) -> str:
    lower = rule.bounds(merged)[0]
    if math.isinf(lower):
        return "nothing bounds yet how much worse the challenger may be"
    if lower >= 0:
        return "nothing worse than the champion fits these blocks"
    return f"a challenger truly worse by up to {-lower:.4f} per request could look like this"
