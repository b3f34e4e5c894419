"""`capstan status`: what the system does now and what it waits for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import nullcontext, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.app import App
from capstan.cli.console import (
    DEFAULT_STATE,
    Json,
    State,
    honest_errors,
    local,
    out,
    print_json,
    print_json_line,
)
from capstan.cli.place import Context, Namespace, Place, place_of
from capstan.cli.running_parts import running_parts
from capstan.cli.stored_system import StoredSystem, System, open_system

if TYPE_CHECKING:
    from rich.console import RenderableType

    from capstan.domain.system import SystemState

app = App()

WATCH_SECONDS = 2.0
_LATEST_EVENTS = 5


@app.command(epilog="Example: capstan status flight-delays --watch")
def status(
    system: System = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Show it again every two seconds; into a file or a pipe, and with --json a line each, what changed.",
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Show phase, versions, rollout, training, alerts and processes; also when nothing runs."""
    with honest_errors(json):
        place = place_of(state, context, namespace)
        if not watch:
            with open_system(place, system) as stored:
                seen = look(stored)
            if json:
                print_json(asdict(seen))
            else:
                out.print(shown(seen))
            return
        _watch(place, system, json=json)


def _watch(place: Place, system: str | None, *, json: bool) -> None:
    """In a terminal in place; into a file or a pipe, and as JSON lines, whenever something has changed."""
    from rich.live import Live

    is_in_place = out.is_terminal and not json
    last: SystemStatus | None = None
    in_place = Live(console=out, auto_refresh=False) if is_in_place else nullcontext()
    with suppress(KeyboardInterrupt), in_place as live:
        while True:
            with open_system(place, system) as stored:
                seen = look(stored)
            if live is not None:
                live.update(shown(seen), refresh=True)
            elif last is None or replace(seen, clock=last.clock) != last:
                last = seen
                if json:
                    print_json_line(asdict(seen))
                else:
                    out.print(shown(seen))
            time.sleep(WATCH_SECONDS)


@dataclass(frozen=True)
class RolloutStatus:
    name: str
    challenger: str
    phase: str
    step: str
    """`1/3 shadow 100 %`; empty before the first and after the last."""
    since: datetime | None
    held: str
    latest: dict[str, str]
    """Last verdict of each analysis in words."""
    forecasts: tuple[str, ...] = ()
    """How long its experiments take, told when it began."""
    winner: str = ""
    """The version that won a step against the challenger; empty: the challenger goes on."""
    left: dict[str, str] = field(default_factory=dict)
    """Further versions that take no part, with the reason."""


@dataclass(frozen=True)
class SystemStatus:
    """One look at a stored system."""

    system: str
    generation: int
    phase: str
    where: str
    """The state directory, or the namespace and its context."""
    running: int | str | None
    """Process id of its supervisor, or the operator that acts; None: nothing runs."""
    clock: datetime
    is_replay: bool
    page: str | None
    gateway: str | None
    champion: dict[str, Any] | None
    champion_since: datetime | None
    challenger: dict[str, Any] | None
    previous: list[str]
    rollout: RolloutStatus | None
    training: dict[str, Any] | None
    last_training: dict[str, Any] | None
    """The newest that has ended, with the candidate that was taken, those that failed, and warnings."""
    retraining: dict[str, Any]
    alerts: list[dict[str, Any]]
    """Each with its kind: `data` alerts may start a training, `operation` alerts only tell."""
    watched: dict[str, Any]
    """Whether the last windows had a verdict: `status` True, False or Unknown, `reason` and `message`."""
    estimated: str
    """The quality that is probable before labels come; empty: none is told."""
    online: list[dict[str, Any]]
    """What users did after answers: each online metric of each version that answered lately."""
    waiting_commands: list[str]
    conditions: list[dict[str, Any]]
    batch: dict[str, Any] | None
    """How far batches by the calendar are, and when the next is due; None: the file asks for none."""
    processes: list[dict[str, Any]]
    counters: dict[str, int] | None
    """None: nothing runs, or the collector does not answer."""
    budgets: dict[str, float] = field(default_factory=dict)
    """Share of what may fail that each promise has left; below 0 it is overdrawn."""
    latest: list[dict[str, Any]] = field(default_factory=list)


