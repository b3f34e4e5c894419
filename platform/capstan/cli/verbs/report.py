"""`capstan report`: the table of the last replay, month by month."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, local, out, print_json
from capstan.cli.online_shown import print_online
from capstan.cli.place import Context, Namespace, place_of
from capstan.cli.stored_system import StoredSystem, open_system
from capstan.cli.tables_shown import print_tables
from capstan.cli.watching_shown import print_watching
from capstan.cluster.places import Cluster

app = App()


@app.command(epilog="Example: capstan report flight-delays --json")
def report(
    system: Annotated[
        str | None, typer.Argument(help="Name of the system; default: the only one there is.")
    ] = None,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    json: Json = False,
) -> None:
    """Show the report of the last replay; in a cluster, where nothing is replayed, what the loop has decided."""
    with honest_errors(json):
        place = place_of(state, context, namespace)
        if isinstance(place, Cluster):
            with open_system(place, system) as stored:
                _decided(stored, json)
            return
        from capstan.domain.versions import SystemName
        from capstan.embedded.layout import StateDir
        from capstan.errors import NotFoundError

        folder = StateDir(state).root / "reports"
        found = (
            sorted(folder.glob("*.json")) if system is None else [StateDir(state).report(SystemName(system))]
        )
        if len(found) != 1 or not found[0].exists():
            there = [file.stem for file in found if file.exists()]
            if there:
                raise NotFoundError(f"several reports in {folder}; name one: {', '.join(there)}")
            of = "" if system is None else f" of {system}"
            raise NotFoundError(f"no report{of} in {folder}; `capstan replay FILE` makes one")
        document = orjson.loads(found[0].read_bytes())
    if json:
        print_json(document)
    else:
        print_report(document, found[0].parent)


def _decided(stored: StoredSystem, json: bool) -> None:
    """Counts and decisions since the system began."""
    from dataclasses import asdict

    from capstan.engine.story import count, decisions

    counts = asdict(count(event for _, event in stored.events()))
    told = decisions(stored.store, stored.name)
    if json:
        print_json({"system": stored.name, **counts, "decisions": [asdict(one) for one in told]})
        return
    for one in told:
        out.print(f"[dim]{local(one.at)}[/dim] {one.reason} {escape(one.message)}", soft_wrap=True)
    out.print(", ".join(f"{number} {what}" for what, number in counts.items()))


def print_report(document: Mapping[str, Any], folder: Path | None = None) -> None:
    """The months, steps that asked users, then the totals; `folder` holds the report and its plots."""
    table = Table(
        title=f"{document['system']}: managed against the static first model",
        box=SIMPLE_HEAD,
        collapse_padding=True,
    )
    metrics = document["metrics"]
    # Headings of a word a line keep the table within 80 columns.
    lines = max(len(metric["title"].split()) for metric in metrics)
    for heading in ("month", "rows"):
        table.add_column(heading, justify="left" if heading == "month" else "right", no_wrap=True)
    for index, metric in enumerate(metrics):
        words = escape(metric["title"]).split()
        title = "\n".join([*[""] * (lines - len(words)), *words])
        table.add_column(f"{title}\nstatic", justify="right", no_wrap=True)
        table.add_column("\n" * lines + "managed", justify="right", no_wrap=True)
        if index == 0:
            gain = "\n" * (lines - 1) + "gain\n[95 % interval]"
            table.add_column(gain, justify="right", no_wrap=True)
    for month, row in {**document["months"], "all": document["overall"]}.items():
        table.add_row(
            month,
            f"{row['rows']:,}",
            *(
                cell
                for index, metric in enumerate(metrics)
                for cell in _cells(row, metric["name"], index == 0)
            ),
            end_section=month == list(document["months"])[-1] if document["months"] else False,
        )
    out.print(table)
    print_tables(document["details"].get("tables", ()), "the managed system")
    for note in document["details"].get("notes", ()):
        out.print(escape(note), soft_wrap=True)
    print_online(document["online_steps"], folder)
    print_watching(document["watching"])
    out.print(
        f"{document['requests']:,} requests, {document['failed_requests']:,} failed; "
        f"{document['payloads_stored']:,} payloads stored, {document['payloads_lost']:,} lost, "
        f"{document['payloads_unaccounted']:,} unaccounted for"
    )
    if document["failures"]:
        out.print(f"the first that failed: {escape(document['failures'][0])}", soft_wrap=True)
    measured, required = document["latency_p99_seconds"], document["latency_p99_required_seconds"]
    if measured is not None:
        asked = (
            f" (required {required * 1000:g} ms; a replay does not judge it)" if required is not None else ""
        )
        out.print(f"99 of 100 answers within {math.ceil(measured * 1000)} ms{asked}")
    out.print(windows_in_words(document["windows"]), soft_wrap=True)
    counts = (
        f"{document[f'{what}s']} {what}{'' if document[f'{what}s'] == 1 else 's'}"
        for what in ("alert", "retraining", "promotion", "rollback")
    )
    out.print(f"{', '.join(counts)} in {document['seconds']:.0f} s")


def windows_in_words(windows: Mapping[str, Any]) -> str:
    """How much of the time was watched: what was not judged is not calm."""
    closed = windows["closed"]
    if not closed:
        return "no window closed: nothing is known about drift"
    told = []
    for question, judged in windows["judged"].items():
        reasons = windows["reasons"][question]
        why = f" ({', '.join(f'{name} {count}' for name, count in reasons.items())})" if reasons else ""
        told.append(f"{question} judged in {judged}{why}")
    text = f"{closed} windows: {', '.join(told)}"
    blind = [question for question, judged in windows["judged"].items() if not judged]
    return f"{text}; nothing is known about {' and '.join(blind)}" if blind else text


def _cells(row: Mapping[str, Any], metric: str, tells_gain: bool) -> list[str]:
    found = row["metrics"][metric]
    gain = [_gain(found["gain"], found["gain_interval"])] if tells_gain else []
    return [_number(found["static"]), _number(found["managed"]), *gain]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.{_digits(value)}f}"


def _digits(value: float) -> int:
    """Metrics in units of a label may be thousands: digits that tell nothing are left out."""
    return max(0, 3 - max(0, math.floor(math.log10(abs(value) or 1))))


def _gain(value: float | None, interval: tuple[float, float] | None) -> str:
    if value is None or interval is None:
        return "-"
    digits = _digits(max(map(abs, interval)))
    return f"{value:+.{digits}f} [{interval[0]:+.{digits}f}, {interval[1]:+.{digits}f}]"
