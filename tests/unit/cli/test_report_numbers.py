"""The table of a replay, in the words and the digits of the system's task."""

from __future__ import annotations

from typing import Any

import pytest

from capstan.cli.verbs.report import print_report


def compared(static: float, managed: float, interval: tuple[float, float] | None = None) -> dict[str, Any]:
    return {"static": static, "managed": managed, "gain": static - managed, "gain_interval": interval}


def document(**metrics: dict[str, Any]) -> dict[str, Any]:
    row = {"rows": 1200, "metrics": metrics}
    nothing = dict.fromkeys(("alerts", "retrainings", "promotions", "rollbacks", "failed_requests"), 0)
    return {
        "system": "minutes",
        "metrics": [{"name": name, "title": name, "direction": "Lower", "key": name} for name in metrics],
        "months": {"2013-02": row},
        "overall": row,
        "windows": {"closed": 0},
        "details": {},
        "online_steps": [],
        "watching": {"reasons": [], "estimates": None, "rises": None},
        "failures": [],
        "requests": 1200,
        "payloads_stored": 1200,
        "payloads_lost": 0,
        "payloads_unaccounted": 0,
        "latency_p99_seconds": None,
        "latency_p99_required_seconds": None,
        "seconds": 60.0,
        **nothing,
    }


def test_numbers_in_units_of_a_label_are_told_without_digits_that_tell_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    squared = {"squared error": compared(1687.331, 1589.7)}
    print_report(document(RMSE=compared(41.2372, 39.871, (-0.25, 3.125)), **squared))
    told = capsys.readouterr().out
    assert "41.24" in told
    assert "39.87" in told
    assert "+1.366 [-0.250, +3.125]" in told
    assert "1687 " in told
    assert "1590" in told
    assert all(len(line) <= 80 for line in told.splitlines() if "2013-02" in line)


def test_small_numbers_have_three_digits_as_before(capsys: pytest.CaptureFixture[str]) -> None:
    print_report(document(auc=compared(0.6393, 0.7116, (-0.1, -0.0501))))
    assert "0.639    0.712  -0.072 [-0.100, -0.050]" in capsys.readouterr().out
