"""`capstan plan`: what a file would change, before anything is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.changes_shown import changes_against, lines_of
from capstan.cli.console import DEFAULT_STATE, File, Json, State, honest_errors, out, print_json
from capstan.cli.place import Cluster, Context, Namespace, Place, place_for
from capstan.cli.stored_system import StoredSystem, open_system
from capstan.errors import NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from capstan.domain.verdicts.feasibility import LossHistory
    from capstan.domain.verdicts.quality import QualityRule
    from capstan.domain.verdicts.unit_history import UnitHistory
    from capstan.engine.changes import Change
    from capstan.spec import MLSystem

app = App()

EXPERIMENT = "experiment"
"""Stands for the analysis of a step that is one; its times hold the delay of labels already."""
CHANGES = 2
"""Exit code of `--exit-code` when something would change."""


@app.command(epilog="Example: capstan plan examples/flight-delays/system.yaml")
def plan(
    file: File,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit with 2 if something would change, for scripts.")
    ] = False,
    json: Json = False,
) -> None:
    """Show what `capstan up FILE` would change, what follows, and how long a verdict will take.

    Exit code 0: the file can be followed; 1: it is wrong. With --exit-code 2 says that something would change.
    """
    with honest_errors(json):
        from capstan.engine.policies import system_policy
        from capstan.spec import load

        system = load(file)
        system_policy(system)
        place = place_for(system, state, context, namespace)
        if not isinstance(place, Cluster):
            from capstan.embedded.refusals import require_one_machine

            require_one_machine(system)
        planned = _planned(system, place)
        if not isinstance(place, Cluster):
            watched, split, left_out = _data_planned(system, place.state.root / "secrets", datetime.now(UTC))
            planned = replace(planned, watched=watched, split=split, left_out=left_out)
    if json:
        print_json(asdict(planned))
    else:
        _print(planned)
    if exit_code and (planned.is_new or planned.changes):
        raise typer.Exit(CHANGES)


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


@dataclass(frozen=True)
class WatchPlanned:
    """How often the monitor could judge a window, by the rows that are there."""

    windows: int | None
    """Whole windows in the data; None: the data could not be read."""
    judged: int | None
    """Of them with at least `monitoring.window.minRows` rows."""
    message: str
    problem: str | None
    """What would go unseen, and what to write; None: nearly all windows could be judged."""


@dataclass(frozen=True)
class Planned:
    system: str
    is_new: bool
    running: int | str | None
    changes: list[Change]
    consequences: list[str]
    verdicts: list[VerdictTime]
    watched: WatchPlanned | None = None
    """None: the data is in a cluster."""
    split: tuple[str, ...] = ()
    """What `data.split` does to the rows that are there and should be known; empty where they cannot be read."""
    left_out: str | None = None
    """Rows that are there and are not read today, and why; None: there are none, or the data could not be read."""


def _planned(system: MLSystem, place: Place) -> Planned:
    name = system.metadata.name
    try:
        with open_system(place, name) as stored:
            changes, follows = changes_against(stored, system)
            times = [
                *_verdict_times(system, _histories(stored, system)),
                *_experiment_times(system, _units(stored, system)),
            ]
            return Planned(name, False, place.runner(), changes, follows, times)
    except NotFoundError:
        if isinstance(place, Cluster):
            place.require_capstan()
        follows = [
            "a first model is trained, packaged and served; there is no champion to protect, so no step is taken",
            f"objects in {place}; `capstan render FILE` prints them"
            if isinstance(place, Cluster)
            else "page 127.0.0.1:7411 and gateway 127.0.0.1:7480, unless --page-port and --gateway-port say otherwise",
        ]
        times = [*_verdict_times(system, {}), *_experiment_times(system, {})]
        return Planned(name, True, None, [], follows, times)


def _data_planned(
    system: MLSystem, secrets: Path, now: datetime
) -> tuple[WatchPlanned, tuple[str, ...], str | None]:
    """What the file's own rows say up to `now`; a table that cannot be read is told and stops nothing here."""
    from capstan.data import extract, part_cases
    from capstan.data.inspection import what_is_lost
    from capstan.data.later_cases import early_labels, without_later_cases
    from capstan.errors import CapstanError

    try:
        every = extract(system, as_of=None, labels_as_of=None, secrets=secrets, features=False)
    except CapstanError as error:
        return WatchPlanned(None, None, f"the data cannot be read: {error}", None), (), None
    table, left_out = without_later_cases(every, system, now)
    lost = what_is_lost(system)
    watched = _watch_planned(system, table)
    early = early_labels(table, system)
    first = (*lost, *(() if early is None else (early,)))
    try:
        return watched, (*first, *part_cases(table, system, as_of=now).warnings), left_out
    except CapstanError as error:
        return watched, (*first, str(error)), left_out


