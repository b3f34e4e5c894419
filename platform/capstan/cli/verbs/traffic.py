"""`capstan traffic`: rows of a table as users would send them, to the gateway of a running system."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, File, Json, State, err, honest_errors, out, print_json
from capstan.cli.interrupt import Interrupt
from capstan.cli.place import Context, Namespace, folder_of
from capstan.cli.remote_gateway import TokenFile, Url, feedback_token, gateway_address
from capstan.errors import InvalidDataError, NotAllowedError, NotFoundError

if TYPE_CHECKING:
    from capstan.embedded.traffic.sending import Desk
    from capstan.embedded.traffic.tally import Tally
    from capstan.serving.manifest import Manifest
    from capstan.spec import MLSystem

app = App()

FAILED = 3
"""Exit code where requests failed, or labels and events were not taken."""
INTERRUPTED = 130
TOLD_SECONDS = 10.0
"""Seconds between two lines of progress where no terminal shows one that changes."""


@app.command(epilog="Example: capstan traffic system.yaml --rate 20 --for 10m --shift temp=+10 --feedback")
def traffic(
    file: File,
    table: Annotated[
        Path | None,
        typer.Argument(
            help="A table of rows instead of the file's own sources: CSV, JSON lines or Parquet.",
            show_default=False,
        ),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.001, max=100_000, help="Requests a second.")] = 20,
    length: Annotated[
        str | None,
        typer.Option(
            "--for", help="How long, such as 90s or 10m; without it until Ctrl-C.", show_default=False
        ),
    ] = None,
    shift: Annotated[
        list[str] | None,
        typer.Option(
            help="Change a column: temp=+10, temp=*1.5, carrier=XX. May be repeated.", show_default=False
        ),
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave a share of a column's values out: temp=0.2. May be repeated.", show_default=False
        ),
    ] = None,
    feedback: Annotated[
        bool, typer.Option("--feedback", help="Hand in the true label of each answered row.")
    ] = False,
    label_delay: Annotated[
        str, typer.Option(help="How long after the answer its label is handed in.")
    ] = "10s",
    events: Annotated[
        list[str] | None,
        typer.Option(
            help="Let users react: click=0.3/0.05 is the share after right and after wrong answers. May be repeated.",
            show_default=False,
        ),
    ] = None,
    connections: Annotated[
        int, typer.Option(min=1, max=10_000, help="Requests under way at once, at most.")
    ] = 64,
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same rows and changes.")] = 0,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    url: Url = None,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Send rows to the running system at a steady rate, also if it can't keep up, and count the answers.

    With --context the gateway of that cluster is asked, through a way by kubectl that lasts as long as the command;
    with --url one at any address. Labels go there with the system's token for feedback; events are of one machine.

    Rows are drawn at random from the file's own sources or from a table, each with a new id and the present time. A
    request that has no good answer after 5 s has failed. Labels are those of the table, before any change.
    Ctrl-C ends it with the summary. The exit code is 3 if a request failed, or a label or an event was not taken.
    """
    with honest_errors(json), ExitStack() as stack:
        from capstan.embedded.wiring import collector_behind
        from capstan.spec import load
        from capstan.verbs.answering import asked_address

        interrupt, shown = stack.enter_context(Interrupt()), _Shown(json=json)
        wanted = _Wanted(
            rate=rate,
            length=_duration("--for", length) if length is not None else None,
            shifts=tuple(shift or ()),
            missing=tuple(missing or ()),
            label_delay=_duration("--label-delay", label_delay) if feedback else None,
            events=tuple(events or ()),
            connections=connections,
            seed=seed,
        )
        system = load(file)
        elsewhere = stack.enter_context(gateway_address(system, state, context, namespace, url))
        if elsewhere is None:
            asked = _here(stack, system, state)
        else:
            if events:
                raise NotAllowedError(
                    "--events: events can only be sent on this machine; drop --events, or --context and --url"
                )
            desk: Desk = _Nobody()
            if feedback:
                token = feedback_token(system, state, context, namespace, token_file)
                desk = stack.enter_context(collector_behind(elsewhere, token))
            asked = _Asked(elsewhere, asked_address(system, elsewhere).manifest, desk)
        tally = _run(
            stack,
            system,
            file,
            table,
            folder_of(system, state).secrets,
            asked,
            wanted,
            interrupt.is_set,
            shown,
        )
        ended_early = interrupt.is_set() and length is not None
    shown.end()
    if json:
        print_json({**tally.document(), "interrupted": interrupt.is_set()})
    else:
        _print(tally)
    if tally.failed or tally.not_taken:
        raise typer.Exit(FAILED)
    if ended_early:
        raise typer.Exit(INTERRUPTED)


