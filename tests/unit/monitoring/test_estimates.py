"""Quality before labels come: by calibrated chances or expected losses, checked against the truth once it comes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from capstan.features.values import ColumnType
from capstan.monitoring.checkpoint import MOST_TOLD, Checkpoint
from capstan.monitoring.estimates.estimating import Estimates, Unlike
from capstan.monitoring.estimates.estimator import FILE, Estimator, load_estimator
from capstan.monitoring.estimates.fitting import fit_estimator
from capstan.monitoring.estimates.maps import ProbabilityMap, fit_map, fitted
from capstan.monitoring.estimates.record import Checked, Record, record_of
from capstan.monitoring.estimates.seen import SeenColumn
from capstan.monitoring.estimates.trees import LEAST_ROWS, LEAVES, RATE, TREES, fit_trees
from capstan.monitoring.quality import QualityReference
from capstan.monitoring.watched_version import WatchedVersion
from capstan.monitoring.watching import Watcher
from capstan.monitoring.windows import DriftWindow, Estimate, QualityWindow, WindowOutcome
from capstan.spec import MLSystem
from capstan.spec.features import Feature
from capstan.tasks import Predictions
from capstan.tasks.binary import BinaryClassification
from capstan.tasks.expected import Chances, expected_value
from capstan.tasks.multiclass import MulticlassClassification
from capstan.tasks.regression import Regression

START, WEEK = datetime(2013, 2, 1, tzinfo=UTC), timedelta(days=7)
BINARY = BinaryClassification()

# Four rows, 0.5 the threshold: two are answered true.
FOUR = Predictions({"probability": np.array([0.9, 0.6, 0.4, 0.1])})
CHANCES = Chances((True, False), np.array([[0.8, 0.2], [0.7, 0.3], [0.3, 0.7], [0.1, 0.9]]))


@pytest.mark.parametrize(
    ("metric", "by_hand"),
    [
        # Expected counts: true positives 0.8 + 0.7, false positives 0.2 + 0.3, false negatives 0.3 + 0.1, true
        # negatives 0.7 + 0.9; metrics of those counts are what CBPE is published as.
        ("accuracy", (1.5 + 1.6) / 4),
        ("precision", 1.5 / 2),
        ("recall", 1.5 / 1.9),
        ("f1", 2 * 1.5 / (2 * 1.5 + 0.5 + 0.4)),
        # The curve of the expected rates: each row's true share ranks above the false shares of those below it.
        (
            "rocAuc",
            (0.8 * (0.1 + 0.3 + 0.7 + 0.9) + 0.7 * (0.15 + 0.7 + 0.9) + 0.3 * (0.35 + 0.9) + 0.1 * 0.45)
            / (1.9 * 2.1),
        ),
        ("brierScore", (0.8 * 0.01 + 0.2 * 0.81 + 0.7 * 0.16 + 0.3 * 0.36) / 4 + 0.07575),
        ("logLoss", None),
    ],
)
def test_metrics_are_those_of_the_expected_confusion_matrix(metric: str, by_hand: float | None) -> None:
    if by_hand is None:
        said, chance = FOUR["probability"], CHANCES.table[:, 0]
        by_hand = float(-(chance * np.log(said) + (1 - chance) * np.log(1 - said)).mean())
    if metric == "brierScore":
        said, chance = FOUR["probability"], CHANCES.table[:, 0]
        by_hand = float((chance * (1 - said) ** 2 + (1 - chance) * said**2).mean())
    assert expected_value(BINARY.metrics[metric], FOUR, CHANCES) == pytest.approx(by_hand, abs=1e-12)


def test_of_several_classes_the_counts_are_expected_too() -> None:
    predictions = Predictions(
        {
            "label": np.array(["a", "b", "c"], dtype=object),
            "probability.a": np.array([0.7, 0.1, 0.1]),
            "probability.b": np.array([0.2, 0.8, 0.3]),
            "probability.c": np.array([0.1, 0.1, 0.6]),
        }
    )
    chances = Chances(("a", "b", "c"), np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.3, 0.5]]))
    task = MulticlassClassification()
    assert expected_value(task.metrics["accuracy"], predictions, chances) == pytest.approx(
        (0.6 + 0.8 + 0.5) / 3
    )


def world(
    rng: np.random.Generator, rows: int, *, shift: float = 0.0, concept: float = 0.0
) -> tuple[pa.Table, ...]:
    """Inputs, what a model says that is twice too sure, and what came; `shift` moves inputs, `concept` the truth."""
    x = rng.normal(shift, 1.0, rows)
    true = 1 / (1 + np.exp(-(x - concept)))
    truth = rng.random(rows) < true
    said = 1 / (1 + np.exp(-2 * x))
    return pa.table({"distance": x}), truth, Predictions({"probability": said})


def one_feature(system: MLSystem) -> tuple[Feature, ...]:
    return tuple(feature for feature in system.spec.features if feature.column == "distance")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Trees of some hundred rows: threads would wait for each other longer than they work."""
    with threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def estimator(system: MLSystem) -> Estimator:
    rng = np.random.default_rng(3)
    table, truth, said = world(rng, 4000)
    return fit_estimator(
        BINARY, BINARY.metrics["brierScore"], one_feature(system), table, truth, said, np.arange(4000) // 285
    )


