"""Detectors of concept drift find a rise that lasts, keep to a budget, and decide alike after a restart."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import orjson
import pyarrow as pa
import pytest

from capstan.errors import InvalidDataError
from capstan.monitoring.checkpoint import Checkpoint
from capstan.monitoring.concept import calibrating
from capstan.monitoring.concept.calibrating import fit_losses
from capstan.monitoring.concept.detectors import ConceptKind
from capstan.monitoring.concept.losses import losses_in_order, means_of_lots
from capstan.monitoring.concept.watched_losses import (
    MOST_KEPT,
    LossReference,
    load_loss_reference,
    watch_losses,
)
from capstan.monitoring.windows import Concept, Gap, QualityWindow, WindowOutcome
from capstan.ports.codec import from_json, to_json
from capstan.spec import MLSystem
from capstan.tasks import TASKS, Predictions
from capstan.training.cases import Cases
from capstan_pipelines.steps import evaluate

KINDS: tuple[ConceptKind, ...] = get_args(ConceptKind)
SINCE, WEEK = datetime(2013, 2, 1, tzinfo=UTC), timedelta(days=7)
LEVELS: dict[ConceptKind, float] = {"ADWIN": 1e-4, "PageHinkley": 20.0, "DDM": 2.5}


def errors(rng: np.random.Generator, rate: float, rows: int = 700) -> np.ndarray:
    return (rng.random(rows) < rate).astype(np.float64)


def reference(kind: ConceptKind, rng: np.random.Generator) -> LossReference:
    return LossReference(kind, "accuracy", 14, means_of_lots(errors(rng, 0.2, 1400), 14), LEVELS[kind])


def moments(week: int, rows: int = 700) -> np.ndarray:
    start = int((SINCE + week * WEEK).timestamp() * 1e6)
    return start + np.arange(rows) * (int(WEEK.total_seconds() * 1e6) // rows)


def watched(kind: ConceptKind, rates: list[float], *, restart: bool = False) -> list[Concept]:
    rng = np.random.default_rng(7)
    known, found = reference(kind, rng), []
    before: Concept | None = None
    for week, rate in enumerate(rates):
        before = watch_losses(known, before, errors(rng, rate), moments(week))
        if restart:
            before = from_json(Concept, orjson.loads(orjson.dumps(to_json(before))))
            known = LossReference.of(orjson.loads(orjson.dumps(asdict(known))))
        found.append(before)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_a_rise_that_lasts_is_found_where_it_began_and_told_until_it_is_over(kind: ConceptKind) -> None:
    found = watched(kind, [0.2] * 4 + [0.3] * 3 + [0.15] * 2)
    fine, worse = WindowOutcome.FINE, WindowOutcome.BREACH
    assert [one.outcome for one in found[:4]] == [fine] * 4
    assert found[6].outcome is worse
    assert found[6].since is not None
    assert found[6].since > SINCE + 4 * WEEK
    assert [one.outcome for one in found[7:]] == [fine] * 2, "losses are below the test's again"
    assert found[7].kept == ()


@pytest.mark.parametrize("kind", KINDS)
def test_a_fall_of_losses_is_no_alert(kind: ConceptKind) -> None:
    assert {one.outcome for one in watched(kind, [0.2, 0.1, 0.1, 0.05])} == {WindowOutcome.FINE}


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_restart_each_number_is_the_same(kind: ConceptKind) -> None:
    rates = [0.2, 0.22, 0.24, 0.3, 0.3, 0.1, 0.2]
    assert watched(kind, rates, restart=True) == watched(kind, rates)


def test_what_is_kept_does_not_grow_without_end() -> None:
    rng = np.random.default_rng(1)
    before = Concept("DDM", "accuracy", kept=tuple(float(v) for v in errors(rng, 0.2, MOST_KEPT)))
    after = watch_losses(reference("DDM", rng), before, errors(rng, 0.1), moments(0))
    assert len(after.kept) == MOST_KEPT
    assert after.kept[-50:] != before.kept[-50:]


def test_losses_are_those_of_event_time_however_rows_and_labels_came() -> None:
    rng, metric = np.random.default_rng(2), TASKS["BinaryClassification"].metrics["brierScore"]
    truth = rng.random(300) < 0.3
    said = Predictions({"probability": rng.random(300)})
    times = rng.permutation(300).astype(np.int64)
    losses, rows = losses_in_order(metric, truth, said, None, times)
    assert (np.diff(times[rows]) > 0).all()
    mixed = rng.permutation(300)
    again, _ = losses_in_order(metric, truth[mixed], said.rows(mixed), None, times[mixed])
    assert again.tolist() == losses.tolist()
    assert 0 < losses.mean() < 1


def test_a_lot_is_the_mean_of_neighbours_and_the_rest_joins_the_last() -> None:
    assert means_of_lots(np.array([0.0, 1.0, 1.0, 1.0, 0.0]), 2) == (0.5, pytest.approx(2 / 3, abs=1e-9))
    assert means_of_lots(np.array([1.0]), 2) == (1.0,)
    assert means_of_lots(np.array([]), 2) == ()


def days_of(rng: np.random.Generator, days: int) -> tuple[np.ndarray, np.ndarray]:
    """Errors of days that differ in how hard they are."""
    rates = np.clip(rng.normal(0.2, 0.06, days), 0.01, 0.9)
    return np.concatenate([errors(rng, rate, 60) for rate in rates]), np.repeat(np.arange(days), 60)


def test_the_level_keeps_to_the_budget_on_days_that_nobody_calibrated_on() -> None:
    rng = np.random.default_rng(3)
    losses, days = days_of(rng, 14)
    known = fit_losses(
        "PageHinkley",
        "accuracy",
        losses,
        days,
        window=WEEK,
        alarms_per_month=0.05,
        rng=np.random.default_rng(0),
    )
    assert known.level is not None
    assert known.alarms is not None
    assert known.alarms <= 0.05
    alarms = 0
    for _ in range(20):
        before: Concept | None = None
        for week in range(13):
            before = watch_losses(known, before, days_of(rng, 7)[0], moments(week, 420))
            if before.outcome is WindowOutcome.BREACH:
                alarms += 1
                break
    # Twenty times three months: three alarms are the budget; a hasty level alarms at once.
    assert alarms <= 6
    hasty = replace(known, level=3.0)
    assert any(
        watch_losses(hasty, None, days_of(rng, 7)[0], moments(0, 420)).outcome is WindowOutcome.BREACH
        for _ in range(10)
    )


@pytest.mark.parametrize(
    ("days", "losses", "why"),
    [
        (3, None, "the test window has 3 days, 7 are needed; make data.split.test longer"),
        (14, 0.0, "accuracy has the same loss in all of the test window"),
        (
            0,
            None,
            "rows of the test window have no time (data.keys.time), so that none of its days can be drawn",
        ),
    ],
)
def test_where_nothing_can_be_calibrated_it_says_why(days: int, losses: float | None, why: str) -> None:
    found, of_days = days_of(np.random.default_rng(4), days or 14)
    known = fit_losses(
        "DDM",
        "accuracy",
        found if losses is None else np.full(len(found), losses),
        of_days if days else None,
        window=WEEK,
        alarms_per_month=0.05,
        rng=np.random.default_rng(0),
    )
    assert (known.level, known.why_not) == (None, why)


def test_a_reference_is_read_as_it_was_written_and_nothing_else_is(tmp_path: Path) -> None:
    assert load_loss_reference(tmp_path) is None
    known = reference("ADWIN", np.random.default_rng(5))
    known.save(tmp_path)
    assert load_loss_reference(tmp_path) == known
    document = orjson.loads((tmp_path / "concept.json").read_bytes())
    (tmp_path / "concept.json").write_bytes(orjson.dumps({**document, "detector": "os.system"}))
    with pytest.raises(InvalidDataError, match=r"no detector is called 'os.system'; train the model again"):
        load_loss_reference(tmp_path)


def quality(number: int, concept: Concept | None) -> QualityWindow:
    start = SINCE + number * WEEK
    return QualityWindow(
        number, start, start + WEEK, "rocAuc", 2000, 1990, 0.995, 0.69, 0.01, 0.7, 0.01, 0.0, 0.65,
        WindowOutcome.FINE, "Fine", concept=concept,
    )  # fmt: skip


def test_a_rise_is_an_alert_and_a_window_without_labels_forgets_nothing() -> None:
    kept = Concept("DDM", "accuracy", 0.2, 0.2, WindowOutcome.FINE, kept=(0.2, 0.1))
    lacking = Concept("DDM", "accuracy", gap=Gap("CoverageTooLow", "labels of 5 % of 84 rows"))
    checkpoint = Checkpoint().watching("v3", "/model", SINCE)
    for number, told in enumerate((kept, lacking)):
        checkpoint = checkpoint.with_quality(quality(number, told), consecutive=2)
    assert checkpoint.watch is not None
    assert checkpoint.watch.concept == kept
    assert "concept" in checkpoint.watch.gaps
    rose = Concept("DDM", "accuracy", 0.4, 0.2, WindowOutcome.BREACH, since=SINCE)
    after = checkpoint.with_quality(quality(2, rose), consecutive=2).watch
    assert after is not None
    assert after.alerts(consecutive=2) == ("ConceptDrifted",)
    other = Concept("ADWIN", "logLoss", gap=Gap("NoReference", "train it again"))
    assert after.with_quality(quality(3, other)).concept is None


def test_a_file_without_a_detector_asks_nothing() -> None:
    watch = Checkpoint().watching("v3", "/model", SINCE).with_quality(quality(0, None), consecutive=2).watch
    assert watch is not None
    assert "concept" not in watch.runs
    assert "concept" not in {question.name for question in watch.questions()}


def test_an_alert_and_a_gap_end_with_the_detector_that_the_file_no_longer_names() -> None:
    rose = Concept("DDM", "accuracy", 0.4, 0.2, WindowOutcome.BREACH, since=SINCE)
    blind = Concept("DDM", "accuracy", gap=Gap("NotCalibrated", "the test window has 3 days"))
    for told, alert in ((rose, "ConceptDrifted"), (blind, "MonitorBlind")):
        checkpoint = Checkpoint().watching("v3", "/model", SINCE)
        for number in range(4):
            checkpoint = checkpoint.with_quality(quality(number, told), consecutive=2)
        assert checkpoint.watch is not None
        assert checkpoint.watch.alerts(consecutive=2) == (alert,)
        after = checkpoint.watch.with_quality(quality(4, None))
        assert after.alerts(consecutive=2) == ()
        assert after.concept is None


def test_a_rise_within_the_test_is_none_above_it() -> None:
    rng = np.random.default_rng(6)
    test = np.concatenate([errors(rng, 0.2, 2800), errors(rng, 0.3, 2800)])
    known = LossReference("PageHinkley", "accuracy", 28, means_of_lots(test, 28), 40.0)
    same = known.begin()
    assert not any(same.is_worse_after(known.mean) for _ in range(50))
    worse = known.begin()
    assert any(worse.is_worse_after(known.mean + 0.1) for _ in range(50))


def test_more_traffic_than_at_the_test_makes_larger_lots_and_not_more() -> None:
    known = reference("DDM", np.random.default_rng(8))
    usual, ten = (
        watch_losses(known, None, errors(np.random.default_rng(9), 0.15, rows), moments(0, rows))
        for rows in (700, 7000)
    )
    assert len(usual.kept) == len(ten.kept) == 50
    assert np.std(ten.kept) < np.std(usual.kept)


@pytest.mark.parametrize("timed", [True, False])
def test_a_training_calibrates_the_detector_on_days_or_says_that_it_has_none(
    system: MLSystem, monkeypatch: pytest.MonkeyPatch, timed: bool
) -> None:
    monkeypatch.setattr(calibrating, "STREAMS", 5)
    spec = system.spec
    quality = spec.monitoring.quality.model_copy(update={"concept": "PageHinkley"})
    keys = spec.data.keys if timed else spec.data.keys.model_copy(update={"time": None})
    changes = {
        "monitoring": spec.monitoring.model_copy(update={"quality": quality}),
        "data": spec.data.model_copy(update={"keys": keys}),
    }
    asked = system.model_copy(update={"spec": spec.model_copy(update=changes)})
    rng, rows = np.random.default_rng(10), 14 * 20
    times = [SINCE + timedelta(minutes=72 * row) for row in range(rows)]
    table = pa.table({"scheduled_departure": pa.array(times, pa.timestamp("us", "UTC"))})
    task = TASKS["BinaryClassification"]
    judged = Cases(task, table, rng.random(rows) < 0.3)
    job: Any = SimpleNamespace(system=asked, seed=0)
    found = evaluate._losses(job, judged, Predictions({"probability": rng.random(rows)}))
    assert found is not None
    known = LossReference.of(orjson.loads(orjson.dumps(found)))
    assert (known.metric, known.detector) == ("logLoss", "PageHinkley")
    assert (known.level is not None) is timed
    assert ("data.keys.time" in known.why_not) is not timed