def look(stored: StoredSystem) -> SystemStatus:
    """Everything that the store and, while it runs, the processes say."""
    events = stored.events()
    seen = running_parts(stored, events)
    now = seen.replayed_to or datetime.now(UTC)
    state, status = stored.system_state, stored.record.status
    return SystemStatus(
        system=stored.name,
        generation=stored.record.generation,
        phase=str(status.get("phase", "Declared")),
        where=str(stored.place),
        running=seen.runner,
        clock=now,
        is_replay=seen.replayed_to is not None,
        page=seen.page,
        gateway=seen.gateway,
        champion=status.get("champion"),
        champion_since=state.champion_since,
        challenger=status.get("challenger"),
        previous=[version.name for version in state.previous],
        rollout=_rollout(stored, state),
        training=_training(stored, state),
        last_training=_last_training(stored),
        retraining=_retraining(stored, state, now),
        alerts=[*_alerts(events), *(_operation_alerts(status) if seen.runner else ())],
        watched=_watched(status),
        online=list(status.get("onlineMetrics") or ()),
        estimated=str(status.get("estimatedQuality") or ""),
        waiting_commands=[str(command.verb) for command in state.commands],
        conditions=list(status.get("conditions", ())),
        batch=_batch(stored, now, is_replay=seen.replayed_to is not None),
        processes=seen.processes,
        counters=seen.counters,
        budgets=seen.budgets,
        latest=[
            {"at": event.at, "reason": event.reason, "message": event.message}
            for _, event in events[-_LATEST_EVENTS:]
        ],
    )


def _rollout(stored: StoredSystem, state: SystemState) -> RolloutStatus | None:
    from capstan.domain.rollout import RolloutState, contender
    from capstan.engine.policies import policy_of
    from capstan.engine.records import rollout_state
    from capstan.ports.store import Kind

    if state.rollout is None:
        return None
    record = stored.store.get(Kind.ROLLOUT, state.rollout.name)
    rollout = rollout_state(record) if record else RolloutState()
    steps = policy_of(stored.record).rollout.steps
    step = (
        f"{rollout.step + 1}/{len(steps)} {steps[rollout.step].describe()}"
        if rollout.step < len(steps)
        else ""
    )
    return RolloutStatus(
        name=state.rollout.name,
        challenger=contender(state.rollout, rollout).name,
        phase=rollout.phase.value,
        step=step if rollout.phase.value == "Progressing" else "",
        since=rollout.step_since,
        held=rollout.held,
        latest={name: f"{verdict.outcome}: {verdict.message}" for name, verdict in rollout.latest.items()},
        forecasts=rollout.forecasts,
        winner=rollout.winner,
        left={str(arm): why for arm, why in rollout.left.items()},
    )


def _training(stored: StoredSystem, state: SystemState) -> dict[str, Any] | None:
    from capstan.domain.training import RunPhase
    from capstan.engine.records import training_state
    from capstan.ports.store import Kind

    if state.run is None:
        return None
    record = stored.store.get(Kind.RUN, state.run.run)
    run = training_state(record) if record else None
    steps = run.result.steps if run and run.result else ()
    return {
        "run": state.run.run,
        "trigger": state.run.trigger.kind.value,
        "reason": state.run.trigger.reason,
        "as_of": state.run.trigger.as_of,
        "started_at": run.started_at if run else None,
        "step": next((step.name for step in steps if step.phase is RunPhase.RUNNING), ""),
        "message": next((step.message for step in steps if step.phase is RunPhase.RUNNING), ""),
        "steps_done": sum(step.phase is RunPhase.SUCCEEDED for step in steps),
        "steps": len(steps),
    }


def _last_training(stored: StoredSystem) -> dict[str, Any] | None:
    """What the newest run that has ended came to; None: none has."""
    from capstan.engine.records import training_state
    from capstan.ports.store import Kind

    ended = [
        (record.name, state)
        for record in stored.store.list(Kind.RUN, stored.name)
        if (state := training_state(record)).finished_at is not None
    ]
    if not ended:
        return None
    run, state = max(ended, key=lambda one: (one[1].finished_at, one[0]))
    result = state.result
    return {
        "run": run,
        "phase": state.phase.value,
        "version": result.version.name if result and result.version else None,
        "chosen": result.chosen_in_words if result else "",
        "failed_candidates": dict(result.failed) if result else {},
        "warnings": list(result.warnings) if result else [],
        "message": result.message if result and state.phase.value == "Failed" else "",
    }


