"""Turns the file into what the planners go by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar, cast

from capstan.domain.digest import digest_of
from capstan.domain.retraining import Backoff, Budget, RetrainingPolicy
from capstan.domain.rollout import Limits, OnLimit, RolloutPolicy
from capstan.domain.steps import STEPS
from capstan.domain.steps.interleave import InterleaveStep, ItemMargin
from capstan.domain.steps.step import BLOCK, Step
from capstan.domain.system import SystemPolicy
from capstan.domain.triggers import TRIGGERS, AllTrigger, TriggerRule
from capstan.domain.triggers.schedule import ScheduleTrigger
from capstan.domain.verdicts.conditions import Condition, parse_condition
from capstan.domain.verdicts.guardrails import OperationPolicy
from capstan.domain.verdicts.own_queries import QueryRule
from capstan.domain.verdicts.quality import Decide, QualityRule
from capstan.engine.bandits import bandit_step
from capstan.engine.experiments import experiment_step
from capstan.ports.store import Record
from capstan.spec import API_VERSION, MLSystem, parse
from capstan.spec.grammar import SpecModel
from capstan.spec.objective import Objective
from capstan.spec.retraining import OnAll, SingleTrigger
from capstan.spec.rollout import Step as FileStep

M = TypeVar("M")


def policy_of(record: Record) -> SystemPolicy:
    """The policy in an MLSystem record, whose spec is the whole file or its `spec` part; raises InvalidSpecError."""
    return system_policy(parse(document_of(record), base_dir=Path()))


def replay_policy_of(record: Record) -> SystemPolicy:
    """The policy of a replay, in which the machine is as fast as it is: of latencies only ratios are judged."""
    policy = policy_of(record)
    rollout = policy.rollout
    relative = replace(rollout, operation=replace(rollout.operation, max_latency_seconds=None), digest="")
    return replace(policy, rollout=replace(relative, digest=digest_of(relative)))


def document_of(record: Record) -> Mapping[str, Any]:
    """The record as a file would say it."""
    if "apiVersion" in record.spec:
        return record.spec
    return {
        "apiVersion": API_VERSION,
        "kind": "MLSystem",
        "metadata": {"name": record.name},
        "spec": record.spec,
    }


def system_policy(system: MLSystem) -> SystemPolicy:
    """The policy of a system; raises InvalidSpecError for what the file may say and this version can't do."""
    spec = system.spec
    return SystemPolicy(
        rollout=rollout_policy(system),
        retraining=retraining_policy(system),
        seed=spec.training.seed,
        suspend=spec.suspend,
        delete_aliases=spec.deletion_policy == "Delete",
        batches=None if spec.batch is None else ScheduleTrigger(spec.batch.schedule, spec.batch.time_zone),
    )


def _stated(objective: Objective) -> dict[str, float]:
    if objective.losses is None:
        return {}
    return {name: value for name, value in objective.losses.model_dump().items() if value is not None}


def rollout_policy(system: MLSystem) -> RolloutPolicy:
    """Steps, rules and limits of `spec.rollout`."""
    rollout = system.spec.rollout
    latency = rollout.guardrails.latency_p99
    bound = system.spec.requirements.latency_p99
    policy = RolloutPolicy(
        steps=tuple(_step(step, system) for step in rollout.steps),
        rules={
            analysis.name: QualityRule(
                decide=Decide(analysis.decide),
                metric=analysis.metric,
                margin=analysis.margin,
                minimum_effect=analysis.minimum_effect,
                alpha=analysis.alpha,
            )
            for analysis in rollout.analyses
        },
        queries={
            query.name: QueryRule(
                promql=query.promql,
                success_when=_condition(query.success_when),
                failure_when=_condition(query.failure_when),
                interval=query.interval,
                measurements=query.measurements,
                failures=query.failures,
            )
            for query in rollout.queries
        },
        operation=OperationPolicy(
            max_error_rate=rollout.guardrails.error_rate.max,
            max_latency_ratio=latency.max_ratio,
            latency_floor_seconds=latency.floor.total_seconds(),
            max_latency_seconds=bound.total_seconds() if bound is not None else None,
        ),
        limits=Limits(
            failures=rollout.limits.failures,
            inconclusive=rollout.limits.inconclusive,
            errors=rollout.limits.errors,
            on_inconclusive=OnLimit(rollout.limits.on_inconclusive),
            on_error=OnLimit(rollout.limits.on_error),
        ),
        progress_deadline=rollout.progress_deadline,
        revision_history_limit=rollout.revision_history_limit,
        losses=_stated(system.spec.objective),
        label_delay=system.spec.data.label.maximum_delay,
        has_labels=system.spec.data.has_label,
        block=BLOCK if system.spec.requests_per_block is None else timedelta(0),
    )
    return replace(policy, digest=digest_of(policy))


def _condition(written: str | None) -> Condition | None:
    return None if written is None else parse_condition(written)


def _step(step: FileStep, system: MLSystem) -> Step:
    if step.experiment is not None:
        return experiment_step(step.experiment, system)
    if step.bandit is not None:
        return bandit_step(step.bandit, system)
    member = _member(STEPS[step.kind], step.chosen)
    if isinstance(member, InterleaveStep) and step.interleave is not None:
        guarding = (ItemMargin(one.event, one.margin, one.window) for one in step.interleave.guardrails)
        return replace(member, guarded=tuple(guarding))
    return member


def retraining_policy(system: MLSystem) -> RetrainingPolicy:
    """Triggers and what holds them back, of `spec.retraining`."""
    retraining = system.spec.retraining
    return RetrainingPolicy(
        triggers=tuple(map(_trigger, retraining.triggers)),
        cooldown=retraining.cooldown,
        budget=Budget(retraining.budget.runs, retraining.budget.per),
        needs_approval=retraining.approval == "Required",
        loop_breaker=retraining.loop_breaker,
        backoff=Backoff(
            retraining.backoff.initial,
            retraining.backoff.maximum,
            retraining.backoff.circuit_after,
        ),
    )


def _trigger(written: SingleTrigger) -> TriggerRule:
    if isinstance(written.chosen, OnAll):
        return AllTrigger(tuple(map(_trigger, written.chosen.of)))
    return _member(TRIGGERS[written.kind], written.chosen)


def _member(kind: type[M], written: SpecModel) -> M:
    """The member that the file asks for, with those of the file's fields that it has itself."""
    known = {field.name for field in fields(cast("Any", kind))}
    return kind(**{name: value for name, value in written if name in known})