def test_the_estimate_follows_inputs_and_its_interval_holds_the_truth(estimator: Estimator) -> None:
    """A model that is too sure: the estimate is of what comes true, not of what the model says."""
    rng = np.random.default_rng(4)
    metric, held, misses = BINARY.metrics["brierScore"], 0, []
    for _ in range(60):
        _, truth, said = world(rng, 2000, shift=0.6)
        guess = estimator.guess(BINARY, metric, said, days=7)
        low, high = guess.interval or (1.0, 0.0)
        true = metric.value(truth, said)
        held += low <= true <= high
        misses.append(true - (guess.value or 0))
        as_said = expected_value(
            metric,
            said,
            Chances((True, False), np.stack([said["probability"], 1 - said["probability"]], axis=1)),
        )
        assert abs(true - as_said) > 5 * abs(misses[-1]) or abs(misses[-1]) < 0.02
    assert held >= 54
    assert abs(float(np.mean(misses))) < 0.01


def test_a_changed_concept_is_not_seen_before_labels_and_the_record_tells_it(estimator: Estimator) -> None:
    rng = np.random.default_rng(5)
    metric = BINARY.metrics["brierScore"]
    _, truth, said = world(rng, 2000, concept=2.0)
    low, high = estimator.guess(BINARY, metric, said, days=7).interval or (0.0, 0.0)
    assert not low <= metric.value(truth, said) <= high


def test_fewer_rows_and_fewer_days_make_the_interval_wider(estimator: Estimator) -> None:
    _, _, said = world(np.random.default_rng(6), 2000)
    metric = BINARY.metrics["brierScore"]
    errors = [
        estimator.guess(BINARY, metric, said.rows(slice(rows)), days=days).standard_error
        for rows, days in ((2000, 7), (400, 7), (2000, 1))
    ]
    assert errors[0] < errors[1]
    assert errors[0] < errors[2]
    # s * sqrt(1/D + 1/w): of 15 days behind the fit and one in the window.
    assert errors[2] == pytest.approx(estimator.deviation * np.sqrt(1 / estimator.units + 1))


def test_the_map_that_is_best_on_rows_left_out_is_taken() -> None:
    rng = np.random.default_rng(0)
    said = rng.random(3000)
    folds = np.arange(3000) // 600
    odds = np.log(said / (1 - said))
    assert fit_map(said, rng.random(3000) < said, folds).way == "AsItIs"
    assert fit_map(said, rng.random(3000) < 1 / (1 + np.exp(-0.4 * odds)), folds).way == "Platt"
    assert fit_map(said, rng.random(3000) < np.where(said > 0.8, 0.2, said), folds).way == "Isotonic"


def test_an_isotonic_map_is_scikit_learns(estimator: Estimator) -> None:
    from sklearn.isotonic import IsotonicRegression

    rng = np.random.default_rng(0)
    said = rng.random(500)
    came = rng.random(500) < said**2
    asked = np.linspace(-0.1, 1.1, 50)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(said, came).predict(asked)
    assert fitted("Isotonic", said, came).apply(asked) == pytest.approx(theirs, abs=1e-8)


def test_trees_kept_as_numbers_say_what_scikit_learn_says() -> None:
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(600, 3))
    matrix[rng.random((600, 3)) < 0.1] = np.nan
    losses = np.nan_to_num(matrix[:, 0]) ** 2 + rng.random(600)
    theirs = HistGradientBoostingRegressor(
        learning_rate=RATE, max_iter=TREES, max_leaf_nodes=LEAVES, min_samples_leaf=LEAST_ROWS,
        early_stopping=False, random_state=0,
    ).fit(matrix, losses)  # fmt: skip
    assert fit_trees(matrix, losses).predict(matrix) == pytest.approx(np.maximum(theirs.predict(matrix), 0))


