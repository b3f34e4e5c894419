"""What the last digit of a value may not do: look like drift."""

from __future__ import annotations

import numpy as np
import pytest

from capstan.evaluation.metrics import evaluate
from capstan.monitoring.drift.atoms import Atoms
from capstan.monitoring.drift.distances import ks
from capstan.monitoring.drift.sketch import Sketch
from capstan.monitoring.quality import measure
from capstan.tasks import TASKS, Predictions

RNG = np.random.default_rng(1)
PREDICTIONS = RNG.choice([0.2, 1 / 3, 0.4, 0.6], 5000)


def distance(reference: np.ndarray, window: np.ndarray) -> float:
    """As the monitor compares: a fitted sample, then a window."""
    sample = Atoms.of(reference).snap(reference)
    return ks(sample, Atoms.of(sample).snap(window)).effect


@pytest.mark.parametrize(
    "another_path",
    [
        lambda values: np.nextafter(values, 0),
        lambda values: np.nextafter(values, 1),
        lambda values: values * (1 + 1e-9),
        lambda values: values.astype(np.float32),
        lambda values: values + RNG.choice([-1e-7, 1e-7], len(values)),
    ],
    ids=["a bit below", "a bit above", "another order of sums", "float32", "float32 arithmetic"],
)
def test_the_last_digits_of_few_values_move_no_distance(another_path) -> None:
    window = another_path(PREDICTIONS)
    assert ks(PREDICTIONS, window.astype(float)).effect > 0.1
    assert distance(PREDICTIONS, window) == 0.0
    assert distance(another_path(PREDICTIONS).astype(float), PREDICTIONS) == 0.0


def test_a_reference_that_mixes_two_paths_has_one_value_of_both() -> None:
    mixed = np.where(RNG.random(5000) < 0.5, PREDICTIONS, np.nextafter(PREDICTIONS, 0))
    assert len(np.unique(mixed)) == 8
    assert len(np.unique(Atoms.of(mixed).snap(mixed))) == 4
    assert distance(mixed, PREDICTIONS) == 0.0


def test_a_small_true_move_of_few_values_is_seen() -> None:
    assert distance(PREDICTIONS, PREDICTIONS + 0.001) > 0.2
    assert distance(PREDICTIONS, RNG.choice([0.2, 1 / 3, 0.4, 0.6], 5000, p=[0.4, 0.2, 0.2, 0.2])) > 0.1


def test_a_large_offset_hides_no_move() -> None:
    pressure = 101_325 + RNG.normal(0, 0.05, 5000)
    assert distance(pressure, pressure + 0.05) > 0.3
    counts = RNG.choice([1_000_000.0, 1_000_001.0], 5000)
    assert distance(counts, np.full(5000, 1_000_001.0)) > 0.4


def test_continuous_values_stay_as_they_are() -> None:
    values = RNG.normal(size=20_000)
    np.testing.assert_array_equal(Atoms.of(values).snap(values), values)


def test_what_is_not_finite_stays_so() -> None:
    found = Atoms.of(PREDICTIONS).snap(np.array([np.nan, np.inf, -np.inf, 0.2]))
    np.testing.assert_array_equal(found, [np.nan, np.inf, -np.inf, 0.2])


@pytest.mark.parametrize("values", [PREDICTIONS, np.rint(PREDICTIONS * 10)], ids=["shares", "whole"])
def test_windows_that_are_sketched_are_as_calm(values: np.ndarray) -> None:
    sample = Atoms.of(values).snap(values)
    sketch = Sketch(sample)
    sketch.add(Atoms.of(sample).snap(np.nextafter(values, 0)))
    assert sketch.distance().effect == 0.0


@pytest.mark.parametrize("metric", ["rocAuc", "averagePrecision", "accuracy", "f1", "calibrationError"])
def test_quality_is_the_same_whichever_path_predicted(metric: str) -> None:
    probability = RNG.choice([0.3, 0.5, 0.7], 4000)
    truth = RNG.random(4000) < probability
    mixed = np.where(RNG.random(4000) < 0.5, probability, np.nextafter(probability, 0))
    days = np.arange(4000) // 600
    task = TASKS["BinaryClassification"]
    one, other = Predictions({"probability": mixed}), Predictions({"probability": probability})
    assert measure(task.metrics[metric], truth, one, days) == measure(
        task.metrics[metric], truth, other, days
    )
    assert evaluate(task, truth, one) == evaluate(task, truth, other)
