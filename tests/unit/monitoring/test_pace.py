"""Claims about how soon a live monitor decides a window."""

from __future__ import annotations

from datetime import timedelta

import pytest

from capstan.monitoring.pace import LivePace, live_pace


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        pytest.param(timedelta(days=7), LivePace(60, 60), id="a week"),
        pytest.param(timedelta(minutes=2), LivePace(12, 30), id="two minutes"),
        pytest.param(timedelta(seconds=30), LivePace(5, 15), id="half a minute"),
    ],
)
def test_short_windows_are_decided_soon_after_their_payloads_are_stored(
    window: timedelta, expected: LivePace
) -> None:
    assert live_pace(window, flush_seconds=10) == expected
