"""Turns what was seen into what the page shows; pure, so the page can be tested without a server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from capstan.dashboard.budgets import budgets_shown
from capstan.dashboard.loop_picture import stages
from capstan.dashboard.observation import Observed
from capstan.dashboard.page import (
    Clocks,
    Head,
    MetricShown,
    Page,
    Retraining,
    RolloutShown,
    Share,
    Totals,
    Traffic,
    VersionShown,
)
from capstan.dashboard.pipeline_panel import batch_shown, run_shown
from capstan.dashboard.reason_panel import with_reasons
from capstan.dashboard.rollout_panel import rollout_shown
from capstan.dashboard.story_lines import alerts_shown
from capstan.dashboard.watch_panel import watch_shown
from capstan.domain.reasons import Reason, Tone
from capstan.domain.rollout import RolloutCause, RolloutPhase, contender
from capstan.domain.triggers import Alert
from capstan.domain.versions import ModelVersion, Readiness, VersionName
from capstan.spec import MLSystem

_READINESS = {
    Readiness.READY: Tone.GOOD,
    Readiness.STARTING: Tone.ACTIVE,
    Readiness.CRASHED: Tone.BAD,
    Readiness.ABSENT: Tone.IDLE,
}
_LONG_AGO = "0001-01-01"


def draw(seen: Observed) -> Page:
    """The whole page from one look."""
    spec = seen.system.spec
    active = seen.active_rollout
    rollouts = [rollout_shown(seen, r, is_active=r is active) for r in seen.rollouts]
    rollouts.sort(key=lambda r: _since(r.started_at), reverse=True)
    runs = [run_shown(seen, run) for run in seen.runs]
    runs.sort(key=lambda r: _since(r.started_at or r.as_of), reverse=True)
    return Page(
        head=_head(seen),
        clocks=Clocks(seen.now if seen.is_replay else None, seen.is_replay),
        metrics=_metrics(seen.system),
        progress=seen.progress,
        parts=seen.parts,
        loop=stages(seen),
        traffic=_traffic(seen),
        rollout=_foremost(rollouts),
        rollouts=rollouts,
        runs=runs,
        batches=[batch_shown(told) for told in reversed(seen.state.batch.listed)],
        versions=_versions(seen),
        watch=watch_shown(
            seen.windows or (),
            metric=spec.monitoring.quality.metric,
            every=spec.monitoring.window.step if spec.monitoring.window.rows is None else None,
            features=[feature.name for feature in spec.features],
            online=seen.record.status.get("onlineMetrics") or (),
        ),
        alerts=with_reasons(
            alerts_shown([event for _, event in seen.events], _current(seen), seen.operation_alerts or ()),
            seen.windows or (),
        ),
        budgets=budgets_shown(seen.system, seen.budgets or {}),
        retraining=_retraining(seen),
        actions=seen.actions,
        links=seen.links,
        last_event=seen.events[-1][0] if seen.events else 0,
        away=seen.away,
    )


def _current(seen: Observed) -> list[Alert]:
    """Firing alerts of versions that are watched: Alertmanager keeps those of a former champion for a while."""
    champion, rollout = seen.state.champion, seen.active_rollout
    watched = {champion.name} if champion is not None else set()
    watched |= {rollout.request.challenger.name} if rollout is not None else set()
    return [alert for alert in seen.alerts or () if not watched or alert.version in watched]


def _metrics(system: MLSystem) -> list[MetricShown]:
    spec = system.spec
    facts = spec.task_facts
    first = [spec.monitoring.quality.metric, *(analysis.metric for analysis in spec.rollout.analyses)]
    names = dict.fromkeys([*first, facts.compared_by, *facts.metric_names])
    known = [facts.metric(name) for name in names]
    return [MetricShown(one.name, one.title, one.direction == "Lower") for one in known]


def _foremost(rollouts: Sequence[RolloutShown]) -> RolloutShown | None:
    """The rollout in progress, else the last one of a challenger, else the last of all."""
    active = [rollout for rollout in rollouts if rollout.is_active]
    contests = [rollout for rollout in rollouts if rollout.cause == RolloutCause.CHALLENGER.value]
    return next(iter([*active, *contests, *rollouts]), None)


def _since(moment: datetime | None) -> str:
    return moment.isoformat() if moment is not None else _LONG_AGO


def _head(seen: Observed) -> Head:
    objective = seen.system.spec.objective
    phase, tone = _phase(seen)
    return Head(
        name=seen.record.name,
        objective=objective.business or "",
        task=str(objective.task),
        target=objective.target or "",
        phase=phase,
        doing=_doing(seen),
        tone=tone,
        zone=seen.system.spec.data.time_zone,
    )


def _phase(seen: Observed) -> tuple[str, Tone]:
    state, rollout = seen.state, seen.active_rollout
    if seen.record.deleted_at is not None or state.deleting:
        return "Being deleted", Tone.WARN
    if state.paused:
        return "Paused", Tone.WARN
    if state.retraining.circuit_open:
        return "Training stopped after failures", Tone.BAD
    if state.rollout is not None:
        return _rollout_phase(state.rollout.challenger.name, rollout.state.phase if rollout else None)
    if state.run is not None:
        first = state.champion is None
        return ("Training the first model" if first else "Retraining"), Tone.ACTIVE
    if state.champion is None:
        return (
            ("The first training failed", Tone.BAD) if state.retraining.failures else ("Starting", Tone.IDLE)
        )
    return f"Serving {state.champion.name}", Tone.GOOD


def _rollout_phase(challenger: VersionName, phase: RolloutPhase | None) -> tuple[str, Tone]:
    words = {
        None: (f"Deploying {challenger}", Tone.ACTIVE),
        RolloutPhase.DEPLOYING: (f"Deploying {challenger}", Tone.ACTIVE),
        RolloutPhase.PROGRESSING: (f"Rolling out {challenger}", Tone.ACTIVE),
        RolloutPhase.PROMOTING: (f"Promoting {challenger}", Tone.GOOD),
        RolloutPhase.PROMOTED: (f"Promoted {challenger}", Tone.GOOD),
        RolloutPhase.ROLLING_BACK: (f"Rolling back {challenger}", Tone.BAD),
        RolloutPhase.ROLLED_BACK: (f"Rolled back {challenger}", Tone.BAD),
    }
    return words[phase]


def _doing(seen: Observed) -> str:
    conditions = {c["type"]: c for c in seen.record.status.get("conditions", ())}
    return str(conditions.get("Progressing", {}).get("message", ""))


def _traffic(seen: Observed) -> Traffic:
    split, champion = seen.split, seen.state.champion
    arms: list[Share] = []
    mirrors: list[Share] = []
    if split is not None:
        arms = [
            Share(arm.version, "champion" if index == 0 else "challenger", arm.weight)
            for index, arm in enumerate(split.answering)
        ]
        mirrors = [Share(mirror.version, "shadow", mirror.percent) for mirror in split.mirrors]
    elif champion is not None and "gateway" not in seen.away:
        arms = [Share(champion.name, "champion", 100)]
    return Traffic(
        arms, mirrors, seen.numbers or (), seen.totals or Totals(), seen.history, _disobedience(seen)
    )


def _disobedience(seen: Observed) -> str:
    """What the loop last saw the gateway do, where that is not what is wanted."""
    status = seen.record.status
    synced: Mapping[str, Any] = next(
        (one for one in status.get("conditions", ()) if one["type"] == "TrafficSynced"), {}
    )
    if synced.get("reason") != "NotObeyed":
        return ""
    told = [status.get(who) or {} for who in ("champion", "challenger")]
    shares = ", ".join(f"{one['version']} {one['weight']} %" for one in told if one.get("weight") is not None)
    return f"{synced['message']}; seen: {shares or 'none of these versions'}"


def _versions(seen: Observed) -> list[VersionShown]:
    """All known versions, the newest first; metrics come from the registry."""
    known: dict[VersionName, ModelVersion] = {}
    for rollout in seen.rollouts:
        known[rollout.request.challenger.name] = rollout.request.challenger
    for run in seen.runs:
        for status in (run.state.result, run.status):
            known |= {version.name: version for version in (status.made if status is not None else ())}
    known |= {version.name: version for version in seen.versions or ()}
    shown = [_version(seen, version) for version in known.values()]
    return sorted(shown, key=lambda version: (version.as_of, len(version.name), version.name), reverse=True)


def _version(seen: Observed, version: ModelVersion) -> VersionShown:
    state = seen.state
    role = ""
    if state.champion is not None and version.name == state.champion.name:
        role = "champion"
    elif state.rollout is not None and version.name == state.rollout.challenger.name:
        role = "challenger"
    elif state.warm is not None and version.name == state.warm.name:
        role = "warm"
    readiness = (seen.readiness or {}).get(version.name, Readiness.ABSENT)
    run = next((run for run in seen.runs if run.request.run == version.run), None)
    return VersionShown(
        name=version.name,
        mark=f"version:{version.name}",
        role=role,
        weight=int(seen.split.weight_of(version.name)) if seen.split is not None else None,
        readiness="stopped" if readiness is Readiness.ABSENT else readiness.value.lower(),
        tone=_READINESS[readiness],
        as_of=version.as_of,
        trigger=run.request.trigger.kind.value if run else "",
        run=version.run,
        digest=version.digest,
        metrics=version.metrics,
        outcome=_outcome(seen, version.name),
    )


def _outcome(seen: Observed, version: VersionName) -> str:
    for rollout in sorted(seen.rollouts, key=lambda r: _since(r.state.started_at), reverse=True):
        request, phase = rollout.request, rollout.state.phase
        if phase is RolloutPhase.PROMOTED and contender(request, rollout.state).name == version:
            return "first" if request.cause is RolloutCause.FIRST else "promoted"
        if phase is RolloutPhase.ROLLED_BACK and request.challenger.name == version:
            return "rolled back"
        if version in request.kept_out:
            return "kept out by gates"
    kept_out = any(
        event.reason == Reason.NOT_PROMOTED and event.details.get("version") == version
        for _, event in seen.events
    )
    return "kept out by gates" if kept_out else ""


def _retraining(seen: Observed) -> Retraining:
    state, policy = seen.state.retraining, seen.policy.retraining
    until = state.finished_at + policy.cooldown if state.finished_at is not None else None
    budget = policy.budget
    used = sum(start > seen.now - budget.per for start in state.starts) if budget is not None else 0
    return Retraining(
        pending=state.pending.reason if state.pending else "",
        held=state.held,
        used=used,
        budget=budget.runs if budget is not None else None,
        cooldown_until=until if until is not None and until > seen.now and policy.cooldown else None,
        circuit_open=state.circuit_open,
        next=tuple(map(str, seen.record.status.get("nextTrainings") or ())),
    )