@dataclass(frozen=True)
class _Wanted:
    """The traffic that a person asks for."""

    rate: float
    length: timedelta | None
    shifts: tuple[str, ...]
    missing: tuple[str, ...]
    label_delay: timedelta | None
    """None: no label is handed in."""
    events: tuple[str, ...]
    connections: int
    seed: int


@dataclass(frozen=True)
class _Asked:
    """Where the traffic goes."""

    gateway: str
    manifest: Manifest
    """What a request holds."""
    desk: Desk


class _Nobody:
    """The desk of traffic that reports nothing."""

    def post_labels(self, labels: Sequence[dict[str, object]], *, system: str | None = None) -> int:
        raise AssertionError(f"{len(labels)} labels of {system}, which nobody asked for")

    post_events = post_labels


def _here(stack: ExitStack, system: MLSystem, state: Path) -> _Asked:
    """The system that runs on this machine; raises NotFoundError, UntrustedArtifactError, UnavailableError."""
    from capstan.embedded.wiring import collector_of, stored_model
    from capstan.serving.manifest import read_manifest
    from capstan.verbs.answering import champion_name, running_gateway

    where = folder_of(system, state)
    gateway = running_gateway(where)
    manifest = read_manifest(stored_model(system, where, champion_name(system, where)))
    return _Asked(gateway, manifest, stack.enter_context(collector_of(where)))


def _run(
    stack: ExitStack,
    system: MLSystem,
    file: Path,
    table: Path | None,
    secrets: Path,
    asked: _Asked,
    wanted: _Wanted,
    stop: Callable[[], bool],
    shown: _Shown,
) -> Tally:
    import numpy as np

    from capstan.embedded.asking import asked_columns
    from capstan.embedded.replay.client import GatewayClient
    from capstan.embedded.traffic.changes import read_changes
    from capstan.embedded.traffic.plan import plan_traffic
    from capstan.embedded.traffic.reports import read_event_rates
    from capstan.embedded.traffic.rows import key_columns, rows_of_file, rows_of_table
    from capstan.embedded.traffic.sending import Reporting, send_traffic
    from capstan.tasks import task_of
    from capstan.verbs.elsewhere import without_password

    manifest = asked.manifest
    known = asked_columns(system, manifest)
    if unread := [one.column for one in system.spec.features if one.column not in known]:
        shown.say(
            f"not sent: {', '.join(dict.fromkeys(unread))}; the file has features of them, and the model that answers "
            "learnt from a table without them and refuses them, until a version is promoted that knows them"
        )
    changes = read_changes(wanted.shifts, wanted.missing, known)
    rates = read_event_rates(wanted.events, system.spec.evaluation.online, judges=_judges(system))
    if table is not None and not table.is_file():
        raise NotFoundError(f"{table}: there is no such file")
    recorded = (
        rows_of_table(table, system, manifest)
        if table is not None
        else rows_of_file(system, manifest, secrets)
    )
    keys = key_columns(manifest)
    if wanted.label_delay is not None:
        cases = [case for request in recorded for case in request.cases]
        if all(case.label is None for case in cases):
            raise InvalidDataError(
                f"--feedback: no row has a label; the table needs the column {system.spec.data.label.column!r}"
            )
        if keys.id is None and any(len(request.cases) > 1 for request in recorded):
            raise InvalidDataError(
                "--feedback: a request carries several rows, and without data.keys.id no label can name one; name the "
                "column in the file"
            )
    client = GatewayClient(asked.gateway, connections=wanted.connections)
    stack.callback(client.close)
    draws, reactions = np.random.default_rng(wanted.seed).spawn(2)
    start = datetime.now(UTC)
    shown.say(
        f"asking {without_password(asked.gateway)}/predict: {wanted.rate:g} requests a second from {len(recorded):,} "
        f"{'request' if len(recorded) == 1 else 'requests'} of {(table or file).name}"
    )
    return send_traffic(
        plan_traffic(recorded, keys, changes, rate=wanted.rate, length=wanted.length, start=start, rng=draws),
        client=client,
        desk=asked.desk,
        system=system.metadata.name,
        reporting=Reporting(wanted.label_delay, rates, task_of(system.spec).label),
        rng=reactions,
        now=lambda: datetime.now(UTC),
        stop=stop,
        progress=shown.progress,
    )


