"""Parts of a window as a monitor told it, which may be of another release: what is told otherwise is left out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from capstan.monitoring.told_values import as_mapping, as_number


@dataclass(frozen=True)
class Estimated:
    """What a window's quality probably was, told before labels came, and whether that was right."""

    metric: str
    value: float | None
    low: float | None
    high: float | None
    is_sure: bool
    message: str
    """Why it may be wrong, or why there is none; empty: nothing spoke against it."""
    truth: float | None
    """None: labels have not come, or too few of them."""
    held: bool | None
    """Whether the truth lay within the interval; None: it cannot be told."""

    def __str__(self) -> str:
        if self.value is None:
            return f"{self.metric} not estimated ({self.message})"
        interval = "" if self.low is None else f" ({self.low:.3f} to {self.high:.3f})"
        held = {None: "", True: ", which held", False: ", which was wrong"}[self.held]
        doubt = f", unsure: {self.message}" if not self.is_sure and self.message else ""
        return f"{self.metric} estimated {self.value:.3f}{interval}{held}{doubt}"


@dataclass(frozen=True)
class SliceMeasured:
    """One feature among the rows of one slice, in one window."""

    slice: str
    """Such as `carrier=UA`."""
    feature: str
    rows: int
    distance: float
    threshold: float
    is_above: bool


@dataclass(frozen=True)
class Slices:
    """What a window says of slices."""

    farthest: tuple[SliceMeasured, ...]
    """Those that are farthest above their threshold first, a few of them."""
    moved: int
    """Pairs of slice and feature above their threshold."""
    compared: int
    too_few: int
    """Slices with fewer rows than `least_rows`."""
    least_rows: int
    notes: tuple[str, ...]
    """Which slices are not compared, and why."""

    @property
    def in_short(self) -> str:
        """What a line about the window must not leave out; empty: all were compared, and none moved."""
        known = self.compared + self.too_few
        told = [f"{self.moved:,} above by slice"] if self.moved else []
        if self.too_few or (self.notes and not known):
            told.append(f"{self.too_few:,} of {known:,} slices not judged" if known else "no slice judged")
        return ", ".join(told)

    def __str__(self) -> str:
        told = [f"{self.compared:,} slices compared"] if self.compared else []
        if self.too_few:
            told.append(f"{self.too_few:,} had fewer than {self.least_rows:,} rows")
        return "; ".join([*told, *self.notes])


@dataclass(frozen=True)
class OnlineMeasured:
    """One feature, or one output, as an online detector saw it."""

    name: str
    """`prediction`, or `prediction: NAME` where there are several outputs."""
    is_output: bool
    test: str
    distance: float
    """In units of what is usual."""
    threshold: float
    is_above: bool


@dataclass(frozen=True)
class Online:
    """What online detectors said by the end of a window."""

    outcome: str
    """`Fine`, `Breach` or `NoEvidence`."""
    since: datetime | None
    """When a drift was found that went on; None: there was none."""
    reached: datetime | None
    """Requests up to here were looked at."""
    measured: tuple[OnlineMeasured, ...]
    """Those that are farthest above their threshold first."""
    gap: str
    """Why there is no answer; empty: there is one."""


def slices_of(told: Mapping[str, Any]) -> Slices | None:
    """What a window, as the monitor tells it, says of slices."""
    found = as_mapping(told.get("slices"))
    if not found:
        return None
    gap = str(as_mapping(found.get("gap")).get("message", ""))
    farthest = found.get("farthest")
    measured = map(_slice_of, farthest if isinstance(farthest, list) else ())
    counted = {
        name: int(as_number(found.get(name)) or 0) for name in ("moved", "compared", "too_few", "least_rows")
    }
    return Slices(
        farthest=tuple(one for one in measured if one is not None),
        **counted,
        notes=tuple([gap] if gap else map(str, found.get("left_out", ()))),
    )


def _slice_of(told: object) -> SliceMeasured | None:
    """None: another release's monitor tells it otherwise."""
    found = as_mapping(told)
    numbers = [as_number(found.get(name)) for name in ("rows", "distance", "threshold")]
    rows, distance, threshold = numbers
    if rows is None or distance is None or threshold is None:
        return None
    return SliceMeasured(
        slice=str(found.get("slice", "")),
        feature=str(found.get("feature", "")),
        rows=int(rows),
        distance=distance,
        threshold=threshold,
        is_above=bool(found.get("breach")),
    )


def estimate_of(told: Mapping[str, Any]) -> Estimated | None:
    """What a window, as the monitor tells it, says of its quality before labels; None: nothing."""
    told = as_mapping(told.get("estimate"))
    if not told:
        return None
    held = told.get("held")
    return Estimated(
        metric=str(told.get("metric", "")),
        value=as_number(told.get("value")),
        low=as_number(told.get("low")),
        high=as_number(told.get("high")),
        is_sure=bool(told.get("is_sure")),
        message=str(told.get("message", "")),
        truth=as_number(told.get("truth")),
        held=held if isinstance(held, bool) else None,
    )


def online_of(told: Mapping[str, Any]) -> Online | None:
    """What a window, as the monitor tells it, says of online detectors; None: nothing."""
    found = as_mapping(told.get("online"))
    if not found:
        return None
    outputs = as_mapping(found.get("outputs"))
    columns = [
        *(_online(name, one, is_output=False) for name, one in as_mapping(found.get("features")).items()),
        *(_online(output_title(name, len(outputs)), one, is_output=True) for name, one in outputs.items()),
    ]
    measured = [one for one in columns if one is not None]
    since, reached = found.get("since"), found.get("reached")
    return Online(
        outcome=str(found.get("outcome", "NoEvidence")),
        since=datetime.fromisoformat(str(since)) if since else None,
        reached=datetime.fromisoformat(str(reached)) if reached else None,
        measured=tuple(sorted(measured, key=lambda one: (-one.distance / (one.threshold or 1.0), one.name))),
        gap=str(as_mapping(found.get("gap")).get("message", "")),
    )


def output_title(name: str, outputs: int) -> str:
    """One output alone is the prediction; of several each is named."""
    return "prediction" if outputs == 1 else f"prediction: {name}"


def _online(name: str, told: object, *, is_output: bool) -> OnlineMeasured | None:
    """None: too few lots have come, or another release tells it otherwise."""
    found = as_mapping(told)
    distance, threshold = as_number(found.get("distance")), as_number(found.get("threshold"))
    if distance is None or threshold is None:
        return None
    return OnlineMeasured(
        name, is_output, str(found.get("test", "")), distance, threshold, bool(found.get("breach"))
    )
