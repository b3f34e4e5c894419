"""What decided windows said: of each feature over time, and of each window."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.errors import CapstanError
from capstan.monitoring.told_values import as_mapping, as_number
from capstan.monitoring.told_windows import Estimated, Online, Slices, estimate_of, online_of, slices_of

FINE, BREACH, UNKNOWN = "Fine", "Breach", "NoEvidence"


@dataclass(frozen=True)
class Measured:
    """What one window found of one feature, or of one output of the model."""

    end: datetime
    test: str
    distance: float | None
    """None: it was not measured."""
    threshold: float | None
    is_above: bool
    missing_rate: float | None


@dataclass(frozen=True)
class Drifted:
    """One feature, or one output, over the windows that were looked at."""

    name: str
    is_output: bool
    over_time: tuple[Measured | None, ...]
    """One entry for each window, oldest first; None: the window says nothing of it."""

    @property
    def newest(self) -> Measured | None:
        return next(
            (one for one in reversed(self.over_time) if one is not None and one.distance is not None), None
        )

    @property
    def measured(self) -> int:
        return sum(one is not None and one.distance is not None for one in self.over_time)

    @property
    def above(self) -> int:
        """Windows in which the distance was above the threshold."""
        return sum(one is not None and one.is_above for one in self.over_time)


@dataclass(frozen=True)
class Window:
    """One decided window."""

    start: datetime | None
    end: datetime
    version: str
    rows: int | None
    outcomes: Mapping[str, str]
    """`Fine`, `Breach` or `NoEvidence` of each question; of quality only once its labels are in."""
    gap: str
    """Why a question could not be judged; empty: each was."""
    besides: Mapping[str, str]
    """What a question found that no alert is asked of, such as a slice that drifted, in words."""
    alerts: tuple[str, ...]
    """Alerts that fire after it."""
    quality: float | None
    metric: str
    """Of `quality`; empty: none."""
    estimate: Estimated | None = None
    """What quality probably was, told before labels came."""
    slices: Slices | None = None
    """None: the file names none, or there were too few rows."""
    reference: tuple[datetime, datetime] | None = None
    """Start and end of the requests that it was compared with; None: the training data."""
    doubt: str = ""
    """Why its thresholds may be too strict or too loose; empty: they are those of the file."""
    online: Online | None = None
    """What online detectors said by its end; None: the file names none."""


@dataclass(frozen=True)
class Drift:
    """All that the windows said, oldest first."""

    windows: tuple[Window, ...]
    features: tuple[Drifted, ...]
    """Those that are farthest above their threshold in the newest window first; outputs last."""


def windows_on_machine(state: StateDir, system: SystemName) -> list[dict[str, Any]]:
    """Windows as the monitor stored them, oldest first; none where it has decided none. Raises CapstanError."""
    file: Path = state.monitor(system) / "state.json"
    try:
        found: list[dict[str, Any]] = orjson.loads(file.read_bytes())["told"]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CapstanError(f"{file}: cannot be read: {error}") from error
    return found


def drift_of(
    told: Sequence[Mapping[str, Any]], *, last: int | None = None, version: str | None = None
) -> Drift:
    """What the newest `last` windows said (None: all), of this version only if one is named."""
    chosen = [one for one in told if one.get("end") and version in (None, one.get("version"))]
    chosen = sorted(chosen, key=lambda one: datetime.fromisoformat(one["end"]))
    chosen = chosen if last is None else chosen[-last:]
    drifted = [
        Drifted(name, is_output, tuple(_measured(one, part, name) for one in chosen))
        for part, is_output in (("features", False), ("outputs", True))
        for name in dict.fromkeys(name for one in reversed(chosen) for name in as_mapping(one.get(part)))
    ]
    return Drift(tuple(_window(one) for one in chosen), tuple(sorted(drifted, key=_order)))


def _order(one: Drifted) -> tuple[bool, float, str]:
    newest = one.newest
    ratio = ratio_of(newest) if newest is not None else None
    return one.is_output, -(ratio if ratio is not None else -1.0), one.name


def ratio_of(measured: Measured) -> float | None:
    """Distance over threshold; None where one of them is not there."""
    if measured.distance is None or not measured.threshold:
        return None
    return measured.distance / measured.threshold


def _window(told: Mapping[str, Any]) -> Window:
    answers = as_mapping(told.get("answers"))
    quality = as_mapping(told.get("quality"))
    outcomes = {name: str(as_mapping(answer).get("outcome", UNKNOWN)) for name, answer in answers.items()}
    gaps = [str(as_mapping(as_mapping(answer).get("gap")).get("message", "")) for answer in answers.values()]
    if quality:
        outcomes["quality"] = str(quality.get("decision", UNKNOWN))
        gaps.append(str(quality.get("message", "")))
    if concept := as_mapping(quality.get("concept")):
        outcomes["concept"] = str(concept.get("outcome", UNKNOWN))
        gaps.append(str(as_mapping(concept.get("gap")).get("message", "")))
    if (online := online_of(told)) is not None:
        outcomes["online"] = online.outcome
        gaps.append(online.gap)
    start = told.get("start")
    return Window(
        start=datetime.fromisoformat(str(start)) if start else None,
        end=datetime.fromisoformat(str(told["end"])),
        version=str(told.get("version", "")),
        rows=told.get("rows"),
        outcomes=outcomes,
        gap="; ".join(dict.fromkeys(gap for gap in gaps if gap)),
        besides={
            name: str(found)
            for name, answer in answers.items()
            if (found := as_mapping(answer).get("besides"))
        },
        alerts=tuple(map(str, told.get("alerts") or ())),
        quality=as_number(quality.get("value")),
        metric=str(quality.get("metric", "")),
        estimate=estimate_of(told),
        slices=slices_of(told),
        reference=(datetime.fromisoformat(earlier["start"]), datetime.fromisoformat(earlier["end"]))
        if (earlier := as_mapping(told.get("reference")))
        else None,
        doubt=str(told.get("doubt", "")),
        online=online,
    )


def _measured(told: Mapping[str, Any], part: str, name: str) -> Measured | None:
    found = as_mapping(told.get(part)).get(name)
    if not isinstance(found, Mapping):
        return None
    return Measured(
        end=datetime.fromisoformat(str(told["end"])),
        test=str(found.get("test", "")),
        distance=as_number(found.get("distance")),
        threshold=as_number(found.get("threshold")),
        is_above=bool(found.get("breach")),
        missing_rate=as_number(found.get("missing_rate")),
    )
