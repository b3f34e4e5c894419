"""Why an alert fired, out of the windows that the monitor has told: sentences, and the bars of one picture.

Windows are read leniently, because they may be of a newer monitor.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from capstan.monitoring.questions import QUESTIONS
from capstan.monitoring.told_values import as_mapping, as_number

MOST_NAMED = 3
"""Features of a drift whose values are told and drawn, those farthest above their threshold."""


@dataclass(frozen=True)
class Bar:
    """One kind of rows in the picture."""

    what: str
    """In words: `weather=snow`; of the last bar of a rise, `all other rows`."""
    before: float | None
    """Its share of the rows that the window is compared with; None: all others."""
    now: float | None
    explained: float | None = None
    """Share of the rise; None: it is not about losses."""
    low: float | None = None
    """Of the 95 % interval of `explained`."""
    high: float | None = None
    mix: float = 0.0
    """Part of `explained` that comes from more rows that are harder."""
    within: float = 0.0
    """Part that comes from the same rows being judged worse."""


@dataclass(frozen=True)
class Why:
    """What one window says about the reason of an alert."""

    alert: str
    version: str
    start: datetime | None
    end: datetime
    sentences: tuple[str, ...]
    bars: tuple[Bar, ...]
    """Those that changed or explain most first; empty: nothing can be drawn."""


def alerts_told(windows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of the alerts that have a reason to tell in any window, the newest first."""
    return list(
        dict.fromkeys(
            alert
            for window in reversed(windows)
            for alert in _texts(window.get("alerts"))
            if why_of([window], alert) is not None
        )
    )


def why_of(
    windows: Sequence[Mapping[str, Any]],
    alert: str,
    *,
    version: str | None = None,
    until: datetime | None = None,
) -> Why | None:
    """What the newest window in which the alert held says; None: none says anything.

    `version`: only its windows. `until`: the first window of the last firing that began by then, as the alert may hold
    in later windows whose labels had not come.
    """
    ours = [window for window in windows if version in (None, window.get("version"))]
    if until is not None:
        begun = (why for _, why in _firings(ours, alert) if why.end <= until)
        return max(begun, key=lambda why: why.end, default=None)
    found: Why | None = None
    for window in ours:
        if alert not in _texts(window.get("alerts")):
            continue
        if found is None or datetime.fromisoformat(str(window["end"])) >= found.end:
            found = _of_window(window, alert) or found
    return found


def reasons_of(windows: Sequence[Mapping[str, Any]]) -> list[Why]:
    """One for each firing of an alert, by the first window of it that says anything; `windows` are oldest first."""
    names = dict.fromkeys(question.alert.name for question in QUESTIONS.values())
    found = [firing for alert in names for firing in _firings(windows, alert)]
    return [why for _, why in sorted(found, key=lambda one: (one[0], one[1].alert))]


def _firings(windows: Sequence[Mapping[str, Any]], alert: str) -> Iterator[tuple[int, Why]]:
    """Of each firing the first window that says anything, and its place."""
    question = next((one for one in QUESTIONS.values() if one.alert.name == alert), None)
    told: str | None = None
    for place, window in enumerate(windows):
        if question is None or (question.kind == "Quality" and not window.get("quality")):
            # It says nothing of the alert: not even that it ended.
            continue
        if alert not in _texts(window.get("alerts")):
            told = None
        elif told != (version := str(window.get("version", ""))) and (why := _of_window(window, alert)):
            told = version
            yield place, why


def _of_window(window: Mapping[str, Any], alert: str) -> Why | None:
    question = next((one for one in QUESTIONS.values() if one.alert.name == alert), None)
    if question is None:
        return None
    if question.kind == "Quality":
        causes = as_mapping(as_mapping(window.get("quality")).get("causes"))
        sentences, bars = _texts(causes.get("sentences")), tuple(_of_causes(causes))
    elif question.kind == "Rows":
        sentences, bars = _texts(as_mapping(window.get("online")).get("sentences")), ()
    else:
        # Before labels come all that can be told of an estimate is what moved among the inputs.
        part = "drift" if question.name == "estimate" else question.name
        sentences = _texts(as_mapping(window.get("moved")).get(part))
        bars = tuple(
            _of_moves(as_mapping(window.get("outputs" if part == "predictions" else "features")), part)
        )
    if not sentences:
        return None
    start = window.get("start")
    return Why(
        alert,
        str(window.get("version", "")),
        datetime.fromisoformat(str(start)) if start else None,
        datetime.fromisoformat(str(window["end"])),
        sentences,
        bars,
    )


def _of_causes(told: Mapping[str, Any]) -> Iterator[Bar]:
    rise, unexplained = as_number(told.get("rise")), as_number(told.get("unexplained"))
    if not rise or rise <= 0 or unexplained is None:
        return
    for one in map(as_mapping, told.get("causes") or ()):
        mix, within = as_number(one.get("mix")) or 0.0, as_number(one.get("within")) or 0.0
        margin = as_number(one.get("margin")) or 0.0
        yield Bar(
            what=str(one.get("what", "")),
            before=as_number(one.get("reference_share")),
            now=as_number(one.get("share")),
            explained=(mix + within) / rise,
            low=(mix + within - margin) / rise,
            high=(mix + within + margin) / rise,
            mix=mix / rise,
            within=within / rise,
        )
    margin = as_number(told.get("unexplained_margin")) or 0.0
    yield Bar(
        what="all other rows",
        before=None,
        now=None,
        explained=unexplained / rise,
        low=(unexplained - margin) / rise,
        high=(unexplained + margin) / rise,
        within=unexplained / rise,
    )


def _of_moves(features: Mapping[str, Any], part: str) -> Iterator[Bar]:
    if part == "missing":
        for name, one in features.items():
            rate, rise = (
                as_number(as_mapping(one).get("missing_rate")),
                as_number(as_mapping(one).get("missing_rise")),
            )
            if as_mapping(one).get("missing_breach") and rate is not None and rise is not None:
                yield Bar(f"{name} missing", rate - rise, rate)
        return
    drifted = [(name, as_mapping(one)) for name, one in features.items() if as_mapping(one).get("breach")]
    drifted.sort(key=lambda one: (-_above(one[1]), one[0]))
    for _, one in drifted[:MOST_NAMED]:
        for move in map(as_mapping, one.get("moves") or ()):
            what = str(move.get("what", "")).removeprefix(":")
            yield Bar(what, as_number(move.get("before")), as_number(move.get("now")))


def _above(told: Mapping[str, Any]) -> float:
    return (as_number(told.get("distance")) or 0.0) / max(as_number(told.get("threshold")) or 0.0, 1e-9)


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list | tuple) else ()
