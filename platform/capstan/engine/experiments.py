"""Turns the file's experiments into steps: what each metric is, and when a unit's outcome by it is known."""

from __future__ import annotations

from datetime import timedelta

from capstan.domain.steps.experiment import ExperimentStep, Outcome
from capstan.domain.traffic import Arm, Weight
from capstan.domain.verdicts.experiments import Better, Test
from capstan.domain.verdicts.quality import Decide
from capstan.domain.versions import VersionName
from capstan.spec import MLSystem
from capstan.spec.experiment import ONE_REQUEST, STICKING, Experiment

_TESTS = {
    "AlwaysValid": Test.ALWAYS_VALID,
    "FixedHorizon": Test.WELCH,
    "MannWhitney": Test.MANN_WHITNEY,
}


def experiment_step(written: Experiment, system: MLSystem) -> ExperimentStep:
    """The step as the loop goes by it."""
    primary = outcome_of(written.metric, system, window=written.window, cap=written.cap)
    secondary = tuple(outcome_of(metric, system, window=written.window) for metric in written.secondary)
    guarded = tuple(
        outcome_of(one.metric, system, window=written.window, margin=one.margin) for one in written.guardrails
    )
    duration = written.duration
    if written.test != "AlwaysValid":
        duration += max(outcome.closes_after for outcome in (primary, *secondary))
    return ExperimentStep(
        weight=Weight(written.weight),
        primary=primary,
        arms=tuple(Arm(VersionName(arm.version), Weight(arm.weight)) for arm in written.arms),
        runners_up=written.runners_up,
        secondary=secondary,
        guarded=guarded,
        decide=Decide(written.decide),
        test=_TESTS[written.test],
        margin=written.margin,
        minimum_effect=written.minimum_effect,
        expected_effect=written.expected_effect or 0.0,
        alpha=written.alpha,
        min_units=written.min_units,
        by_days=written.blocks == "Day",
        covariate=written.covariate,
        duration=duration,
        deadline=written.deadline,
    )


def outcome_of(
    metric: str,
    system: MLSystem,
    *,
    window: timedelta | None = None,
    cap: float | None = None,
    margin: float = 0.0,
) -> Outcome:
    """What a unit's outcome by the metric is; the metric is a loss of the task or an online metric of the file."""
    spec = system.spec
    online = next((one for one in spec.evaluation.online if one.name == metric), None)
    if online is not None:
        return Outcome(
            metric=metric,
            better=Better(online.better),
            window=window or online.window,
            delay=online.maximum_delay,
            is_loss=False,
            is_share=online.aggregate == "Rate",
            cap=cap or online.cap,
            margin=margin,
        )
    usual = STICKING if spec.data.keys.sticky_by is not None else ONE_REQUEST
    return Outcome(
        metric=metric,
        better=Better(spec.task_facts.metric(metric).direction),
        window=window if window is not None else usual,
        delay=spec.data.label.maximum_delay,
        is_loss=True,
        cap=cap,
        margin=margin,
    )