def _watch_planned(system: MLSystem, table: pa.Table) -> WatchPlanned:
    from capstan.monitoring.prospects import ENOUGH, prospect

    window = system.spec.monitoring.window
    if system.spec.data.keys.time is None:
        message = (
            f"windows of {_days(window.duration)} of requests; how many rows each will have, no row tells, for rows "
            f"have no time. A window with fewer than {window.min_rows:,} rows is not judged"
        )
        return WatchPlanned(None, None, message, None)
    times = table[system.spec.data.keys.time].to_numpy()
    found = prospect(times, window.duration, window.min_rows)
    length = _days(window.duration)
    if not found.windows:
        message = f"the data is shorter than one window of {length}"
        return WatchPlanned(0, 0, message, None)
    message = (
        f"{found.judged} of {found.windows} windows of {length} have at least {window.min_rows:,} rows; "
        f"the one in the middle has {found.rows:,}"
    )
    if found.judged >= ENOUGH * found.windows:
        return WatchPlanned(found.windows, found.judged, message, None)
    ways = []
    if found.between is not None:
        ways.append(f"duration: {_written(found.between[0])}, minRows: {found.between[1]}")
    if found.longer is not None:
        ways.append(f"duration: {_written(found.longer)}")
    if found.fewer is not None:
        ways.append(f"minRows: {found.fewer}")
    way = " or ".join(f"`monitoring: {{window: {{{one}}}}}`" for one in ways)
    out_of = (
        f"write {way}"
        if ways
        else "more rows are needed, or a minRows below 100, with which only coarse drift shows"
    )
    unjudged = found.windows - found.judged
    where = f"the other {unjudged}" if found.judged else "all of them"
    problem = f"drift and quality would go unseen in {where}; {out_of}"
    return WatchPlanned(found.windows, found.judged, message, problem)


def _written(duration: timedelta) -> str:
    """As the file writes it."""
    day, hour = timedelta(days=1), timedelta(hours=1)
    if not duration % day:
        return f"{duration // day}d"
    return f"{duration // hour}h" if not duration % hour else f"{duration // timedelta(minutes=1)}m"


def _histories(stored: StoredSystem, system: MLSystem) -> Mapping[str, LossHistory]:
    """By metric; none in a cluster, where the record is on a volume of the system's own."""
    from capstan.embedded.history import stored_histories

    if isinstance(stored.place, Cluster):
        return {}
    return stored_histories(system, stored.place.state, stored.store)


def _units(stored: StoredSystem, system: MLSystem) -> Mapping[int, UnitHistory]:
    """By the index of each experiment; none in a cluster, where the record is on a volume of the system's own."""
    from capstan.embedded.history import stored_units

    if isinstance(stored.place, Cluster):
        return {}
    return stored_units(system, stored.place.state, stored.store)


def _verdict_times(system: MLSystem, histories: Mapping[str, LossHistory]) -> list[VerdictTime]:
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
            times.append(_verdict_time(index, name, rule, histories.get(rule.metric), step.deadline, delay))
    return times