def _training_lines(last: dict[str, Any]) -> list[str]:
    from rich.markup import escape

    version = f", {last['version']}" if last["version"] else ""
    chosen = f" ({last['chosen']})" if last["chosen"] else ""
    why = f": {' '.join(last['message'].split())}" if last["message"] else ""
    return [
        escape(f"{last['run']} {last['phase'].lower()}{version}{chosen}{why}"),
        *(
            f"[red]{escape(name)} failed[/red]: {escape(why)}"
            for name, why in last["failed_candidates"].items()
        ),
        *(f"[yellow]warning[/yellow] {escape(warning)}" for warning in last["warnings"]),
    ]


def _retraining(stored: StoredSystem, state: SystemState, now: datetime) -> dict[str, Any]:
    from capstan.domain.retraining import find_hold
    from capstan.engine.policies import policy_of

    pending = state.retraining.pending
    hold = None
    if pending is not None and state.run is None and state.rollout is None:
        hold = find_hold(state.retraining, policy_of(stored.record).retraining, pending, now)
    return {
        "pending": pending.reason if pending else None,
        "held": hold.reason if hold else None,
        "why": hold.message if hold else None,
        "until": hold.until if hold else None,
        "failures": state.retraining.failures,
        "circuit_open": state.retraining.circuit_open,
        "unpromoted": state.retraining.unpromoted,
        "next": list(stored.record.status.get("nextTrainings") or ()),
    }


def _batch(stored: StoredSystem, now: datetime, *, is_replay: bool) -> dict[str, Any] | None:
    """How far batches are; None: the file asks for none, or it is a replay, which makes none."""
    from capstan.engine.policies import policy_of

    calendar = policy_of(stored.record).batches
    if calendar is None or is_replay:
        return None
    state = stored.system_state.batch
    begun = state.begun
    return {
        "schedule": calendar.cron,
        "next": calendar.next(now),
        "done_to": state.done_to,
        "begun": None
        if begun is None
        else {"from": begun.stretch.start, "to": begun.stretch.end, "version": begun.version.name},
        "failures": state.failures,
        "again_at": state.again_at,
        "told": state.told,
    }


def _batch_lines(batch: Mapping[str, Any]) -> list[str]:
    due = f"next {local(batch['next'])}" if batch["next"] is not None else "never due again"
    begun, lines = batch["begun"], [f"schedule {batch['schedule']}: {due}"]
    if begun is not None:
        tries = f", failed {batch['failures']} times so far" if batch["failures"] else ""
        again = (
            f", again {local(batch['again_at'])}"
            if batch["again_at"] is not None
            else f" by {begun['version']}"
        )
        lines.append(f"in progress: rows of {local(begun['from'])} to {local(begun['to'])}{again}{tries}")
    return [*lines, f"last: {batch['told']}"] if batch["told"] else lines


def _alerts(events: list[Any]) -> list[dict[str, Any]]:
    from capstan.dashboard.story_lines import alerts_shown

    return [
        {
            "name": alert.name,
            "version": alert.version,
            "since": alert.fired_at,
            "summary": alert.summary,
            "kind": "data",
        }
        for alert in alerts_shown((event for _, event in events), None)
        if alert.is_firing
    ]


