"""Online detectors on stored requests: the same answer whoever looks, and alibi-detect's numbers are ours."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from contract.test_monitor import SINCE, WEEK, Watched, as_decided, week

from capstan.domain.versions import VersionName
from capstan.monitoring.drift.online import calibrating
from capstan.monitoring.drift.online.alibi import AlibiCramerVonMises, AlibiFisherExact
from capstan.monitoring.drift.online.detectors import OwnCramerVonMises, OwnFisherExact
from capstan.monitoring.held_alerts import held_alerts
from capstan.monitoring.watching import Watcher
from capstan.monitoring.windows import OnlineDrift
from capstan.testing import check_online_detector

pytestmark = pytest.mark.real
DAY = timedelta(days=1)
BOTH = ["CramerVonMises", "FisherExact"]


@pytest.fixture(autouse=True)
def quick_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calibrating, "STREAMS", 20)


def flags(reference: Any, sizes: Sequence[int]) -> AlibiFisherExact:
    return AlibiFisherExact(len(reference), int(reference.sum()), sizes)


def test_the_detectors_of_alibi_detect_keep_the_suite_and_give_our_numbers() -> None:
    check_online_detector(AlibiCramerVonMises, "CramerVonMises")
    check_online_detector(flags, "FisherExact")
    rng, sizes = np.random.default_rng(1), (8, 56)
    reference = np.sort(rng.normal(size=200))
    for values in (rng.normal(size=120), rng.normal(0.5, 1, 120), rng.integers(0, 3, 120).astype(float)):
        ours, theirs = (
            made(reference, sizes).scores(values) for made in (OwnCramerVonMises, AlibiCramerVonMises)
        )
        assert theirs == pytest.approx(ours, abs=2e-4, nan_ok=True)
    for share in (0.02, 0.3, 0.8):
        values = (rng.random(120) < share).astype(np.float64)
        ours, theirs = (made(700, 210, sizes).scores(values) for made in (OwnFisherExact, AlibiFisherExact))
        # One minus a p-value in float32 is off by up to 6e-8.
        small = ours < 5
        assert theirs[small] == pytest.approx(ours[small], abs=5e-3)
        assert (theirs[~small & ~np.isnan(ours)] >= 4.9).all()


def looked_at(
    root: Path, looks: Sequence[timedelta], *, kind: Any = "Scipy", again: bool = False
) -> tuple[OnlineDrift, list[tuple[timedelta, tuple[str, ...]]], list[dict[str, Any]]]:
    """Two weeks as in training, then two in which temp is higher: what is told at the end, each change of the alerts
    with the look that found it, and the windows. `again`: each look is that of a new process.
    """
    watched = Watched(root, drift={"online": BOTH})
    rng = np.random.default_rng(2)
    for number, shift in enumerate((0.0, 0.0, 4.0, 4.0)):
        watched.serve(week(rng, SINCE + number * WEEK, shift=shift))
    watched.client.watch(VersionName("v1"), since=SINCE)
    watcher = Watcher(watched.system, watched.folder, detectors=kind)
    changes: list[tuple[timedelta, tuple[str, ...]]] = []
    for look in looks:
        if again:
            watcher.close()
            watcher = Watcher(watched.system, watched.folder, detectors=kind)
        alerts = watcher.advance(SINCE + look).alerts
        if alerts != (changes[-1][1] if changes else ()):
            changes.append((look, alerts))
    watch = watcher.checkpoint.watch
    assert watch is not None
    assert watch.online is not None
    for alert in held_alerts(watched.system, watch):
        if alert.name == "OnlineDriftDetected":
            assert alert.as_of == watch.online.since
            assert "temp" in alert.summary
            assert alert.trigger == "drift"
    watcher.close()
    return watch.online, changes, list(watcher.checkpoint.told)


def test_a_drift_is_found_within_days_before_its_window_ends(tmp_path: Path) -> None:
    found, changes, told = looked_at(tmp_path, [day * DAY for day in range(1, 29)])
    assert changes[0][1] == ("OnlineDriftDetected",)
    assert timedelta(0) < changes[0][0] - 2 * WEEK <= 2 * DAY
    assert found.since is not None
    assert timedelta(0) < found.since - (SINCE + 2 * WEEK) <= 2 * DAY
    # Two windows in a row must drift until the windows say it too.
    assert changes[-1][1] == ("DriftDetected", "OnlineDriftDetected")
    assert changes[-1][0] == 4 * WEEK
    assert [window["online"]["outcome"] for window in told] == ["Fine", "Fine", "Breach", "Breach"]
    assert [window["generation"] for window in told] == sorted(window["generation"] for window in told)
    assert "temp (CramerVonMises" in told[2]["online"]["sentences"][0]
    assert {one.feature for one in found.features} == {"distance", "dep_hour", "temp", "dest", ":probability"}


def test_the_same_is_told_whenever_somebody_looks_and_after_a_restart(tmp_path: Path) -> None:
    end = 4 * WEEK + timedelta(hours=5)
    once, _, told = looked_at(tmp_path / "once", [end])
    often, _, told_often = looked_at(
        tmp_path / "often", [*(timedelta(hours=hour) for hour in range(2, 4 * 7 * 24, 31)), end], again=True
    )
    assert often == once
    assert as_decided([{**one, "generation": 0} for one in told_often]) == as_decided(
        [{**one, "generation": 0} for one in told]
    )


def test_alibi_detect_finds_it_with_the_same_lot(tmp_path: Path) -> None:
    looks = [week * WEEK for week in range(1, 5)]
    ours, theirs = (looked_at(tmp_path / kind, looks, kind=kind) for kind in ("Scipy", "AlibiDetect"))
    assert theirs[0].since == ours[0].since
    assert theirs[1] == ours[1]
    assert [one.kept for one in theirs[0].features] == [one.kept for one in ours[0].features]


def test_predictions_are_watched_by_those_of_the_version_alone(tmp_path: Path) -> None:
    """Inputs stay as they were; another version answers every third request, and far higher."""
    watched = Watched(tmp_path, drift={"online": BOTH})
    rng = np.random.default_rng(4)
    for number, by in enumerate((0.0, 0.0, 0.15)):
        rows = week(rng, SINCE + number * WEEK)
        other = np.arange(len(rows["time"])) % 3 == 0
        for is_other, version, more in ((True, "v2", 0.5), (False, "v1", by)):
            part = {name: values[other == is_other] for name, values in rows.items()}
            score = np.clip(part["score"].astype(np.float64) + more, 0.001, 0.999)
            watched.serve({**part, "score": score}, version=version)
    watched.client.watch(VersionName("v1"), since=SINCE)
    watcher = Watcher(watched.system, watched.folder, detectors="Scipy")
    assert watcher.advance(SINCE + 2 * WEEK).alerts == ()
    assert "OnlineDriftDetected" in watcher.advance(SINCE + 3 * WEEK).alerts
    watch = watcher.checkpoint.watch
    assert watch is not None
    assert watch.online is not None
    assert watch.online.since is not None
    assert timedelta(0) < watch.online.since - (SINCE + 2 * WEEK) <= 3 * DAY
    assert [one.feature for one in watch.online.features if one.is_above] == [":probability"]
    told = watcher.checkpoint.told[-1]["online"]
    assert told["outputs"]["probability"]["breach"]
    assert told["sentences"][0].startswith("Predictions since ")
    assert "prediction probability (CramerVonMises " in told["sentences"][0]
    (alert,) = (one for one in held_alerts(watched.system, watch) if one.name == "OnlineDriftDetected")
    assert "prediction probability" in alert.summary
    watcher.close()


def test_few_answers_of_the_version_are_no_lot_of_its_predictions(tmp_path: Path) -> None:
    """It answers one request of ten, as the old version does at the end of a rollout: their mean varies more."""
    watched = Watched(tmp_path, drift={"online": BOTH})
    rng = np.random.default_rng(5)
    for number in range(2):
        rows = week(rng, SINCE + number * WEEK)
        own = np.arange(len(rows["time"])) % 10 == 0
        for is_own, version in ((True, "v1"), (False, "v2")):
            watched.serve({name: values[own == is_own] for name, values in rows.items()}, version=version)
    watched.client.watch(VersionName("v1"), since=SINCE)
    watcher = Watcher(watched.system, watched.folder, detectors="Scipy")
    watcher.advance(SINCE + 2 * WEEK)
    watch = watcher.checkpoint.watch
    assert watch is not None
    assert watch.online is not None
    seen = {one.feature: one for one in watch.online.features}
    assert seen["temp"].distance is not None
    assert (seen[":probability"].distance, seen[":probability"].kept) == (None, ())
    watcher.close()


def test_without_lots_of_the_training_there_is_no_verdict_and_later_rows_count_in_full_again(
    tmp_path: Path,
) -> None:
    watched = Watched(tmp_path, drift={"online": BOTH})
    (watched.model / "detectors" / "online.json").unlink()
    rng = np.random.default_rng(3)
    for number in range(2):
        watched.serve(week(rng, SINCE + number * WEEK))
    watched.client.watch(VersionName("v1"), since=SINCE)
    watcher = Watcher(watched.system, watched.folder, detectors="Scipy")
    alerts = watcher.advance(SINCE + 2 * WEEK).alerts
    assert "MonitorBlind" in alerts
    watch = watcher.checkpoint.watch
    assert watch is not None
    assert watch.gaps["online"].message == (
        "the version carries no lots of its training for CramerVonMises and FisherExact; train it again"
    )
    plain = watched.system.spec.monitoring.drift.model_copy(update={"online": ()})
    monitoring = watched.system.spec.monitoring.model_copy(update={"drift": plain})
    spec = watched.system.spec.model_copy(update={"monitoring": monitoring})
    watcher.follow(watched.system.model_copy(update={"spec": spec}))
    assert watcher.advance(SINCE + 2 * WEEK + DAY).alerts == ()
    assert watcher.checkpoint.watch is not None
    assert watcher.checkpoint.watch.online is None
    watcher.close()