def test_the_error_of_numbers_is_estimated_from_inputs(system: MLSystem, tmp_path: Path) -> None:
    """Where errors grow with an input, a window with more of it is estimated to be worse, and is."""
    task, rng = Regression(), np.random.default_rng(2)

    def rows(least: float) -> tuple[pa.Table, np.ndarray, Predictions]:
        x = rng.uniform(least, 2, 3000)
        return pa.table({"distance": x}), rng.normal(0, x), Predictions({"value": np.zeros(3000)})

    table, truth, said = rows(0.0)
    metric = task.metrics["rmse"]
    fit_estimator(task, metric, one_feature(system), table, truth, said, np.arange(3000) // 200).save(
        tmp_path
    )
    kept = load_estimator(tmp_path)
    assert kept is not None
    values = []
    for least in (0.0, 1.0):
        table_there, truth_there, said_there = rows(least)
        inputs = {one.feature: one.read(table_there[one.column]) for one in kept.seen}
        guess = kept.guess(task, metric, said_there, inputs=inputs, days=15)
        values.append(guess.value or 0.0)
        assert guess.value == pytest.approx(metric.value(truth_there, said_there), rel=0.1)
    # By the law of the world 1.155 and 1.528.
    assert values[1] > 1.2 * values[0]
    r2 = fit_estimator(
        task, task.metrics["r2"], one_feature(system), table, truth, said, np.arange(3000) // 200
    )
    assert r2.why_not.startswith(
        "r2 is no mean over rows; name one in monitoring.quality.metric: rmse, mae, squared"
    )


def test_what_is_kept_says_the_same_and_a_broken_file_is_named(estimator: Estimator, tmp_path: Path) -> None:
    estimator.save(tmp_path)
    assert load_estimator(tmp_path) == estimator
    (tmp_path / FILE).write_text('{"format": 7}')
    with pytest.raises(
        Exception, match=r"estimator.json: cannot be read: format 7 is not 1; train the model again"
    ):
        load_estimator(tmp_path)
    assert load_estimator(tmp_path / "nowhere") is None


def test_rows_unlike_the_calibrations_are_told() -> None:
    seen = (
        SeenColumn("temp", "temp", ColumnType.NUMBER, low=10.0, high=30.0),
        SeenColumn(
            "dest", "dest", ColumnType.TEXT, categories=("ATL", "BOS"), has_missing=True, is_number=False
        ),
    )
    unlike = Unlike(seen)
    unlike.add({"temp": pa.array([20.0, 31.0, None, 10.0]), "dest": pa.array(["ATL", "BOS", None, "LAX"])})
    unlike.add({"temp": pa.array([20.0]), "dest": pa.array([None], pa.string())})
    assert (unlike.rows, unlike.outside) == (5, 3)
    assert str(unlike) == "temp 40%, dest 20%"


def estimates(system: MLSystem, estimator: Estimator | None, reference: float) -> Estimates:
    quality = system.spec.monitoring.quality.model_copy(update={"metric": "brierScore", "max_drop": 0.05})
    monitoring = system.spec.monitoring.model_copy(update={"quality": quality})
    spec = system.spec.model_copy(update={"monitoring": monitoring})
    return Estimates(system.model_copy(update={"spec": spec}), estimator, QualityReference(reference, 0.001))


def told(system: MLSystem, estimator: Estimator, reference: float, shift: float = 0.0) -> Estimate:
    table, _, said = world(np.random.default_rng(9), 2000, shift=shift)
    unlike = Unlike(estimator.seen)
    unlike.add({"distance": table["distance"].combine_chunks()})
    found = estimates(system, estimator, reference).of(said, {}, unlike, error_probability=0.01, window=WEEK)
    assert found is not None
    return found


def test_a_drop_beyond_the_bound_and_the_estimates_own_error_is_a_breach(
    system: MLSystem, estimator: Estimator
) -> None:
    value = told(system, estimator, 0.2).value
    assert value is not None
    assert told(system, estimator, value).decision is WindowOutcome.FINE
    assert told(system, estimator, value - 0.04).decision is WindowOutcome.FINE
    breach = told(system, estimator, value - 0.06)
    assert (breach.decision, breach.reason, breach.is_sure) == (WindowOutcome.BREACH, "Dropped", True)


