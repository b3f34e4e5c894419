"""Whether a person's own query of Prometheus is as the file asks.

The step's time is cut into intervals from its beginning; the query is measured at the end of each. So the verdict
depends on the measurements and not on when somebody looked, and one that was counted is not counted again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from string import Template

from capstan.domain.reasons import Reason
from capstan.domain.verdicts.analysis import AnalysisResult, Latch, Verdict
from capstan.domain.verdicts.conditions import Condition
from capstan.domain.verdicts.evidence import QueryEvidence


@dataclass(frozen=True)
class QueryRule:
    """What a query must answer; at least one condition is there."""

    promql: str
    """With `$champion`, `$challenger` and `$system` in place of names."""
    success_when: Condition | None = None
    """None: a measurement that does not fail is a success."""
    failure_when: Condition | None = None
    """None: a measurement that is no success is a failure."""
    interval: timedelta = timedelta(minutes=1)
    measurements: int = 5
    """With data, before the query can pass."""
    failures: int = 0
    """Failed measurements that are allowed; one more rolls back."""

    def verdict(self, value: float) -> Verdict:
        """What one finite value says."""
        if self.failure_when is not None and self.failure_when.holds(value):
            return Verdict.FAILED
        if self.success_when is None or self.success_when.holds(value):
            return Verdict.SUCCESSFUL
        return Verdict.FAILED if self.failure_when is None else Verdict.INCONCLUSIVE


def with_names(promql: str, *, champion: str, challenger: str, system: str) -> str:
    """The query with names in place of `$champion`, `$challenger` and `$system`."""
    return Template(promql).safe_substitute(champion=champion, challenger=challenger, system=system)


def judge_query(evidence: QueryEvidence, rule: QueryRule, *, latched: Latch | None = None) -> AnalysisResult:
    """The verdict on all measurements since the step began; the newest one decides whether it passes.

    No data, NaN and infinity say nothing: such a measurement is Inconclusive and never a pass. More failures than are
    borne are latched.
    """
    numbers = {"measurements": float(evidence.asked)}
    if evidence.series > 1:
        message = f"the query answers {evidence.series} series and must answer one; sum() or max() them"
        return AnalysisResult(Verdict.INCONCLUSIVE, "SeveralSeries", message, numbers, latch=latched)
    judged = [(each, rule.verdict(each.value)) for each in evidence.measurements]
    failed = [each for each, verdict in judged if verdict is Verdict.FAILED]
    if latched is not None or len(failed) > rule.failures:
        latch = latched or Latch(Verdict.FAILED, evidence.asked)
        worst = f"; last {failed[-1].value:g} at {failed[-1].at:%Y-%m-%d %H:%M:%S} UTC" if failed else ""
        borne = f"at most {rule.failures} may" if rule.failures else "none may"
        message = f"{len(failed):,} of {len(judged):,} measurements failed ({borne}; {_told(rule)}){worst}"
        return AnalysisResult(Verdict.FAILED, "QueryFailed", message, numbers, latch=latch)
    if evidence.asked < rule.measurements or (judged and len(judged) < rule.measurements):
        message = f"too early to judge: {len(judged):,} of {rule.measurements:,} measurements"
        result = (Verdict.INCONCLUSIVE, Reason.TOO_LITTLE_EVIDENCE, message, numbers)
        return AnalysisResult(*result, premature=evidence.asked < rule.measurements)
    if not judged or judged[-1][0].at != evidence.newest:
        message = "no data: the newest measurement has no finite value, which says nothing"
        return AnalysisResult(Verdict.INCONCLUSIVE, "NoData", message, numbers)
    newest, verdict = judged[-1]
    numbers |= {"result": newest.value}
    counted = f"{newest.value:g} at the last of {len(judged):,} measurements ({_told(rule)})"
    if failed:
        counted += f"; {len(failed):,} failed, {rule.failures:,} may"
    if verdict is Verdict.SUCCESSFUL:
        return AnalysisResult(verdict, "QueryHolds", counted, numbers)
    return AnalysisResult(
        Verdict.INCONCLUSIVE, "QueryUnclear", f"neither success nor failure: {counted}", numbers
    )


def _told(rule: QueryRule) -> str:
    parts = [
        f"{word} when {condition}"
        for word, condition in (("success", rule.success_when), ("failure", rule.failure_when))
        if condition is not None
    ]
    return ", ".join(parts)
