"""Who has no Alertmanager gets the same alerts; `contract/test_alert_rules.py` shows that Prometheus says the same."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from capstan.monitoring.held_alerts import fingerprint, held_alerts
from capstan.monitoring.watched_version import WatchedVersion
from capstan.monitoring.windows import DriftWindow, FeatureDrift
from capstan.spec import MLSystem

SINCE, WEEK = datetime(2013, 2, 1, tzinfo=UTC), timedelta(days=7)


def drifted(distance: float, windows: int) -> WatchedVersion:
    watch = WatchedVersion("v1", "/model", SINCE)
    for number in range(windows):
        start = SINCE + number * WEEK
        feature = FeatureDrift("temp", 2000, distance, 0.1, None, 0.0, 0.0, 0.1)
        watch = watch.with_drift(DriftWindow(number, start, start + WEEK, 2000, True, (feature,)))
    return watch


@pytest.mark.parametrize(
    ("name", "severity", "trigger", "version", "found"),
    [
        ("DriftDetected", "warning", "drift", "v1", "d6efde9fb7b0d198"),
        ("DriftDetected", "warning", "drift", "v2", "d6f3de9fb7b4ba6f"),
        ("QualityDropped", "critical", "quality", "v2", "7047c0f78e685bf6"),
    ],
)
def test_fingerprints_are_those_that_a_real_alertmanager_gave(
    name: str, severity: str, trigger: str, version: str, found: str
) -> None:
    labels = {
        "alertname": name,
        "kind": "data",
        "severity": severity,
        "system": "flight-delays",
        "trigger": trigger,
        "version": version,
    }
    assert fingerprint(labels) == found


def test_an_alert_holds_from_as_many_windows_as_the_file_says_and_tells_the_end_of_the_last(
    system: MLSystem,
) -> None:
    assert held_alerts(system, drifted(0.3, 1)) == []
    # Without references of predictions the monitor says that it is blind to them.
    assert [one.name for one in held_alerts(system, drifted(0.05, 2))] == ["MonitorBlind"]
    [alert] = [one for one in held_alerts(system, drifted(0.3, 2)) if one.trigger]
    assert (alert.name, alert.version, alert.trigger) == ("DriftDetected", "v1", "drift")
    assert alert.as_of == SINCE + 2 * WEEK
    assert alert.summary == (
        "drift in 2 windows of 7 days in a row; above threshold in the last: temp 0.300 (distance)"
    )
    assert alert.fingerprint == "d6efde9fb7b0d198"
