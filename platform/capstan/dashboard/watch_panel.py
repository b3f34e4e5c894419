"""What the monitor decided, as the page draws it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from capstan.dashboard.page import Cell, OnlineShown, WatchPanel, WindowShown

MOST_WINDOWS = 60


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
    newest = shown[-MOST_WINDOWS:]
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
    found = _map(window.get("features"))
    order = [name for name in features if name in found] + sorted(found.keys() - set(features))
    quality = _map(window.get("quality"))
    outputs = _map(window.get("outputs"))
    start = window.get("start")
    gaps = dict.fromkeys(
        text
        for answer in _map(window.get("answers")).values()
        if (text := str(_map(_map(answer).get("gap")).get("message", "")))
    )
    return WindowShown(
        start=datetime.fromisoformat(str(start)) if start else None,
        end=datetime.fromisoformat(str(window["end"])),
        version=str(window.get("version", "")),
        rows=int(window["rows"]) if window.get("rows") is not None else None,
        is_alert=bool(window.get("drift_alert") or window.get("alert")),
        cells=[_cell(name, _map(found[name])) for name in order],
        outputs=[_cell(_output_name(name, len(outputs)), _map(outputs[name])) for name in sorted(outputs)],
        quality=_number(quality.get("value")),
        coverage=_number(quality.get("coverage", window.get("coverage"))),
        quality_floor=_number(quality.get("floor")),
        is_judged=not gaps and bool(window.get("has_enough_rows", True)),
        gap="; ".join(gaps),
        quality_gap=str(quality.get("message", "")),
        quality_notes=[str(note) for note in quality.get("notes", ())],
    )


def _output_name(name: str, outputs: int) -> str:
    """One output alone is the prediction; of several each is named."""
    return "prediction" if outputs == 1 else f"prediction: {name}"


def _cell(name: str, found: Mapping[str, Any]) -> Cell:
    distance, threshold = _number(found.get("distance")), _number(found.get("threshold"))
    above = distance is not None and threshold is not None and distance > threshold
    return Cell(
        feature=name,
        distance=distance,
        threshold=threshold,
        missing=_number(found.get("missing_rate", found.get("missing"))),
        is_breach=bool(found.get("breach", above)),
        test=str(found.get("test", "")),
    )


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _number(value: object) -> float | None:
    if isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    return None
