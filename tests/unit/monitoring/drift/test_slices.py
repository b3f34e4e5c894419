"""By slice: which slice moved is told, no slice alarms beyond the budget, and what is not compared is said."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from capstan.errors import InvalidSpecError
from capstan.monitoring.drift import fitted_detectors
from capstan.monitoring.drift.reference import Reference
from capstan.monitoring.drift.slices import MOST_TOLD, SlicedWindow
from capstan.monitoring.held_alerts import held_alerts
from capstan.monitoring.questions import QUESTIONS
from capstan.monitoring.questions.question import Answer
from capstan.monitoring.watched_version import WatchedVersion
from capstan.monitoring.windows import DriftWindow, FeatureDrift, Gap, SliceDrift, SlicesDrift, WindowOutcome
from capstan.monitoring.windows_json import tell_drift
from capstan.ports.codec import from_json, to_json
from capstan.spec import MLSystem, parse

WEEK = 2800
SINCE = datetime(2013, 4, 1, tzinfo=UTC)


def system_with(slices: Sequence[str] = ("dest",), **words: Any) -> MLSystem:
    file = Path(__file__).parents[2] / "spec" / "flight_delays.yaml"
    document = json.loads(json.dumps(YAML(typ="safe").load(file.read_text()), default=str))
    document["spec"]["evaluation"]["slices"] = list(slices)
    document["spec"]["monitoring"]["drift"]["slices"] = words
    return parse(document, base_dir=Path())


def window_of(
    reference: Reference,
    columns: Mapping[str, Any],
    *,
    min_effect: float = 0.1,
    batches: int = 3,
    most: int = 200_000,
) -> SlicesDrift:
    assert reference.slices is not None
    count = len(columns["temp"])
    sliced = SlicedWindow(
        reference.slices, [(one.name, one.detector) for one in reference.features], count, most
    )
    for rows in np.array_split(np.arange(count), batches):
        read = []
        for feature in reference.features:
            values = np.asarray(columns[feature.column])[rows]
            if feature.kind == "categorical":
                codes = feature.codes(values.tolist())
                read.append((codes, codes >= 0))
            else:
                read.append((values, np.isfinite(values)))
        sliced.add(read, len(rows))
    return sliced.result(min_effect, is_asked=False)


@pytest.fixture(scope="module")
def still() -> pd.DataFrame:
    """Ten weeks; without a drift, but for what chance does."""
    rng = np.random.default_rng(5)
    count = 10 * WEEK
    return pd.DataFrame(
        {
            "scheduled_departure": pd.date_range("2013-01-01", periods=count, freq="216s", tz="UTC"),
            "distance": rng.gamma(4, 200, count).round(),
            "dep_hour": rng.integers(5, 23, count).astype(float),
            "temp": rng.normal(size=count),
            "dest": rng.choice(
                np.array(["ATL", "BOS", "LAX", "XNA"], dtype=object), count, p=[0.5, 0.3, 0.19, 0.01]
            ),
        }
    )


@pytest.fixture(scope="module")
def reference(still: pd.DataFrame) -> Reference:
    return fitted_detectors.fit(still, system_with())


def moved_in(still: pd.DataFrame, dest: str, by: float = 2.0) -> dict[str, Any]:
    week = still.iloc[-WEEK:]
    temp = np.where(week["dest"] == dest, week["temp"] + by, week["temp"])
    return {**{name: week[name].to_numpy() for name in week}, "temp": temp}


def test_the_slice_and_the_feature_that_moved_are_told(still: pd.DataFrame, reference: Reference) -> None:
    found = window_of(reference, moved_in(still, "BOS"))
    assert [(one.slice, one.feature) for one in found.above] == [("dest=BOS", "temp")]
    assert found.moved == 1
    assert found.farthest[0].distance > 0.5
    assert found.farthest[0].rows == (still["dest"].iloc[-WEEK:] == "BOS").sum()
    assert len(found.farthest) <= MOST_TOLD


@pytest.mark.parametrize(("usual", "new"), [(0.0, 1.0), (0.0, -1.0), (40.0, 900.0)])
def test_a_constant_that_has_another_value_in_one_slice_moved(
    still: pd.DataFrame, usual: float, new: float
) -> None:
    found = fitted_detectors.fit(still.assign(temp=usual), system_with())
    week = moved_in(still.assign(temp=usual), "BOS", by=new - usual)
    told = window_of(found, week)
    assert [(one.slice, one.feature) for one in told.above] == [("dest=BOS", "temp")]
    assert told.farthest[0].distance == pytest.approx(1.0)


def test_a_week_of_training_has_no_slice_that_moved(still: pd.DataFrame, reference: Reference) -> None:
    found = window_of(reference, moved_in(still, "BOS", by=0.0))
    assert found.compared == 3
    assert found.moved == 0


def test_counts_are_the_same_whatever_the_batches(still: pd.DataFrame, reference: Reference) -> None:
    one, many = (window_of(reference, moved_in(still, "LAX"), batches=batches) for batches in (1, 7))
    assert one == many


def test_a_large_window_is_compared_by_an_even_selection(still: pd.DataFrame, reference: Reference) -> None:
    found = window_of(reference, moved_in(still, "BOS"), most=WEEK // 4)
    assert [(one.slice, one.feature) for one in found.above] == [("dest=BOS", "temp")]
    assert found.farthest[0].rows == pytest.approx((still["dest"].iloc[-WEEK:] == "BOS").sum(), rel=0.2)


def test_distances_are_those_of_the_features_detector(still: pd.DataFrame, reference: Reference) -> None:
    week = moved_in(still, "BOS")
    found = window_of(reference, week).farthest[0]
    detector = next(one.detector for one in reference.features if one.name == "temp")
    trained = still["temp"][still["dest"] == "BOS"].to_numpy()
    expected = detector.effect(trained, week["temp"][week["dest"] == "BOS"])
    assert found.distance == pytest.approx(expected, abs=0.01)


def test_a_slice_with_too_few_rows_is_counted_and_not_compared(
    still: pd.DataFrame, reference: Reference
) -> None:
    assert reference.slices is not None
    assert reference.slices.left_out == ("dest: 1 of 4 values have fewer than 100 rows in a usual window",)
    week = {name: np.asarray(values)[:400] for name, values in moved_in(still, "LAX").items()}
    found = window_of(reference, week)
    assert (found.compared, found.too_few) == (2, 1)
    nothing = window_of(reference, {name: values[:20] for name, values in week.items()})
    assert nothing.gap is not None
    assert nothing.gap.message == "none of 3 slices has 100 rows (monitoring.drift.slices.minRows)"
    assert nothing.outcome == "NoEvidence"


def test_a_history_shorter_than_a_window_finds_no_threshold_of_slices(still: pd.DataFrame) -> None:
    found = window_of(fitted_detectors.fit(still.iloc[:1500], system_with()), moved_in(still, "BOS"))
    assert found.gap is not None
    assert (found.gap.reason, found.compared) == ("NotCalibrated", 0)


def test_fewer_rows_and_fewer_slices_are_the_files_choice(still: pd.DataFrame) -> None:
    found = fitted_detectors.fit(still, system_with(minRows=20)).slices
    assert found is not None
    assert found.slicings[0].names == ("dest=ATL", "dest=BOS", "dest=LAX", "dest=XNA")
    found = fitted_detectors.fit(still, system_with(minRows=20, most=2)).slices
    assert found is not None
    assert found.slicings[0].names == ("dest=ATL", "dest=BOS")
    assert found.left_out == ("2 slices are smaller than the 2 largest",)


def test_a_column_that_requests_do_not_carry_is_said(still: pd.DataFrame) -> None:
    found = fitted_detectors.fit(still, system_with(["carrier", "dep_hour"]))
    assert found.slices is not None
    assert found.slices.left_out == ("carrier: requests do not carry it",)
    assert found.slices.slicings[0].names[:2] == ("dep_hour=5", "dep_hour=6")
    none = window_of(fitted_detectors.fit(still, system_with(["carrier"])), moved_in(still, "BOS"))
    assert none.gap is not None
    assert none.gap.message == "no slice can be compared: carrier: requests do not carry it"


def test_without_slices_in_the_file_there_are_none(still: pd.DataFrame) -> None:
    assert fitted_detectors.fit(still, system_with([])).slices is None


def test_the_model_folder_keeps_them(still: pd.DataFrame, reference: Reference, tmp_path: Path) -> None:
    reference.save(tmp_path)
    again = fitted_detectors.load_reference(tmp_path)
    week = moved_in(still, "LAX")
    assert window_of(again, week) == window_of(reference, week)


def test_alerts_by_slices_take_a_share_of_the_budget(still: pd.DataFrame) -> None:
    silent, loud = (fitted_detectors.fit(still, system_with(alert=alert)) for alert in (False, True))
    of_features = [one.features[0].distance.probability for one in (silent, loud)]
    assert of_features[1] == pytest.approx(of_features[0] * 4 / 5)
    assert loud.slices is not None
    assert loud.slices.farthest.probability == of_features[1]


def test_the_smallest_effect_changes_no_reference(still: pd.DataFrame, tmp_path: Path) -> None:
    """Policies of a backtest that differ in it share trainings."""
    kept = []
    for number, effect in enumerate((0.1, 0.3)):
        system = system_with()
        drift = system.spec.monitoring.drift.model_copy(update={"min_effect": effect})
        monitoring = system.spec.monitoring.model_copy(update={"drift": drift})
        spec = system.spec.model_copy(update={"monitoring": monitoring})
        folder = tmp_path / str(number)
        fitted_detectors.fit(still, system.model_copy(update={"spec": spec})).save(folder)
        kept.append({file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()})
    assert kept[0] == kept[1]


def judged(slices: SlicesDrift, distance: float = 0.01) -> Answer:
    temp = FeatureDrift("temp", 2000, distance, 0.1, None, 0.0, 0.0, 0.1)
    return QUESTIONS["drift"].ask(
        DriftWindow(0, SINCE, SINCE + timedelta(days=7), 2000, True, (temp,), slices=slices)
    )


MOVED = SlicesDrift((SliceDrift("dest=BOS", "temp", 300, 0.3, 0.1),), moved=1, compared=3)
BLIND = SlicesDrift(gap=Gap("SlicesTooSmall", "none of 3 slices has 100 rows"))


def test_a_slice_that_moved_is_an_alert_only_if_the_file_asks() -> None:
    assert judged(MOVED).outcome is WindowOutcome.FINE
    assert judged(replace(MOVED, is_asked=True)).outcome is WindowOutcome.BREACH
    assert judged(replace(MOVED, is_asked=True, moved=0)).outcome is WindowOutcome.FINE


def test_without_an_alert_the_answer_names_the_slice_that_moved() -> None:
    named = "dest=BOS: temp 0.300 above 0.100 by slice, of which there is no alert (monitoring.drift.slices.alert)"
    assert judged(MOVED).besides == named
    assert judged(replace(MOVED, moved=3)).besides.startswith(
        "dest=BOS: temp 0.300 above 0.100, 2 more by slice"
    )
    assert judged(replace(MOVED, moved=0)).besides == ""
    # Where it is an alert, or all rows moved, the alert names it.
    assert judged(replace(MOVED, is_asked=True)).besides == ""
    assert judged(MOVED, distance=0.5).besides == ""
    temp = FeatureDrift("temp", 2000, 0.01, 0.1, None, 0.0, 0.0, 0.1)
    window = DriftWindow(0, SINCE, SINCE + timedelta(days=7), 2000, True, (temp,), slices=MOVED)
    watch = WatchedVersion("v1", "/model", SINCE).with_drift(window).with_drift(window)
    assert "DriftDetected" not in watch.alerts(consecutive=2)
    standing = next(one for one in watch.questions() if one.name == "drift")
    assert (standing.unjudged, standing.besides) == (0, named)
    assert tell_drift(window)["answers"]["drift"]["besides"] == named


def test_slices_that_cannot_be_compared_are_a_gap_only_if_the_file_asks() -> None:
    assert judged(BLIND) == Answer(WindowOutcome.FINE)
    assert judged(replace(BLIND, is_asked=True)) == Answer(WindowOutcome.NO_EVIDENCE, BLIND.gap)
    assert judged(replace(BLIND, is_asked=True), distance=0.5).outcome is WindowOutcome.BREACH


def test_the_alert_says_which_slice_moved() -> None:
    temp = FeatureDrift("temp", 2000, 0.4, 0.1, None, 0.0, 0.0, 0.1)
    watch = WatchedVersion("v1", "/model", SINCE)
    for number in range(2):
        start = SINCE + number * timedelta(days=7)
        window = DriftWindow(number, start, start + timedelta(days=7), 2000, True, (temp,), slices=MOVED)
        watch = watch.with_drift(window)
    alert = next(one for one in held_alerts(system_with(), watch) if one.name == "DriftDetected")
    assert alert.summary.endswith("in the last: temp 0.400 (distance); by slice: dest=BOS: temp 0.30")
    assert from_json(WatchedVersion, to_json(watch)) == watch


def test_alerts_by_slices_that_no_request_carries_are_refused() -> None:
    with pytest.raises(
        InvalidSpecError, match=r"monitoring\.drift\.slices\.alert: True asks for alerts by slices"
    ):
        system_with(["carrier"], alert=True)


def test_too_few_rows_for_any_distance_are_refused() -> None:
    with pytest.raises(InvalidSpecError, match=r"monitoring\.drift\.slices\.minRows"):
        system_with(minRows=5)


def test_many_slices_without_drift_hardly_ever_alarm() -> None:
    """20 slices of three features: 60 pairs in 25 weeks, held to one threshold."""
    rng = np.random.default_rng(11)

    def weeks(number: int) -> pd.DataFrame:
        count = number * 4000
        return pd.DataFrame(
            {
                "scheduled_departure": pd.date_range("2013-01-01", periods=count, freq="151s", tz="UTC"),
                "distance": rng.normal(np.repeat(rng.normal(0, 0.2, number), 4000)),
                "dep_hour": rng.integers(5, 23, count).astype(float),
                "temp": rng.normal(size=count),
                "dest": np.array([f"A{n}" for n in rng.integers(0, 20, count)], dtype=object),
            }
        )

    words = {"minRows": 50, "most": 20, "alert": True}
    reference = fitted_detectors.fit(weeks(26), system_with(**words))
    live = weeks(25)
    breaches = 0
    for week in range(25):
        part = live.iloc[week * 4000 : (week + 1) * 4000]
        found = window_of(reference, {name: part[name].to_numpy() for name in part})
        assert found.compared == 20
        breaches += found.outcome == "Breach"
    assert breaches <= 1
