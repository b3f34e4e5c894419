"""The outcomes that are compared: after cap and CUPED, with what was done to them on the way."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from capstan.domain.verdicts.experiments import UNITS_PER_SQUARED_SKEWNESS, ExperimentRule, Test
from capstan.errors import InvalidDataError
from capstan.evaluation.experiments.effects import given, moments, without_covariate
from capstan.evaluation.experiments.findings import ArmOutcome, Cuped
from capstan.evaluation.experiments.plan import ExperimentPlan
from capstan.evaluation.experiments.units import Masks, Units

Floats = npt.NDArray[np.float64]


class Outcomes:
    """Prepares the metrics of a log, and keeps what the reader is to be told."""

    def __init__(self, units: Units, plan: ExperimentPlan, rule: ExperimentRule, members: Masks) -> None:
        self._units, self._plan, self._rule, self._members = units, plan, rule, members
        self.warnings: list[str] = []
        self.by_arm: list[ArmOutcome] = []
        self.cuped: list[Cuped] = []

    def prepared(self, metric: str, found: Floats) -> Floats:
        """Outcomes after cap and CUPED; tells what was done on the way."""
        cap = self._plan.caps.get(metric)
        values = found if cap is None else np.minimum(found, cap)
        if self._rule.test is Test.PROPORTIONS:
            _require_shares_of_one(metric, values)
        for arm, mask in self._members.items():
            own = values[mask]
            there = given(values, mask)
            known = moments(there)
            outcome = ArmOutcome(
                arm=arm,
                metric=metric,
                units=known.units,
                missing=len(own) - known.units,
                capped=int((found[mask] > cap).sum()) if cap is not None else 0,
                mean=known.mean,
                variance=known.variance,
                skewness=known.skewness,
            )
            self.by_arm.append(outcome)
            self._warn_of_skew(outcome)
        if self._units.covariate is None:
            return values
        adjusted, slope = without_covariate(
            values, self._units.covariate, self._units.arm, len(self._units.arms)
        )
        before, after = (self._variance_within(one) for one in (values, adjusted))
        self.cuped.append(
            Cuped(
                metric,
                slope,
                1 - after / before if before > 0 else 0.0,
                int(np.isnan(self._units.covariate).sum()),
            )
        )
        return adjusted

    def _variance_within(self, values: Floats) -> float:
        arms = [moments(given(values, mask)) for mask in self._members.values()]
        total = sum(arm.units for arm in arms)
        return sum(arm.units * arm.variance for arm in arms) / total if total else 0.0

    def _warn_of_skew(self, outcome: ArmOutcome) -> None:
        if self._rule.test is Test.MANN_WHITNEY or not outcome.units:
            return
        needed = math.ceil(UNITS_PER_SQUARED_SKEWNESS * outcome.skewness**2)
        if self._rule.test is Test.PROPORTIONS:
            few = min(outcome.mean, 1 - outcome.mean) * outcome.units
            if few < 5:
                self.warnings.append(
                    f"{outcome.metric} of {outcome.arm}: {few:.0f} units of the rarer kind are too few for the z-test, "
                    "which needs 5"
                )
        elif outcome.units < needed:
            self.warnings.append(
                f"{outcome.metric} of {outcome.arm} is skewed ({outcome.skewness:.1f}): {needed:,} units "
                f"make its mean nearly Gaussian, and it has {outcome.units:,}; wait for more, "
                "fix a --cap before the experiment, or take MannWhitney"
            )


def _require_shares_of_one(metric: str, values: Floats) -> None:
    odd = values[np.isfinite(values) & (values != 0) & (values != 1)]
    if len(odd):
        raise InvalidDataError(
            f"--test Proportions: {metric!r} holds {len(odd):,} values that are neither 0 nor 1, such as {odd[0]:g}; "
            "take --test AlwaysValid or Welch, which compare means"
        )
