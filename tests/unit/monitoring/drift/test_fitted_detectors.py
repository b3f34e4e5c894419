"""What references and detectors promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from capstan.errors import InvalidDataError
from capstan.monitoring.drift import fitted_detectors
from capstan.monitoring.drift.distances import category_noise, ks_noise, spread_of, total_variation
from capstan.monitoring.drift.kinds import DETECTORS
from capstan.monitoring.drift.reference import Reference
from capstan.recording.payloads import Kind
from capstan.spec import MLSystem
from capstan.tasks import Predictions


@pytest.fixture(scope="module")
def reference(system: MLSystem, rows: pd.DataFrame) -> Reference:
    return fitted_detectors.fit(
        rows, system, predictions=Predictions({"probability": rows["score"].to_numpy()})
    )


@pytest.fixture(scope="module")
def folder(reference: Reference, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detectors")
    fitted_detectors.save(reference, folder)
    return folder


def test_fitting_and_saving_never_imports_alibi_detect() -> None:
    code = "import sys, capstan.monitoring.drift.fitted_detectors; print('alibi_detect' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
    )


def test_the_saved_reference_is_the_fitted_one_byte_for_byte(
    reference: Reference, folder: Path, tmp_path: Path
) -> None:
    again = fitted_detectors.load_reference(folder)
    fitted_detectors.save(again, tmp_path)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    assert [(tmp_path / file).read_bytes() for file in files] == [
        (folder / file).read_bytes() for file in files
    ]
    assert {path.suffix for path in files} == {".json", ".npy", ".toml"}
    assert sum((folder / file).stat().st_size for file in files) < 2 * 2**20
    assert max(len(feature.sample) for feature in reference.features) <= 20_000


def with_drift(system: MLSystem, **words: str) -> MLSystem:
    drift = system.spec.monitoring.drift.model_copy(update=words)
    monitoring = system.spec.monitoring.model_copy(update={"drift": drift})
    return system.model_copy(update={"spec": system.spec.model_copy(update={"monitoring": monitoring})})


@pytest.mark.parametrize(
    ("reads", "name"), [(reads, name) for reads in get_args(Kind) for name in DETECTORS[reads]]
)
def test_with_every_detector_weeks_of_the_reference_do_not_breach_and_a_shift_does(
    system: MLSystem, rows: pd.DataFrame, tmp_path: Path, reads: Kind, name: str
) -> None:
    fitted = fitted_detectors.fit(rows, with_drift(system, **{reads: name}))
    fitted_detectors.save(fitted, tmp_path)
    reference = fitted_detectors.load_reference(tmp_path)
    detectors = fitted_detectors.load(tmp_path, reference, "Scipy")
    column = "temp" if reads == "numeric" else "dest"
    [feature] = [each for each in reference.features if each.column == column]
    assert (feature.detector.name, feature.distance.rule) == (name, "Maximum")
    present = rows[rows[column].notna()]
    for week in range(10):
        values = present[column][(present.index // 2800) == week]
        window = values.to_numpy() if reads == "numeric" else feature.codes(values.tolist())
        effect = detectors[feature.name].compare(window).effect
        assert effect <= feature.distance_threshold(len(window), 0.0)
    last = present[column].iloc[-2000:]
    moved = last.to_numpy() + 9 if reads == "numeric" else feature.codes(["LAX"] * 1500 + last.tolist()[:500])
    assert detectors[feature.name].compare(moved).effect > feature.distance_threshold(2000, 0.1)


@pytest.mark.slow
def test_alibi_detects_cramer_von_mises_agrees_with_scipy(
    system: MLSystem, rows: pd.DataFrame, tmp_path: Path
) -> None:
    reference = fitted_detectors.fit(rows, with_drift(system, numeric="CramerVonMises"))
    fitted_detectors.save(reference, tmp_path)
    alibi = fitted_detectors.load(tmp_path, reference, "AlibiDetect")["temp"]
    window = np.random.default_rng(3).normal(1, 3, 900)
    one = alibi.compare(window)
    other = fitted_detectors.load(tmp_path, reference, "Scipy")["temp"].compare(window)
    assert isinstance(alibi, fitted_detectors.AlibiDetector)
    assert one.effect == other.effect
    assert one.p_value == pytest.approx(other.p_value, rel=1e-4, abs=1e-12)


@pytest.mark.slow
def test_alibi_detect_itself_loads_what_was_saved_and_agrees_with_scipy(
    reference: Reference, folder: Path
) -> None:
    rng = np.random.default_rng(3)
    alibi = fitted_detectors.load(folder, reference, "AlibiDetect")
    scipy = fitted_detectors.load(folder, reference, "Scipy")
    assert set(alibi) == {"distance", "dep_hour", "temp", "dest", ":probability"}
    windows = {
        "temp": rng.normal(1, 3, 900),
        "distance": rng.gamma(4, 220, 900).round(),
        ":probability": rng.beta(2, 5, 900),
        "dest": rng.integers(0, 4, 900),  # 3: a category that training never saw
    }
    for name, window in windows.items():
        one, other = alibi[name].compare(window), scipy[name].compare(window)
        assert one.effect == pytest.approx(other.effect, abs=1e-6)
        assert one.p_value == pytest.approx(other.p_value, rel=1e-4, abs=1e-30)
        assert one.statistic == pytest.approx(other.statistic, rel=1e-5)


@pytest.mark.parametrize("name", ["meta.dill", "state.pickle"])
def test_a_detector_that_could_run_code_is_not_loaded(
    reference: Reference, folder: Path, tmp_path: Path, name: str
) -> None:
    fitted_detectors.save(reference, tmp_path)
    (tmp_path / "feature-000" / name).write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(InvalidDataError, match=name):
        fitted_detectors.load(tmp_path, reference, "AlibiDetect")


def test_a_config_with_code_of_its_own_is_not_loaded(reference: Reference, tmp_path: Path) -> None:
    fitted_detectors.save(reference, tmp_path)
    config = tmp_path / "feature-000" / "config.toml"
    config.write_text(config.read_text().replace('preprocess_fn = "None"', 'preprocess_fn = "evil.dill"'))
    with pytest.raises(InvalidDataError, match="not loaded"):
        fitted_detectors.load(tmp_path, reference, "AlibiDetect")


def test_tables_frames_and_arrays_give_the_same_reference(
    system: MLSystem, rows: pd.DataFrame, reference: Reference
) -> None:
    arrays = {name: rows[name].to_numpy() for name in rows.columns}
    for other in (pa.Table.from_pandas(rows, preserve_index=False), arrays):
        found = fitted_detectors.fit(
            other, system, predictions=Predictions({"probability": rows["score"].to_numpy()})
        )
        for one, two in zip(found.features, reference.features, strict=True):
            np.testing.assert_array_equal(one.sample, two.sample)
            assert (one.distance, one.rise, one.vocabulary) == (two.distance, two.rise, two.vocabulary)


def test_thresholds_are_of_blocks_as_long_as_the_window(reference: Reference) -> None:
    by_name = {feature.name: feature for feature in reference.features}
    # temp wanders between weeks, distance does not: one threshold is real variation, the other is noise.
    assert by_name["temp"].distance.value > 3 * by_name["distance"].distance.value
    assert by_name["temp"].distance.rule == "Maximum"
    assert by_name["temp"].distance.blocks == 10
    assert by_name["temp"].missing_rate == pytest.approx(0.05, abs=0.01)


def test_weeks_of_the_reference_itself_do_not_breach_and_a_shift_does(
    reference: Reference, rows: pd.DataFrame, folder: Path
) -> None:
    scipy = fitted_detectors.load(folder, reference, "Scipy")
    for feature in reference.features:
        for start in range(0, len(rows) - 2800, 2800):
            values = rows[feature.column].iloc[start : start + 2800]
            window = feature.codes(values.tolist()) if feature.kind == "categorical" else values.to_numpy()
            window = window[window >= 0] if feature.kind == "categorical" else window[np.isfinite(window)]
            assert scipy[feature.name].compare(window).effect <= feature.distance_threshold(len(window), 0.0)
    (temp,) = (feature for feature in reference.features if feature.name == "temp")
    shifted = rows["temp"].dropna().to_numpy()[:2000] + 9
    assert scipy["temp"].compare(shifted).effect > temp.distance_threshold(2000, 0.1)


def test_small_windows_are_granted_their_noise(reference: Reference) -> None:
    dest = next(feature for feature in reference.features if feature.name == "dest")
    thresholds = [dest.distance_threshold(rows, 0.0) for rows in (30, 300, 3000)]
    assert thresholds[0] > 2 * thresholds[1] > 2 * thresholds[2] * 0.9
    assert dest.distance_threshold(3000, 0.1) == 0.1


@pytest.mark.parametrize("sizes", [(200, 2000), (1000, 1000), (50, 20_000)], ids=str)
def test_the_stated_noise_is_what_simulation_gives(sizes: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    shares = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
    variations, distances = [], []
    for _ in range(400):
        window, reference = (rng.multinomial(size, shares) for size in sizes)
        variations.append(total_variation(reference, window))
        grid = np.sort(rng.random(sizes[1]))
        ranks = np.searchsorted(grid, np.sort(rng.random(sizes[0]))) / sizes[1]
        steps = np.arange(sizes[0] + 1) / sizes[0]
        distances.append(max(np.abs(ranks - steps[1:]).max(), np.abs(ranks - steps[:-1]).max()))
    spread = spread_of((shares * 100_000).astype(np.int64))
    assert category_noise(spread, *sizes) == pytest.approx(np.mean(variations), rel=0.1)
    assert ks_noise(*sizes) == pytest.approx(np.mean(distances), rel=0.1)


def test_total_variation_does_not_depend_on_the_window_size() -> None:
    reference, shares = np.array([5000, 3000, 2000]), np.array([0.3, 0.3, 0.4])
    found = [total_variation(reference, (shares * rows).astype(np.int64)) for rows in (100, 1000, 100_000)]
    assert found == pytest.approx([0.2] * 3)


def test_a_missing_column_is_named(system: MLSystem, rows: pd.DataFrame) -> None:
    with pytest.raises(InvalidDataError, match="dest"):
        fitted_detectors.fit(rows.drop(columns="dest"), system)


def test_a_feature_that_training_never_saw_has_no_detector(system: MLSystem, rows: pd.DataFrame) -> None:
    found = fitted_detectors.fit(rows.assign(temp=np.nan), system)
    temp = next(feature for feature in found.features if feature.name == "temp")
    assert (len(temp.sample), temp.missing_rate, temp.distance.rule) == (0, 1.0, "MinEffect")


def test_each_of_many_features_is_held_farther_above_its_own_stretches(
    rows: pd.DataFrame, system: MLSystem
) -> None:
    rng = np.random.default_rng(3)
    columns = {f"x{n}": rng.normal(size=len(rows)) for n in range(60)}
    table = rows[["scheduled_departure"]].assign(**columns)

    def of_features(count: int) -> Reference:
        named = tuple(
            system.spec.features[0].model_copy(update={"name": name, "column": name})
            for name in list(columns)[:count]
        )
        spec = system.spec.model_copy(update={"features": named})
        return fitted_detectors.fit(table, system.model_copy(update={"spec": spec}))

    few, many = (of_features(count).features[0].distance for count in (1, 60))
    assert (few.rule, many.rule) == ("Maximum", "Maximum")
    assert many.value / few.value == pytest.approx((1.25 + 0.2 * np.log(3)) / 1.25)