def _operation_alerts(status: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the loop last saw fire about parts."""
    return [
        {**alert, "since": datetime.fromisoformat(alert["since"]), "kind": "operation"}
        for alert in status.get("operationAlerts") or ()
    ]


def _watched(status: Mapping[str, Any]) -> dict[str, Any]:
    found = next((one for one in status.get("conditions", ()) if one["type"] == "Watched"), None)
    if found is None:
        return {"status": "Unknown", "reason": "NotSeen", "message": "the loop has not looked yet"}
    return {name: found[name] for name in ("status", "reason", "message")}


def shown(seen: SystemStatus) -> RenderableType:
    """The look as a person reads it."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    clock = " (event time of the replay)" if seen.is_replay else ""
    who = "operator" if isinstance(seen.running, str) else "supervisor"
    runs = (
        f"{who} {seen.running}" if seen.running else "nothing runs that keeps it so; `capstan doctor` looks"
    )
    table.add_row("system", f"[bold]{seen.system}[/bold], generation {seen.generation}")
    if isinstance(seen.running, str):
        table.add_row("cluster", escape(seen.where))
    table.add_row("phase", f"[bold]{seen.phase}[/bold], {runs}")
    table.add_row("clock", f"{local(seen.clock)}{clock}")
    table.add_row("champion", _version(seen.champion, seen.champion_since))
    if seen.challenger:
        table.add_row("challenger", _version(seen.challenger, None))
    if seen.previous:
        table.add_row("older", f"{', '.join(seen.previous)}; `capstan rollback --to` goes back")
    if seen.rollout:
        rollout = seen.rollout
        step = f", step {rollout.step} since {local(rollout.since)}" if rollout.step else ""
        held = f", held: {rollout.held}" if rollout.held else ""
        table.add_row("rollout", f"{rollout.challenger} {rollout.phase}{step}{held}")
        for forecast in rollout.forecasts:
            table.add_row("", escape(forecast))
        for arm, why in rollout.left.items():
            table.add_row("", escape(f"{arm} takes no part: {why}"))
        for name, verdict in rollout.latest.items():
            table.add_row("", f"{name}: {escape(verdict)}")
    if seen.training:
        training = seen.training
        progress = (
            f"{training['steps_done']} of {training['steps']} steps done" if training["steps"] else "begins"
        )
        doing = f", now {training['step']}" if training["step"] else ""
        table.add_row("training", f"{training['run']} ({training['trigger']}): {progress}{doing}")
        if training["message"]:
            table.add_row("", escape(training["message"]))
        table.add_row("", escape(training["reason"]))
    if seen.last_training:
        for index, line in enumerate(_training_lines(seen.last_training)):
            table.add_row("" if index else "last training", line)
    if seen.retraining["pending"]:
        table.add_row("retraining", f"wanted: {escape(seen.retraining['pending'])}")
    if seen.retraining["held"]:
        idle = "" if seen.running else "; nothing runs now, so that `capstan up FILE` must go on first"
        table.add_row("", f"held: {escape(seen.retraining['why'])}{idle}")
    elif seen.retraining["circuit_open"]:
        table.add_row("retraining", "circuit open after failed trainings; `capstan resume` closes it")
    for outlook in seen.retraining["next"]:
        table.add_row("retraining", escape(outlook))
    for index, alert in enumerate(seen.alerts):
        text = f"[yellow]{alert['name']}[/yellow] {alert['version']} since {local(alert['since'])}: "
        table.add_row("" if index else "alerts", text + escape(alert["summary"]))
    if not seen.alerts:
        table.add_row("alerts", "none")
    if seen.champion:
        table.add_row("watched", _watched_in_words(seen.watched))
    if seen.estimated:
        table.add_row("estimated", escape(seen.estimated))
    for index, online in enumerate(seen.online):
        table.add_row("" if index else "online", escape(_online_in_words(online)))
    for index, line in enumerate(_batch_lines(seen.batch) if seen.batch is not None else ()):
        table.add_row("" if index else "batch", escape(line))
    if seen.waiting_commands:
        table.add_row("commands", f"not yet followed: {', '.join(seen.waiting_commands)}")
    if seen.processes:
        table.add_row(
            "processes", ", ".join(f"{p['name']} {p.get('pid') or p['state']}" for p in seen.processes)
        )
    if seen.budgets:
        left = ", ".join(f"{name} {share:.0%}" for name, share in sorted(seen.budgets.items()))
        table.add_row("budgets", f"left of what may fail: {left}")
    if seen.counters:
        table.add_row("counters", ", ".join(f"{count:,} {name}" for name, count in seen.counters.items()))
    if seen.page:
        table.add_row("page", seen.page)
    if seen.gateway:
        table.add_row("gateway", f"{seen.gateway}/predict")
    for index, event in enumerate(seen.latest):
        line = f"[dim]{local(event['at'])}[/dim] {event['reason']} {escape(event['message'])}"
        table.add_row("" if index else "latest", line)
    return table


def _watched_in_words(watched: Mapping[str, Any]) -> str:
    from rich.markup import escape

    text = escape(watched["message"] or watched["reason"])
    if watched["reason"] == "NotJudged":
        return f"[yellow]not judged[/yellow]: {text}; no alert does not mean no drift"
    return text if watched["status"] == "True" else f"not yet: {text}"


def _online_in_words(online: Mapping[str, Any]) -> str:
    error = f" ± {online['standardError']}" if online["standardError"] else ""
    value = f"{online['value']}{error} of {online['units']:,} units" if online["value"] else "no outcome yet"
    delay = f", events after {online['delay']}" if online["delay"] else ""
    return f"{online['title']}, {online['version']}: {value}; {online['coverage']} closed{delay}"


def _version(version: dict[str, Any] | None, since: datetime | None) -> str:
    if version is None:
        return "none yet"
    weight = f", {version['weight']} % of requests" if version.get("weight") is not None else ""
    when = f", since {local(since)}" if since else ""
    return f"[bold]{version['version']}[/bold]{weight}{when} [dim]{str(version['digest'])[:19]}[/dim]"
