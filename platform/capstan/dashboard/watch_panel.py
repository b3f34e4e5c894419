"""What the monitor decided, as the page draws it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from capstan.dashboard.page import (
    Cell,
    ConceptShown,
    OnlineShown,
    WatchPanel,
    WindowShown,
)
from capstan.monitoring.told_values import as_mapping, as_number
from capstan.monitoring.told_windows import Online, Slices, estimate_of, online_of, output_title, slices_of

MOST_WINDOWS = 60
MOST_LABELLED = 20
"""Older windows with quality, which come late and far apart where windows overlap."""
_SLICES_SHOWN = 3
_ROWS_SHOWN = 5
"""Columns of online detectors, those that moved farthest."""


def watch_shown(
    windows: Sequence[Mapping[str, Any]],
    *,
    metric: str,
    every: timedelta | None,
    features: Sequence[str],
    online: Sequence[Mapping[str, Any]] = (),
) -> WatchPanel:
    """The newest windows, oldest first; the monitor's JSON is read leniently, because it may be newer than the page."""
    shown = [_window(window, features) for window in windows if window.get("end")]
    shown.sort(key=lambda window: (window.end, window.version))
    older, newest = shown[:-MOST_WINDOWS], shown[-MOST_WINDOWS:]
    newest = [window for window in older if window.quality is not None][-MOST_LABELLED:] + newest
    return WatchPanel(
        windows=newest,
        judged=sum(window.is_judged for window in newest),
        quality_metric=metric,
        every=every,
        online=[_online(one) for one in online],
    )


def _online(one: Mapping[str, Any]) -> OnlineShown:
    return OnlineShown(
        title=str(one.get("title", "")),
        better=str(one.get("better", "")),
        version=str(one.get("version", "")),
        value=str(one.get("value", "")),
        standard_error=str(one.get("standardError", "")),
        units=int(one.get("units", 0)),
        coverage=str(one.get("coverage", "")),
        delay=str(one.get("delay", "")),
    )


def _window(window: Mapping[str, Any], features: Sequence[str]) -> WindowShown:
    found = as_mapping(window.get("features"))
    order = [name for name in features if name in found] + sorted(found.keys() - set(features))
    quality = as_mapping(window.get("quality"))
    outputs = as_mapping(window.get("outputs"))
    start = window.get("start")
    gaps = dict.fromkeys(
        text
        for answer in as_mapping(window.get("answers")).values()
        if (text := str(as_mapping(as_mapping(answer).get("gap")).get("message", "")))
    )
    return WindowShown(
        start=datetime.fromisoformat(str(start)) if start else None,
        end=datetime.fromisoformat(str(window["end"])),
        version=str(window.get("version", "")),
        rows=int(window["rows"]) if window.get("rows") is not None else None,
        is_alert=bool(window.get("drift_alert") or window.get("alert")),
        cells=[_cell(name, as_mapping(found[name])) for name in order],
        outputs=[
            _cell(output_title(name, len(outputs)), as_mapping(outputs[name])) for name in sorted(outputs)
        ],
        quality=as_number(quality.get("value")),
        coverage=as_number(quality.get("coverage", window.get("coverage"))),
        quality_floor=as_number(quality.get("floor")),
        is_judged=not gaps and bool(window.get("has_enough_rows", True)),
        gap="; ".join(gaps),
        quality_gap=str(quality.get("message", "")),
        quality_notes=[str(note) for note in quality.get("notes", ())],
        doubt=str(window.get("doubt", "")),
        slices=_slices(slices_of(window)),
        estimate=estimate_of(window),
        online=_rows(online_of(window)),
        concept=_concept(as_mapping(quality.get("concept"))),
    )


def _rows(found: Online | None) -> Online | None:
    return None if found is None else replace(found, measured=found.measured[:_ROWS_SHOWN])


def _concept(told: Mapping[str, Any]) -> ConceptShown | None:
    if not told:
        return None
    since = told.get("since")
    return ConceptShown(
        detector=str(told.get("detector", "")),
        metric=str(told.get("metric", "")),
        loss=as_number(told.get("loss")),
        reference=as_number(told.get("reference")),
        is_rise=told.get("outcome") == "Breach",
        since=datetime.fromisoformat(str(since)) if since else None,
        gap=str(as_mapping(told.get("gap")).get("message", "")),
    )


def _slices(found: Slices | None) -> list[str]:
    """Those that moved, and how many were not judged."""
    if found is None:
        return []
    above = [one for one in found.farthest if one.is_above][:_SLICES_SHOWN]
    told = [f"{one.slice}: {one.feature} {one.distance:.2f}" for one in above]
    more = found.moved - len(told)
    unjudged = [f"{found.too_few} of {found.too_few + found.compared} not judged"] if found.too_few else []
    return [*told, *([f"{more} more"] if more > 0 else []), *unjudged]


def _cell(name: str, found: Mapping[str, Any]) -> Cell:
    distance, threshold = as_number(found.get("distance")), as_number(found.get("threshold"))
    above = distance is not None and threshold is not None and distance > threshold
    return Cell(
        feature=name,
        distance=distance,
        threshold=threshold,
        missing=as_number(found.get("missing_rate", found.get("missing"))),
        is_breach=bool(found.get("breach", above)),
        test=str(found.get("test", "")),
    )