def test_an_estimate_of_rows_that_the_calibration_never_saw_is_not_sure(
    system: MLSystem, estimator: Estimator
) -> None:
    found = told(system, estimator, 0.0, shift=5.0)
    assert (found.decision, found.reason, found.is_sure) == (
        WindowOutcome.NO_EVIDENCE,
        "OutsideCalibration",
        False,
    )
    assert "of the rows are unlike all that the estimate was calibrated on (distance" in found.message
    assert found.value is not None


def test_without_anything_to_estimate_by_only_who_asks_is_told(system: MLSystem) -> None:
    assert estimates(system, None, 0.2).none("NoEstimator", "train again") is None


def drift_window(number: int, *, value: float = 0.7, breach: bool = False, asked: bool = True) -> DriftWindow:
    decision = WindowOutcome.BREACH if breach else WindowOutcome.FINE
    estimate = Estimate(
        "rocAuc", decision, "Dropped" if breach else "Fine", value=value, low=value - 0.02, high=value + 0.02,
        reference=0.7, floor=0.65, outside=0.0, is_asked=asked,
    )  # fmt: skip
    start = START + number * WEEK
    return DriftWindow(number, start, start + WEEK, 2000, True, estimate=estimate)


def quality_window(number: int, value: float) -> QualityWindow:
    start = START + number * WEEK
    return QualityWindow(
        number, start, start + WEEK, "rocAuc", 2000, 1990, 0.995, value, 0.01, 0.7, 0.7 - value, 0.0, 0.65,
        WindowOutcome.FINE, "Fine",
    )  # fmt: skip


def followed(*truths: float, breach: bool = True, asked: bool = True) -> Checkpoint:
    """A week of estimates for each truth, which comes a week later; then two weeks whose truth is not there."""
    checkpoint = Checkpoint().watching("v1", "model", START)
    for number in range(len(truths) + 2):
        checkpoint = checkpoint.with_drift(drift_window(number, breach=breach, asked=asked), consecutive=2)
        if number < len(truths):
            checkpoint = checkpoint.with_quality(quality_window(number, truths[number]), consecutive=2)
    return checkpoint


