"""What the thresholds of a version were found for, beside what the file says now."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.spec.monitoring import Monitoring
from capstan.spec.units import format_duration


def thresholds_are_for(monitoring: Monitoring) -> dict[str, str]:
    """The fields on which thresholds depend, as the file writes them; `none` where it does not."""
    window, drift = monitoring.window, monitoring.drift
    return {
        "window.duration": format_duration(window.duration),
        "window.rows": "none" if window.rows is None else str(window.rows),
        "window.every": "none" if window.every is None else format_duration(window.every),
        "drift.falseAlarmsPerMonth": f"{drift.false_alarms_per_month:g}",
        "drift.consecutive": str(drift.consecutive),
        "drift.online": ", ".join(sorted(drift.online)) or "none",
        "drift.slices.alert": str(drift.slices.alert).lower(),
    }


def found_for_others(known: Mapping[str, str], monitoring: Monitoring) -> str:
    """Which of them the file has changed since the training, and what to do; empty: none, or it is not known."""
    now = thresholds_are_for(monitoring)
    changed = [
        f"monitoring.{name} {known[name]} and not {value}"
        for name, value in now.items()
        if name in known and known[name] != value
    ]
    if not changed:
        return ""
    return (
        f"thresholds were found for {', '.join(changed)}, so false alarms may be more or fewer than the file allows; "
        "`capstan retrain` finds them again"
    )
