"""All features together: distances are those of the literature, and what no feature shows alone is found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from sklearn.metrics.pairwise import rbf_kernel

from capstan.monitoring.drift import fitted_detectors
from capstan.monitoring.drift.distances import Distance
from capstan.monitoring.drift.joint_rows import Encoding, Place
from capstan.monitoring.drift.kinds import DETECTORS
from capstan.monitoring.drift.kinds.embedded import BATCH, kernel_width
from capstan.monitoring.drift.kinds.lsdd import DensityDifference
from capstan.monitoring.drift.kinds.mmd import FourierFeatures
from capstan.spec import MLSystem

Rows = NDArray[np.float32]
ROWS = DETECTORS["rows"]


def samples() -> tuple[Rows, Rows]:
    rng = np.random.default_rng(1)
    reference, window = rng.normal(size=(1500, 4)), rng.normal(0.4, 1.1, size=(900, 4))
    return reference.astype(np.float32), window.astype(np.float32)


def test_mmd_is_that_of_scikit_learns_kernel_but_for_the_random_features() -> None:
    reference, window = samples()
    gamma = 1 / (2 * kernel_width(reference) ** 2)
    inside, outside, between = (
        rbf_kernel(one, other, gamma=gamma).mean()
        for one, other in ((reference, reference), (window, window), (reference, window))
    )
    expected = np.sqrt((inside + outside - 2 * between) / (inside + outside))
    assert ROWS["MMD"].compare(reference, window).effect == pytest.approx(expected, rel=0.1)
    images = FourierFeatures(4, 2.0).of(reference[:1])
    assert (images**2).sum() == pytest.approx(64, rel=1e-5)


def test_lsdd_is_its_formula_as_alibi_detect_computes_it() -> None:
    reference, window = samples()
    model = DensityDifference().map_of(reference)
    width, centres = (
        kernel_width(reference),
        np.unique(reference[np.linspace(0, 1499, 96).round().astype(int)], axis=0),
    )
    gram = rbf_kernel(centres, centres, gamma=1 / (4 * width**2))
    images = [rbf_kernel(rows, centres, gamma=1 / (2 * width**2)) for rows in (reference, window)]
    difference = images[0].mean(axis=0) - images[1].mean(axis=0)
    # Of alibi-detect's candidates for the regularisation, the largest that changes the estimate by less than a fifth.
    for power in range(10):
        inverse = np.linalg.inv(gram + np.eye(len(gram)) / 4**power)
        metric = 2 * inverse - inverse @ gram @ inverse
        if np.allclose(metric, model.metric, atol=1e-2):
            break
    else:
        pytest.fail("the metric is that of no candidate")
    lsdd = difference @ metric @ difference
    placed = [model.placed(part.mean(axis=0).astype(np.float64)) for part in images]
    assert ((placed[0] - placed[1]) ** 2).sum() == pytest.approx(lsdd, rel=1e-3)
    whole = sum(part.mean(axis=0) @ metric @ part.mean(axis=0) for part in images)
    assert ROWS["LSDD"].compare(reference, window).effect == pytest.approx(np.sqrt(lsdd / whole), rel=1e-3)


@pytest.mark.slow
def test_the_classifiers_distance_is_near_that_of_alibi_detect_with_the_same_model() -> None:
    fitted_detectors.import_alibi_detect()
    from alibi_detect.cd import ClassifierDrift
    from sklearn.ensemble import HistGradientBoostingClassifier

    reference, window = samples()
    model = HistGradientBoostingClassifier(
        max_iter=25, learning_rate=0.2, max_leaf_nodes=8, early_stopping=False, random_state=0
    )
    alibi = ClassifierDrift(reference, model, backend="sklearn", n_folds=3, seed=0)
    told: Distance = ROWS["Classifier"].compare(reference, window)
    assert told.effect == pytest.approx(alibi.predict(window)["data"]["distance"], abs=0.05)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_a_broken_relation_between_features_is_found_though_each_alone_is_as_it_was(name: str) -> None:
    rng = np.random.default_rng(2)
    shared = rng.normal(size=(6000, 1))
    reference = (shared + 0.3 * rng.normal(size=(6000, 3))).astype(np.float32)
    alike, broken = reference[:2000], reference[2000:4000].copy()
    broken[:, 1] = np.roll(broken[:, 1], 700)
    detector = ROWS[name]
    quiet, moved = (detector.compare(reference[4000:], window).effect for window in (alike, broken))
    assert moved > 0.15
    assert moved > 3 * quiet
    assert DETECTORS["numeric"]["KS"].compare(reference[:, 1], broken[:, 1]).effect < 0.03


def test_the_classifier_says_which_features_gave_the_window_away() -> None:
    rng = np.random.default_rng(3)
    reference, window = (rng.normal(size=(1500, 5)).astype(np.float32) for _ in range(2))
    window[:, 3] += 0.8
    columns = {"a": slice(0, 2), "b": slice(2, 3), "c": slice(3, 4), "d": slice(4, 5)}
    shares = ROWS["Classifier"].given_away(reference, window, columns)
    assert max(shares, key=lambda feature: shares[feature]) == "c"
    assert shares["c"] > 0.5
    assert all(share < 0.2 for feature, share in shares.items() if feature != "c")


@pytest.mark.parametrize("rows", [1500, 6000])
def test_the_classifier_finds_other_shares_of_the_only_two_rows_there_are(rows: int) -> None:
    def drawn(share: float, seed: int) -> Rows:
        is_one = np.random.default_rng(seed).random(rows) < share
        return np.column_stack([is_one, ~is_one]).astype(np.float32)

    reference, alike, moved = drawn(0.5, 0), drawn(0.5, 1), drawn(0.1, 2)
    detector = ROWS["Classifier"]
    assert detector.compare(reference, alike).effect < 0.05
    assert detector.compare(reference, moved).effect == pytest.approx(0.4, abs=0.03)
    assert detector.given_away(reference, moved, {"plan": slice(0, 2)})["plan"] > 0.8


def test_a_stream_keeps_one_mean_however_many_rows_it_gets() -> None:
    rng = np.random.default_rng(4)
    reference = rng.normal(size=(3000, 3)).astype(np.float32)
    stream = ROWS["MMD"].stream(reference)
    assert stream is not None
    window = rng.normal(0.3, 1, size=(3 * BATCH, 3)).astype(np.float32)
    for part in np.array_split(window, 11):
        stream.add(part)
    sizes = sum(value.nbytes for value in vars(stream).values() if isinstance(value, np.ndarray))
    assert sizes < 4096
    assert stream.result()[0] == pytest.approx(ROWS["MMD"].compare(reference, window).effect, abs=1e-5)


def test_rare_new_and_missing_values_have_their_place() -> None:
    codes = np.repeat([0, 1, 2], [600, 399, 1])
    encoding = Encoding(
        (Place.of("x", "numeric", np.array([1.0, 2.0, 3.0] * 50)), Place.of("c", "categorical", codes))
    )
    assert encoding == Encoding.made_again(encoding.facts())
    assert encoding.columns == {"x": slice(0, 1), "c": slice(1, 4)}
    numbers = np.array([2.0, np.nan, 1e9, -1e9, 3.0])
    read = [(numbers, np.isfinite(numbers)), (np.array([0, 1, 2, 3, -1]), np.array([True] * 4 + [False]))]
    found = encoding.matrix(read, 5)
    assert found[:4, 0].tolist() == [0.0, 0.0, 4.0, -4.0]
    # The third is rare, the fourth was never seen, the fifth is missing.
    assert found[:, 1:].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 0]]


@pytest.mark.parametrize("name", ["LSDD", "MMD"])
def test_weeks_of_the_reference_do_not_breach_and_a_shift_does(
    system: MLSystem, rows: pd.DataFrame, tmp_path: Path, name: str
) -> None:
    drift = system.spec.monitoring.drift.model_copy(update={"multivariate": name})
    monitoring = system.spec.monitoring.model_copy(update={"drift": drift})
    changed = system.model_copy(update={"spec": system.spec.model_copy(update={"monitoring": monitoring})})
    fitted_detectors.save(fitted_detectors.fit(rows, changed), tmp_path)
    reference = fitted_detectors.load_reference(tmp_path)
    together = reference.together
    assert together is not None
    assert (together.detector.name, together.distance.rule, together.distance.blocks) == (name, "Maximum", 10)

    def encoded(window: pd.DataFrame) -> Rows:
        read = []
        for feature in reference.features:
            column = window[feature.column]
            values = feature.codes(column.tolist()) if feature.kind == "categorical" else column.to_numpy()
            read.append((values, values >= 0 if feature.kind == "categorical" else np.isfinite(values)))
        return together.encoding.matrix(read, len(window))

    for number in range(2):
        window = encoded(rows.iloc[2800 * number : 2800 * (number + 1)])
        effect = together.detector.compare(together.sample, window).effect
        assert effect <= together.distance_threshold(len(window), 0.0)
    moved = encoded(rows.iloc[:2800].assign(temp=rows["temp"] + 9))
    assert together.detector.compare(together.sample, moved).effect > together.distance_threshold(2800, 0.1)