def alerts(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Without that of a monitor that is blind: these windows have no features."""
    assert checkpoint.watch is not None
    return tuple(name for name in checkpoint.watch.alerts(consecutive=2) if name != "MonitorBlind")


def test_two_windows_estimated_below_the_floor_are_an_alert_where_the_file_asks_for_one() -> None:
    assert alerts(followed()) == ("EstimatedQualityDropped",)
    assert alerts(followed(breach=False)) == ()
    assert alerts(followed(asked=False)) == ()


def test_a_bad_record_silences_the_alert_and_says_so() -> None:
    assert alerts(followed(0.69, 0.71, 0.5)) == ("EstimatedQualityDropped",)
    silent = followed(0.69, 0.5, 0.5)
    assert alerts(silent) == ()
    assert silent.watch is not None
    standing = silent.watch.estimated()
    assert standing is not None
    assert (standing.checked, standing.held, standing.is_believed) == (3, 1, False)
    assert standing.wrong == (START + 2 * WEEK, START + 3 * WEEK)


def test_the_record_outlives_the_version_and_the_truth_stands_beside_the_estimate() -> None:
    checkpoint = followed(0.69, 0.5, 0.5).watching("v2", "other", START + 9 * WEEK)
    assert checkpoint.watch is not None
    assert checkpoint.watch.record == Record(3, 1)
    found = [entry["estimate"] for entry in checkpoint.told]
    assert [one["truth"] for one in found] == [0.69, 0.5, 0.5, None, None]
    assert [one["held"] for one in found] == [True, False, False, None, None]


def test_of_hourly_looks_those_that_labels_judge_wait_for_them_however_many_come_between() -> None:
    checkpoint = Checkpoint().watching("v1", "model", START)
    hour, first = timedelta(hours=1), drift_window(0)
    # Three weeks of looks, then the labels of the first three weeks: 500 looks later.
    for number in range(2 * 168 + 169):
        look = replace(first, number=number, start=first.start + number * hour, end=first.end + number * hour)
        checkpoint = checkpoint.with_drift(look, consecutive=2)
    for number, truth in enumerate((0.5, 0.69, 0.5)):
        checkpoint = checkpoint.with_quality(quality_window(number, truth), consecutive=2)
    assert checkpoint.watch is not None
    assert checkpoint.watch.record == Record(3, 1)
    for number in range(505, 1200):
        look = replace(first, number=number, start=first.start + number * hour, end=first.end + number * hour)
        checkpoint = checkpoint.with_drift(look, consecutive=2)
    told = [entry["quality"]["value"] for entry in checkpoint.told if entry["quality"] is not None]
    assert told == [0.5, 0.69, 0.5]
    assert len(checkpoint.told) == MOST_TOLD
    ends = [entry["end"] for entry in checkpoint.told]
    assert ends == sorted(ends)
    assert len(checkpoint.watch.awaited) <= 5


def test_of_windows_that_share_no_rows_the_oldest_are_forgotten() -> None:
    checkpoint = Checkpoint().watching("v1", "model", START)
    for number in range(MOST_TOLD + 20):
        checkpoint = checkpoint.with_drift(drift_window(number), consecutive=2)
    ends = [entry["end"] for entry in checkpoint.told]
    assert ends == [(START + (number + 1) * WEEK).isoformat() for number in range(20, MOST_TOLD + 20)]


def checked(held: bool, sure: bool = True) -> Checked:
    return Checked("v1", START, 0.7, 0.68, 0.72, 0.7 if held else 0.6, sure)


@pytest.mark.parametrize(
    ("windows", "misses", "bad"), [(1, 1, False), (2, 2, True), (7, 2, True), (8, 2, False), (12, 3, True)]
)
def test_a_record_is_bad_where_chance_does_not_explain_its_misses(
    windows: int, misses: int, bad: bool
) -> None:
    """Binomial with one miss in twenty: two of seven 4.4 %, two of eight 5.7 %, three of twelve 2.0 %."""
    assert record_of([checked(n >= misses) for n in range(windows)]).is_bad is bad


def test_estimates_that_were_not_sure_of_themselves_count_for_nothing() -> None:
    assert record_of([checked(False, sure=False)] * 5) == Record(0, 0)


def test_a_platt_map_is_a_logistic_curve_on_the_log_odds() -> None:
    found = ProbabilityMap("Platt", (0.5, 1.0)).apply(np.array([0.5, 0.8]))
    assert found == pytest.approx([1 / (1 + np.exp(-1.0)), 1 / (1 + np.exp(-(1 + 0.5 * np.log(4))))])


def test_a_test_window_of_one_day_has_an_estimate_without_an_interval() -> None:
    """There is no other day to leave out: neither fitting nor the training fails."""
    rng = np.random.default_rng(11)
    x = rng.normal(size=400)
    truth, task = x + rng.normal(size=400), Regression()
    found = fit_estimator(
        task,
        task.metrics["rmse"],
        (),
        pa.table({"x": x}),
        truth,
        Predictions({"value": x}),
        np.zeros(400, dtype=np.int64),
    )
    guess = found.guess(task, task.metrics["rmse"], Predictions({"value": x}), days=7)
    assert guess.value == pytest.approx(1.0, abs=0.15)
    assert guess.interval is None


def test_of_very_many_rows_evenly_spread_ones_do(
    estimator: Estimator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each row stands there once for each class, so memory would grow with rows times classes."""
    rng, metric = np.random.default_rng(12), BINARY.metrics["brierScore"]
    _, _, said = world(rng, 20_000)
    whole = estimator.guess(BINARY, metric, said, days=7)
    counted = []
    monkeypatch.setattr("capstan.tasks.expected.MOST_CELLS", 10_000)
    monkeypatch.setattr(
        "capstan.monitoring.estimates.estimator.expected_value",
        lambda metric, rows, chances: counted.append(len(rows)) or expected_value(metric, rows, chances),
    )
    some = estimator.guess(BINARY, metric, said, days=7)
    assert counted == [5000]
    assert some.value == pytest.approx(whole.value, abs=0.01)
    assert some.standard_error == whole.standard_error


@pytest.mark.parametrize("enabled", [True, False])
def test_a_file_that_turns_estimates_off_has_none_of_a_version_that_could(
    tmp_path: Path, system: MLSystem, enabled: bool
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "manifest.json").write_text("{}")
    Estimator("rocAuc", (), None, 0, 300).save(model)
    estimate = system.spec.monitoring.estimate.model_copy(update={"enabled": enabled, "alert": False})
    monitoring = system.spec.monitoring.model_copy(update={"estimate": estimate})
    asked = system.model_copy(update={"spec": system.spec.model_copy(update={"monitoring": monitoring})})
    watcher = Watcher(asked, tmp_path, detectors="Scipy")
    found = watcher._measure(WatchedVersion("v1", str(model), datetime(2013, 2, 1, tzinfo=UTC)))
    watcher.close()
    assert (found.estimator is not None) is enabled
