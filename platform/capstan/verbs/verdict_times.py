"""How long a step of a rollout takes to its verdict, told before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capstan.domain.verdicts.feasibility import LossHistory
    from capstan.domain.verdicts.quality import QualityRule
    from capstan.domain.verdicts.unit_history import UnitHistory
    from capstan.spec import MLSystem

EXPERIMENT = "experiment"
"""Stands for the analysis of a step that is one; its times hold the delay of labels already."""


@dataclass(frozen=True)
class VerdictTime:
    """How long one analysis of one step takes."""

    step: int
    analysis: str
    decide: str
    median: str | None
    """If every label comes at once; None: it cannot be said, or never."""
    late: str | None
    """After so long four rollouts in five have passed."""
    label_delay: str
    """What labels that come as late as they may add to each time."""
    deadline: str | None
    problem: str | None
    """Why the deadline cannot be met; None: it can, or there is none."""
    basis: str
    """What the times are computed from."""


def verdict_times(system: MLSystem, histories: Mapping[str, LossHistory]) -> list[VerdictTime]:
    from capstan.engine.policies import rollout_policy

    policy = rollout_policy(system)
    delay = system.spec.data.label.maximum_delay
    size = system.spec.requests_per_block
    times = []
    for index, step in enumerate(policy.steps):
        for name, rule in step.rules(policy).items():
            if size is not None:
                times.append(_requests_to_verdict(index, name, rule, size, step.deadline, delay))
                continue
            times.append(verdict_time(index, name, rule, histories.get(rule.metric), step.deadline, delay))
    return times


def experiment_times(system: MLSystem, units: Mapping[int, UnitHistory]) -> list[VerdictTime]:
    from capstan.domain.steps.experiment import ExperimentStep
    from capstan.engine.policies import rollout_policy

    times = []
    for index, step in enumerate(rollout_policy(system).steps):
        if not isinstance(step, ExperimentStep):
            continue
        known = units.get(index)
        soonest = max(step.duration, step.primary.closes_after)
        if known is None:
            basis = (
                f"no units of the champion are stored yet: at least {step.min_units:,} must have an outcome, which is "
                f"known {in_days(step.primary.closes_after)} after a unit's first request (`capstan power` computes "
                "more)"
            )
            median, late, problem = None, None, None
        else:
            found = step.forecast(known)
            basis, problem = found.message, found.problem
            median, late = (
                None if span is None else in_days(max(span, soonest)) for span in (found.median, found.late)
            )
        times.append(
            VerdictTime(
                index,
                step.name,
                step.decide.value,
                median,
                late,
                in_days(timedelta(0)) or "",
                in_days(step.deadline),
                f"deadline: {problem}" if problem else None,
                basis,
            )
        )
    return times


def _requests_to_verdict(
    step: int, analysis: str, rule: QualityRule, size: int, deadline: timedelta | None, delay: timedelta
) -> VerdictTime:
    """How long blocks of requests take rests on the traffic to come."""
    needed = max(rule.least_blocks * size, rule.min_requests)
    labels = f", {rule.min_labels:,} of them with a label" if rule.min_labels else ""
    basis = (
        f"no time can be told: at least {needed:,} paired requests are needed{labels}, in {rule.least_blocks} blocks "
        f"of {size:,} (rollout.blockRequests)"
    )
    given = in_days(deadline)
    return VerdictTime(
        step, analysis, rule.decide.value, None, None, in_days(delay) or "", given, None, basis
    )


def verdict_time(
    step: int,
    analysis: str,
    rule: QualityRule,
    history: LossHistory | None,
    deadline: timedelta | None,
    delay: timedelta,
) -> VerdictTime:
    from capstan.domain.steps.step import BLOCK, blocks_span
    from capstan.domain.verdicts.feasibility import infeasible_deadline, time_to_verdict

    given = in_days(deadline)
    if history is None:
        least = blocks_span(rule.least_blocks, delay)
        basis = (
            f"no paired predictions are stored yet: at least {rule.least_blocks} closed days; "
            "how much more, the first rollout will show (`capstan power shadow` simulates it)"
        )
        problem = None
        if deadline is not None and least.soonest > deadline:
            problem = f"at least {in_days(least.soonest)} are needed"
        elif deadline is not None and least.latest > deadline:
            problem = _late_labels(least.latest)
        # UnlessWorse passes as soon as its minimum of evidence is in, unless it looks worse then.
        soonest = in_days(least.soonest) if rule.decide.value == "UnlessWorse" else None
        return VerdictTime(
            step, analysis, rule.decide.value, soonest, None, in_days(delay) or "", given, problem, basis
        )
    expected = time_to_verdict(rule, history)
    problem = (
        infeasible_deadline(rule, history, deadline=deadline, block=BLOCK) if deadline is not None else None
    )
    problem = f"deadline: {problem}" if problem else None
    if problem is None and deadline is not None and expected.median_blocks is not None:
        latest = blocks_span(expected.median_blocks, delay).latest
        problem = _late_labels(latest) if latest > deadline else None

    def span(blocks: int | None) -> str | None:
        return None if blocks is None else in_days(blocks_span(blocks, delay).soonest)

    basis = (
        f"{history.blocks} days of stored pairs, {history.labels_per_block:,.0f} labels a day, spread of a day "
        f"{history.spread:.3g} per request; equal models assumed"
    )
    return VerdictTime(
        step,
        analysis,
        rule.decide.value,
        span(expected.median_blocks),
        span(expected.late_blocks),
        in_days(delay) or "",
        given,
        problem,
        basis,
    )


def _late_labels(latest: timedelta) -> str:
    return (
        f"labels that come as late as data.label.maximumDelay allows make it {in_days(latest)}; "
        "write a longer deadline, or a shorter maximumDelay if no label takes so long"
    )


def in_days(duration: timedelta | None) -> str | None:
    if duration is None:
        return None
    if timedelta(0) < duration < timedelta(days=1):
        from capstan.domain.durations import in_words

        return in_words(duration)
    days = duration / timedelta(days=1)
    return f"{days:g} days" if days != 1 else "1 day"
