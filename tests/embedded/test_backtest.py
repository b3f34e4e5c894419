"""A backtest decides as the live replay did: the same decisions at the same moments, from windows equal bit for bit."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from embedded.loop_process import opened, windows
from embedded.scenario import NAME, capstan

from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.embedded.replay.report import Report
from capstan.engine.story import decisions

pytestmark = [pytest.mark.real, pytest.mark.slow]

COUNTED = "StepPassed", "Promoting", "Promoted"
"""Decisions whose messages count requests, of which those without a key are drawn by chance at a real gateway."""


@pytest.fixture(scope="module")
def tested(world: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command answers."""
    state = tmp_path_factory.mktemp("backtest") / ".capstan"
    done = capstan("backtest", world / "system.yaml", "--state", state, "--json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    [policy] = json.loads(done.stdout)["policies"]
    return dict(policy)


def test_every_decision_is_that_of_the_live_replay(
    replayed: tuple[StateDir, Report], tested: dict[str, Any]
) -> None:
    state, _ = replayed
    with opened(state) as store:
        live = [told for told in decisions(store, SystemName(NAME)) if not told.reason.startswith("Process")]
    found = tested["decisions"]
    assert [(told.at, told.reason, told.kind, told.name, told.details) for told in live] == [
        (datetime.fromisoformat(one["at"]), one["reason"], one["kind"], one["name"], one["details"])
        for one in found
    ]
    for told, one in zip(live, found, strict=True):
        if told.reason not in COUNTED:
            assert told.message == one["message"]


def test_it_measured_what_the_live_replay_measured(
    replayed: tuple[StateDir, Report], tested: dict[str, Any]
) -> None:
    state, report = replayed
    for name in ("requests", "failed_requests", "labelled_rows", "alerts", "retrainings", "promotions"):
        assert tested[name] == report[name], name  # type: ignore[literal-required]
    assert tested["windows"] == report["windows"]
    assert tested["gain"] == pytest.approx(report["gain"], abs=1e-3)
    before = [window for window in windows(state) if window["version"] == "v1"]
    assert before
    found = tested["windows_told"][: len(before)]
    assert [without_p_values(window) for window in found] == [without_p_values(window) for window in before]


def without_p_values(window: dict[str, Any]) -> dict[str, Any]:
    """alibi-detect reads numbers as float32, of which its p-values show the last digits; they decide nothing."""
    kept = {
        part: {
            name: {key: value for key, value in told.items() if key != "p_value"}
            for name, told in window[part].items()
        }
        for part in ("features", "outputs")
    }
    return {**window, **kept}