def _judges(system: MLSystem) -> bool:
    from capstan.spec.tasks import TASK_FACTS

    return TASK_FACTS[system.spec.objective.task].label in ("Boolean", "Category")


def _duration(option: str, text: str) -> timedelta:
    from capstan.spec.units import parse_duration

    try:
        found = parse_duration(text)
    except ValueError as error:
        raise InvalidDataError(f"{option}: {text!r} {error}") from error
    if option == "--for" and not found:
        raise InvalidDataError("--for: must be longer than 0s")
    return found


class _Shown:
    """One line that changes where there is a terminal, else a line now and then; nothing with --json."""

    def __init__(self, *, json: bool) -> None:
        self._json = json
        self._live = out.is_terminal and not json
        self._told_at = time.monotonic()
        self._width = 0

    def say(self, text: str) -> None:
        if not self._json:
            out.print(text, markup=False, soft_wrap=True)

    def progress(self, tally: Tally) -> None:
        line = _in_words(tally)
        if self._live:
            sys.stdout.write("\r" + line.ljust(self._width))
            sys.stdout.flush()
            self._width = len(line)
        elif not self._json and time.monotonic() - self._told_at >= TOLD_SECONDS:
            self._told_at = time.monotonic()
            self.say(line)

    def end(self) -> None:
        if self._live and self._width:
            sys.stdout.write("\r" + " " * self._width + "\r")
            sys.stdout.flush()


def _in_words(tally: Tally) -> str:
    by = ", ".join(f"{version} {count:,}" for version, count in sorted(tally.versions.items()))
    p50, p99 = (tally.latencies.quantile(share) for share in (0.5, 0.99))
    took = (
        f"; p50 {p50 * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms" if p50 is not None and p99 is not None else ""
    )
    versions = f" ({by})" if by else ""
    return f"{tally.sent:,} sent, {tally.answered:,} answered{versions}, {tally.failed:,} failed{took}"


def _print(tally: Tally) -> None:
    def say(text: str) -> None:
        out.print(text, markup=False, soft_wrap=True)

    say(_in_words(tally))
    if tally.labels or tally.labels_left or tally.without_label:
        left = f", {tally.labels_left:,} not yet due and not handed in" if tally.labels_left else ""
        without = f", {tally.without_label:,} rows have none in the table" if tally.without_label else ""
        say(f"labels: {tally.labels:,} handed in{without}{left}")
    if tally.events:
        say("events: " + ", ".join(f"{name} {count:,}" for name, count in sorted(tally.events.items())))
    for reason, count in tally.failures.most_common():
        err.print(f"failed: {count:,} times: {reason}", markup=False, soft_wrap=True)
    if tally.not_taken:
        err.print(
            f"not taken: {tally.not_taken:,} labels and events: {tally.why_not_taken}",
            markup=False,
            soft_wrap=True,
        )