def _experiment_times(system: MLSystem, units: Mapping[int, UnitHistory]) -> list[VerdictTime]:
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
                f"known {_days(step.primary.closes_after)} after a unit's first request (`capstan power` computes more)"
            )
            median, late, problem = None, None, None
        else:
            found = step.forecast(known)
            basis, problem = found.message, found.problem
            median, late = (
                None if span is None else _days(max(span, soonest)) for span in (found.median, found.late)
            )
        times.append(
            VerdictTime(
                index,
                step.name,
                step.decide.value,
                median,
                late,
                _days(timedelta(0)) or "",
                _days(step.deadline),
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
    given = _days(deadline)
    return VerdictTime(step, analysis, rule.decide.value, None, None, _days(delay) or "", given, None, basis)


def _verdict_time(
    step: int,
    analysis: str,
    rule: QualityRule,
    history: LossHistory | None,
    deadline: timedelta | None,
    delay: timedelta,
) -> VerdictTime:
    from capstan.domain.steps.step import BLOCK, blocks_span
    from capstan.domain.verdicts.feasibility import infeasible_deadline, time_to_verdict

    given = _days(deadline)
    if history is None:
        least = blocks_span(rule.least_blocks, delay)
        basis = (
            f"no paired predictions are stored yet: at least {rule.least_blocks} closed days; "
            "how much more, the first rollout will show (`capstan power shadow` simulates it)"
        )
        problem = None
        if deadline is not None and least.soonest > deadline:
            problem = f"at least {_days(least.soonest)} are needed"
        elif deadline is not None and least.latest > deadline:
            problem = _late_labels(least.latest)
        # UnlessWorse passes as soon as its minimum of evidence is in, unless it looks worse then.
        soonest = _days(least.soonest) if rule.decide.value == "UnlessWorse" else None
        return VerdictTime(
            step, analysis, rule.decide.value, soonest, None, _days(delay) or "", given, problem, basis
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
        return None if blocks is None else _days(blocks_span(blocks, delay).soonest)

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
        _days(delay) or "",
        given,
        problem,
        basis,
    )


def _late_labels(latest: timedelta) -> str:
    return (
        f"labels that come as late as data.label.maximumDelay allows make it {_days(latest)}; "
        "write a longer deadline, or a shorter maximumDelay if no label takes so long"
    )


def _days(duration: timedelta | None) -> str | None:
    if duration is None:
        return None
    days = duration / timedelta(days=1)
    return f"{days:g} days" if days != 1 else "1 day"


def _print(planned: Planned) -> None:
    from rich.markup import escape

    who = "operator" if isinstance(planned.running, str) else "process"
    where = f", {who} {planned.running} runs it" if planned.running else ", nothing runs"
    if planned.is_new:
        out.print(f"[bold]{planned.system}[/bold]: would be created")
    elif not planned.changes:
        out.print(f"[bold]{planned.system}[/bold]: no changes{where}")
    else:
        count = len(planned.changes)
        out.print(f"[bold]{planned.system}[/bold]: {count} change{'s' if count > 1 else ''}{where}")
    for line in lines_of(planned.changes, planned.consequences):
        out.print(line, soft_wrap=True)
    for verdict in planned.verdicts:
        out.print(f"time to a verdict, step {verdict.step + 1}, {verdict.analysis} ({verdict.decide})")
        times = f"{verdict.median or 'not known'} in the median" if verdict.basis[:2] != "no" else ""
        if verdict.late:
            times += f", {verdict.late} in four of five rollouts"
        elif not times:
            times = f"{verdict.median} at the soonest" if verdict.median else "not known"
        if (verdict.median or verdict.late) and verdict.analysis != EXPERIMENT:
            times += f", and up to {verdict.label_delay} more if labels come late"
        given = f"; deadline {verdict.deadline}" if verdict.deadline else "; no deadline"
        out.print(f"  {times}{given}", soft_wrap=True)
        out.print(f"  [dim]{escape(verdict.basis)}[/dim]", soft_wrap=True)
        if verdict.problem:
            out.print(f"  [yellow]warning[/yellow] {escape(verdict.problem)}", soft_wrap=True)
    learnt = [*filter(None, [planned.left_out]), *planned.split]
    if learnt:
        out.print("what is learnt from")
    for warning in learnt:
        out.print(f"  [yellow]warning[/yellow] {escape(warning)}", soft_wrap=True)
    if planned.watched is not None:
        _print_watched(planned.watched)


def _print_watched(watched: WatchPlanned) -> None:
    from rich.markup import escape

    out.print("what can be watched")
    out.print(f"  {escape(watched.message)}", soft_wrap=True)
    if watched.problem:
        out.print(f"  [yellow]warning[/yellow] {escape(watched.problem)}", soft_wrap=True)
