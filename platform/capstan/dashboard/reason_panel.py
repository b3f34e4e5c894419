"""Why alerts fired, as the page draws it beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from capstan.dashboard.page import AlertShown, BarShown, ReasonShown
from capstan.monitoring.causes.told import why_of


def with_reasons(alerts: Sequence[AlertShown], windows: Sequence[Mapping[str, Any]]) -> list[AlertShown]:
    """The same alerts, each with what moved in the window that raised it, if any window tells it."""
    return [replace(alert, why=_reason(alert, windows)) for alert in alerts]


def _reason(alert: AlertShown, windows: Sequence[Mapping[str, Any]]) -> ReasonShown | None:
    found = why_of(windows, alert.name, version=alert.version, until=alert.fired_at)
    if found is None:
        return None
    bars = [BarShown(**asdict(bar)) for bar in found.bars]
    return ReasonShown(found.start, found.end, found.sentences, bars)
