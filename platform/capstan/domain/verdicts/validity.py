"""Whether an experiment may be trusted at all: what else than the sample ratio freezes its verdicts.

Each function returns None where there is nothing to say, and else a Failed result for `freeze_on_mismatch`. All may be
asked at every look: their chance of a false alarm holds at all looks together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from capstan.domain.verdicts.analysis import AnalysisResult, Verdict
from capstan.domain.verdicts.confidence import log_bayes_factor
from capstan.domain.verdicts.experiments import ArmMoments
from capstan.domain.verdicts.sample_ratio import MISMATCH_ALPHA, judge_sample_ratio

MOST_CROSSED = 0.01
"""Share of units in two arms above which an experiment is not trusted."""


def judge_crossing(crossed: int, units: int) -> AnalysisResult | None:
    """Whether too many of all `units` were seen in two arms; `crossed` counts them."""
    if crossed <= MOST_CROSSED * units:
        return None
    return AnalysisResult(
        Verdict.FAILED,
        "CrossedUnits",
        f"{crossed:,} of {units:,} units ({crossed / units:.1%}) were seen in two arms, at most {MOST_CROSSED:.0%} "
        "may: assignment is not sticky",
        {"crossed_share": crossed / units},
    )


def judge_covariate(
    covariate: Mapping[str, ArmMoments],
    *,
    control: str,
    planned_units: int,
    alpha: float = MISMATCH_ALPHA,
) -> AnalysisResult | None:
    """Whether a covariate from before assignment differs between arms, which it cannot if it is one.

    By the t-mixture of its means in each arm against `control`, `alpha` for all of them together.
    """
    base = covariate[control]
    others = {arm: known for arm, known in covariate.items() if arm != control}
    for arm, known in others.items():
        if min(base.units, known.units) < 2:
            continue
        error = math.sqrt(base.variance / base.units + known.variance / known.units)
        if not error:
            continue
        level = alpha / len(others)
        t = (known.mean - base.mean) / error
        log_e = log_bayes_factor(base.units + known.units, t, planned_units=planned_units, alpha=level)
        if log_e >= -math.log(level):
            return AnalysisResult(
                Verdict.FAILED,
                "CovariateDiffers",
                f"the covariate's mean is {known.mean:.4g} in {arm} and {base.mean:.4g} in {control} "
                f"(t-mixture at {level:g}): it was measured after assignment, or assignment is not random",
                {"log_e": log_e},
            )
    return None


def judge_outcomes(
    given: Mapping[str, int], assigned: Mapping[str, int], *, metric: str
) -> AnalysisResult | None:
    """Whether arms lack outcomes unevenly: units with an outcome must fall into arms as all units do.

    Whatever lost the outcomes of one arm also biases the effect. `assigned` counts units that should have an outcome
    by now, in each arm; `given` those of them that have one.
    """
    result = judge_sample_ratio({arm: given.get(arm, 0) for arm in assigned}, assigned)
    if result.verdict is not Verdict.FAILED:
        return None
    return replace(
        result,
        reason="OutcomesMissing",
        message=f"arms lack outcomes of {metric} unevenly: of the units with an outcome {result.message}",
    )
