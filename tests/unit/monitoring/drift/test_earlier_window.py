"""Windows compared with earlier ones: thresholds are found on pairs as far apart, and wrong use is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from capstan.errors import InvalidSpecError
from capstan.monitoring.drift import fitted_detectors
from capstan.monitoring.drift.calibrated_for import found_for_others
from capstan.monitoring.questions.texts import AlertText
from capstan.spec import MLSystem, parse

PER_WEEK = 400
WEEKS = 20


def system_with(*, every: str | None = None, **words: Any) -> MLSystem:
    file = Path(__file__).parents[2] / "spec" / "flight_delays.yaml"
    document = json.loads(json.dumps(YAML(typ="safe").load(file.read_text()), default=str))
    document["spec"]["monitoring"]["drift"].update(words)
    if every is not None:
        document["spec"]["monitoring"]["window"]["every"] = every
    return parse(document, base_dir=Path())


@pytest.fixture(scope="module")
def history() -> pd.DataFrame:
    """A season of four weeks in temp, and distances that grow from week to week."""
    rng = np.random.default_rng(7)
    count = WEEKS * PER_WEEK
    week = np.arange(count) // PER_WEEK
    return pd.DataFrame(
        {
            "scheduled_departure": pd.date_range("2013-01-01", periods=count, freq="1512s", tz="UTC"),
            "distance": rng.normal(0.2 * week),
            "dep_hour": rng.integers(5, 23, count).astype(float),
            "temp": rng.normal(2.0 * np.sin(2 * np.pi * week / 4)),
            "dest": rng.choice(np.array(["ATL", "BOS"], dtype=object), count),
        }
    )


def thresholds(history: pd.DataFrame, **words: Any) -> dict[str, float]:
    reference = fitted_detectors.fit(history, system_with(**words))
    return {one.name: one.distance.value for one in reference.features}


def test_thresholds_are_those_of_pairs_as_far_apart(history: pd.DataFrame) -> None:
    training = thresholds(history)
    season = thresholds(history, reference="Seasonal", seasonLength="28d")
    previous = thresholds(history, reference="PreviousWindow", consecutive=1)
    # Beside the training data each week is out of season, and one season before it is not.
    assert training["temp"] > 0.6
    assert season["temp"] < 0.25
    assert previous["temp"] > 0.6
    # What grows slowly is far from the training data and from four weeks ago, and near the week before.
    assert previous["distance"] < 0.3 < season["distance"]
    assert training["distance"] > 0.6


def test_more_looks_make_thresholds_stricter(history: pd.DataFrame) -> None:
    probabilities = []
    for every in ("7d", "1d"):
        fitted = fitted_detectors.fit(history, system_with(every=every))
        probabilities.append(fitted.features[0].distance.probability)
    assert probabilities[1] < probabilities[0] / 5


def test_what_thresholds_are_for_is_kept_with_them(history: pd.DataFrame, tmp_path: Path) -> None:
    fitted = fitted_detectors.fit(history, system_with(reference="Seasonal", seasonLength="28d"))
    fitted.save(tmp_path)
    again = fitted_detectors.load_reference(tmp_path)
    assert again.lag == fitted.lag
    assert fitted.lag is not None
    assert fitted.lag.days == 28
    assert fitted_detectors.fit(history, system_with()).lag is None


def test_only_pairs_are_counted_as_history(history: pd.DataFrame) -> None:
    blocks = {
        name: fitted_detectors.fit(history, system_with(**words)).features[0].distance.blocks
        for name, words in {
            "training": {},
            "season": {"reference": "Seasonal", "seasonLength": "84d"},
            "too long": {"reference": "Seasonal", "seasonLength": "364d"},
        }.items()
    }
    assert blocks == {"training": 20, "season": 8, "too long": 0}


def test_the_alert_says_how_far_looks_are_apart() -> None:
    assert AlertText(system_with(every="1d"), None).in_windows == " in 2 windows of 7 days, 1 day apart"


def test_the_alert_says_what_windows_are_compared_with() -> None:
    assert AlertText(system_with(), None).from_reference == ""
    assert (
        AlertText(system_with(reference="PreviousWindow", consecutive=1), None).from_reference
        == " from requests in the window before"
    )
    season = system_with(reference="Seasonal", seasonLength="14d")
    assert AlertText(season, None).from_reference == " from requests 14 days before"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(
            {"reference": "Seasonal"},
            r"monitoring\.drift\.seasonLength: reference: Seasonal and seasonLength belong together",
            id="no length",
        ),
        pytest.param(
            {"seasonLength": "7d"},
            r"monitoring\.drift\.reference: reference: Seasonal and seasonLength belong together",
            id="no season",
        ),
        pytest.param(
            {"reference": "Seasonal", "seasonLength": "1d", "consecutive": 1},
            r"monitoring\.drift\.seasonLength: '1d' is shorter than monitoring\.window\.duration",
            id="shorter than a window",
        ),
        pytest.param(
            {"reference": "PreviousWindow"},
            r"monitoring\.drift\.consecutive: 2 windows in a row are more than a sudden drift lasts",
            id="two in a row",
        ),
        pytest.param(
            {"reference": "Seasonal", "seasonLength": "7d", "consecutive": 2},
            "write at most 1",
            id="one season",
        ),
        pytest.param(
            {"every": "2d"}, r"monitoring\.window\.every: '2d' does not divide", id="looks that do not divide"
        ),
        pytest.param(
            {"every": "10m"},
            "'?10m'? gives 1,008 looks in a window of '?7d'?, .* at most 168",
            id="too many looks",
        ),
        pytest.param({"every": "14d"}, r"monitoring\.window\.every: '14d' does not divide", id="holes"),
        pytest.param({"reference": "LastYear"}, r"monitoring\.drift\.reference", id="unknown"),
    ],
)
def test_wrong_use_is_refused(words: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidSpecError, match=message):
        system_with(**words)


def test_thresholds_of_another_window_are_told_until_the_next_training(
    history: pd.DataFrame, tmp_path: Path
) -> None:
    fitted_detectors.fit(history, system_with()).save(tmp_path)
    known = fitted_detectors.load_reference(tmp_path).calibrated_for
    assert found_for_others(known, system_with().spec.monitoring) == ""
    assert found_for_others({}, system_with(every="1d").spec.monitoring) == ""
    assert found_for_others(known, system_with(every="1d").spec.monitoring) == (
        "thresholds were found for monitoring.window.every none and not 1d, so false alarms may be more or fewer than "
        "the file allows; `capstan retrain` finds them again"
    )
    said = found_for_others(known, system_with(consecutive=3, falseAlarmsPerMonth=1).spec.monitoring)
    assert (
        "monitoring.drift.falseAlarmsPerMonth 0.1 and not 1, monitoring.drift.consecutive 2 and not 3" in said
    )
    by_slice = found_for_others({**known, "drift.slices.alert": "true"}, system_with().spec.monitoring)
    assert "monitoring.drift.slices.alert true and not false" in by_slice
