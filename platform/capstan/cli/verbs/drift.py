"""`capstan drift`: what decided windows said of each feature, over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, print_json
from capstan.cli.place import Context, Namespace, place_of
from capstan.cli.stored_system import System, open_system
from capstan.cli.tables_shown import aligned
from capstan.cli.told_windows import told_windows
from capstan.errors import NotFoundError

if TYPE_CHECKING:
    from capstan.monitoring.told_windows import Slices
    from capstan.verbs.drifting import Drift, Drifted, Window

app = App()

BARS = "▁▂▃▄▅▆▇█"
_MOST_WINDOWS = 10
"""Windows that are told one by one."""
_FEWEST_SLICES = 3
"""Pairs of slice and feature that are told though none moved."""


@app.command(epilog="Example: capstan drift flight-delays --feature temp")
def drift(
    system: System = None,
    feature: Annotated[
        list[str] | None,
        typer.Option("--feature", help="Only this feature; may be repeated.", show_default=False),
    ] = None,
    version: Annotated[
        str | None,
        typer.Option(help="Only windows in which this version was watched.", show_default=False),
    ] = None,
    last: Annotated[int, typer.Option(min=1, help="So many of the newest windows.")] = 40,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    json: Json = False,
) -> None:
    """Show the drift of each feature: distance and threshold over time, and each window's verdicts.

    It is read from what the monitor has stored; on one machine nothing needs to run. --json has all measured numbers.
    """
    with honest_errors(json):
        from capstan.verbs.drifting import drift_of

        place = place_of(state, context, namespace)
        with open_system(place, system) as stored:
            found = drift_of(told_windows(stored.place, stored.name), last=last, version=version)
        if version is not None and not found.windows:
            raise NotFoundError(
                f"no window was decided while {version} was watched; `capstan drift` shows all"
            )
        chosen = _chosen(found.features, feature or ())
        if json:
            print_json(
                {
                    "system": stored.name,
                    "windows": [asdict(one) for one in found.windows],
                    "features": [_document(one) for one in chosen],
                }
            )
            return
        _print(stored.name, found, chosen)


def _chosen(features: Sequence[Drifted], wanted: Sequence[str]) -> list[Drifted]:
    """Raises NotFoundError for one that no window knows."""
    known = [one.name for one in features]
    for name in wanted:
        if name not in known:
            there = ", ".join(known) or "none, for no window was decided yet"
            raise NotFoundError(f"--feature {name}: no window knows it; there are: {there}")
    return [one for one in features if not wanted or one.name in wanted]


def _document(one: Drifted) -> dict[str, Any]:
    return {
        "name": one.name,
        "is_output": one.is_output,
        "measured": one.measured,
        "above": one.above,
        "over_time": [asdict(measured) if measured is not None else None for measured in one.over_time],
    }


def _print(name: str, found: Drift, chosen: Sequence[Drifted]) -> None:
    if not found.windows:
        typer.echo(f"{name}: no window was decided yet; `capstan status` says how often one is")
        return
    newest = found.windows[-1]
    count = len(found.windows)
    beside = f", compared with {_between(*newest.reference)}" if newest.reference is not None else ""
    typer.echo(
        f"{name}: {count} window{'s' if count > 1 else ''}, the newest of {_span(newest)} ({newest.version}){beside}"
    )
    rows: list[tuple[str, ...]] = [
        ("feature", "test", "distance", "threshold", "above", "missing", "over time")
    ]
    rows += [_cells(one) for one in chosen]
    for line in aligned(rows):
        typer.echo(line)
    typer.echo(
        f"over time: up to {BARS[3]} within the threshold, {BARS[4]} and more above it, {BARS[-1]} from 1.75 times on; "
        "· not measured"
    )
    if newest.slices is not None:
        typer.echo("")
        for line in _slices(newest.slices):
            typer.echo(line)
    typer.echo("")
    for line in aligned(
        [("window", "version", "rows", "verdicts"), *map(_window, found.windows[-_MOST_WINDOWS:])]
    ):
        typer.echo(line)
    if newest.doubt:
        typer.echo("")
        typer.echo(f"beware: {newest.doubt}")
    if told := _estimates_in_words(found.windows):
        typer.echo("")
        typer.echo(told)


def _slices(found: Slices) -> list[str]:
    rows: list[tuple[str, ...]] = [("slice", "feature", "distance", "threshold", "rows", "")]
    rows += [
        (
            one.slice,
            one.feature,
            f"{one.distance:.3f}",
            f"{one.threshold:.3f}",
            f"{one.rows:,}",
            "above" if one.is_above else "",
        )
        for one in found.farthest[: max(_FEWEST_SLICES, sum(one.is_above for one in found.farthest))]
    ]
    shown = sum(one.is_above for one in found.farthest)
    more = [f"{found.moved - shown:,} more are above their threshold"] if found.moved > shown else []
    return [*(aligned(rows) if found.farthest else []), *more, f"in the newest window: {found}"]


def _estimates_in_words(windows: Sequence[Window]) -> str:
    """In how many windows the truth lay where the estimate had said; empty: no estimate has met its truth."""
    met = [
        (window, one) for window in windows if (one := window.estimate) is not None and one.held is not None
    ]
    if not met:
        return ""
    sure = [(window, one) for window, one in met if one.is_sure]
    wrong = [_span(window) for window, one in sure if not one.held]
    count = f"estimates: the truth lay within the interval in {len(sure) - len(wrong)} of {len(sure)} windows"
    told = f"{count}; wrong in {', '.join(wrong)}" if wrong else count
    unsure = [one for _, one in met if not one.is_sure]
    if not unsure:
        return told
    return f"{told}; of {len(unsure)} that were unsure, {sum(bool(one.held) for one in unsure)} held"


def _cells(one: Drifted) -> tuple[str, ...]:
    newest = one.newest
    drawn = "".join(_bar(measured) for measured in one.over_time)
    name = f"prediction: {one.name}" if one.is_output else one.name
    above = f"{one.above} of {one.measured}"
    if newest is None:
        return (name, "-", "-", "-", above, "-", drawn)
    missing = "-" if newest.missing_rate is None else f"{newest.missing_rate:.1%}"
    threshold = "-" if newest.threshold is None else f"{newest.threshold:.3f}"
    return (name, newest.test, f"{newest.distance:.3f}", threshold, above, missing, drawn)


def _bar(measured: Any) -> str:
    from capstan.verbs.drifting import ratio_of

    ratio = ratio_of(measured) if measured is not None else None
    if ratio is None:
        return "·"
    # At the threshold the fourth of eight, so that what is above can be seen to be.
    step = int(ratio * 4) if ratio > 1 else min(3, int(ratio * 4))
    return BARS[min(len(BARS) - 1, step)]


def _window(window: Window) -> tuple[str, ...]:
    verdicts = [
        f"{question} {_verdict(question, outcome)}"
        + (f" but for {window.besides[question]}" if question in window.besides else "")
        for question, outcome in window.outcomes.items()
    ]
    if window.slices is not None and window.slices.in_short:
        verdicts.append(window.slices.in_short)
    if window.online is not None and window.online.since is not None:
        verdicts.append(f"online since {window.online.since:%Y-%m-%d %H:%M}")
    if window.quality is not None:
        verdicts.append(f"{window.metric} {window.quality:.3f}")
    verdicts += [str(window.estimate)] if window.estimate is not None else []
    verdicts += [f"fires: {', '.join(window.alerts)}"] if window.alerts else []
    verdicts += [f"({window.gap})"] if window.gap else []
    rows = "-" if window.rows is None else f"{window.rows:,}"
    return (_span(window), window.version, rows, ", ".join(verdicts))


def _verdict(question: str, outcome: str) -> str:
    above = {"quality": "dropped", "concept": "losses rose"}.get(question, "above")
    return {"Fine": "fine", "Breach": above, "NoEvidence": "not judged"}.get(outcome, outcome)


def _span(window: Window) -> str:
    return _between(window.start, window.end)


def _between(start: datetime | None, end: datetime) -> str:
    form = "%Y-%m-%d" if end.time() == end.min.time() else "%Y-%m-%d %H:%M"
    return f"{start:{form}} to {end:{form}}" if start else f"{end:{form}}"
