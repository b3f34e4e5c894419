"""What a report tells of the watching: why alerts fired, whether estimates held, and where losses rose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, TypedDict

from capstan.monitoring.causes.told import reasons_of


class EstimatesTold(TypedDict):
    """Estimates of quality beside the truth that came later."""

    metric: str
    windows: int
    """Windows with an estimate."""
    checked: int
    """Of those that were sure of themselves the ones whose truth came."""
    held: int
    """Of these the ones whose truth lay within the interval."""
    wrong: list[str]
    """Ends of the others."""
    mean_error: float | None
    """Mean distance of estimate and truth, in the metric's unit; None: no truth came."""


class RiseTold(TypedDict):
    """A rise of losses that a detector of concept drift found."""

    version: str
    detector: str
    metric: str
    since: str
    loss: float | None
    """Mean of the window in which it was told first."""
    reference: float | None
    """Mean of the test window."""


class WatchingTold(TypedDict):
    """Of all windows that the monitor still tells, the newest 400."""

    reasons: list[dict[str, Any]]
    """What moved, of each firing of an alert, by `capstan why`; oldest first."""
    estimates: EstimatesTold | None
    """None: nothing was estimated."""
    rises: list[RiseTold] | None
    """None: the file names no detector of concept drift."""


def watching_section(windows: Sequence[Mapping[str, Any]]) -> WatchingTold:
    """`windows` as the monitor tells them, oldest first."""
    concepts = [one for window in windows if (one := (window.get("quality") or {}).get("concept"))]
    return WatchingTold(
        reasons=[asdict(one) for one in reasons_of(windows)],
        estimates=_estimates(windows),
        rises=list(_rises(windows)) if concepts else None,
    )


def _estimates(windows: Sequence[Mapping[str, Any]]) -> EstimatesTold | None:
    told = [
        (window, one) for window in windows if (one := window.get("estimate")) and one["value"] is not None
    ]
    if not told:
        return None
    met = [one for _, one in told if one["truth"] is not None]
    sure = [(window, one) for window, one in told if one["is_sure"] and one["held"] is not None]
    errors = [abs(one["value"] - one["truth"]) for one in met]
    return EstimatesTold(
        metric=told[-1][1]["metric"],
        windows=len(told),
        checked=len(sure),
        held=sum(one["held"] for _, one in sure),
        wrong=[window["end"] for window, one in sure if not one["held"]],
        mean_error=sum(errors) / len(errors) if errors else None,
    )


def _rises(windows: Sequence[Mapping[str, Any]]) -> Iterator[RiseTold]:
    told: set[tuple[str, str]] = set()
    for window in windows:
        one = (window.get("quality") or {}).get("concept")
        if not one or not one["since"] or (window["version"], one["since"]) in told:
            continue
        told.add((window["version"], one["since"]))
        yield RiseTold(
            version=window["version"],
            detector=one["detector"],
            metric=one["metric"],
            since=one["since"],
            loss=one["loss"],
            reference=one["reference"],
        )
