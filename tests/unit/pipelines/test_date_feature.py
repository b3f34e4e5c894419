"""Parts of moments go through training, serving, drift and export; one of them is the column that dates the rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from unit.pipelines.real_steps import run_steps

from capstan.errors import InvalidDataError, InvalidRequestError
from capstan.exporting.columns import inputs_of
from capstan.features import as_columns
from capstan.features.rowwise import compile_row
from capstan.monitoring.causes.reference import CauseReference
from capstan.monitoring.drift.column_values import values_of
from capstan.monitoring.drift.fitted_detectors import OwnDetector
from capstan.monitoring.drift.reference import FeatureReference, load_reference
from capstan.monitoring.estimates.estimator import Estimator
from capstan.serving.model import Model, load
from capstan.serving.plain_rows import PlainRows
from capstan.serving.schema import RequestSchema
from capstan.spec import parse

AS_OF = datetime(2024, 4, 1, tzinfo=UTC)
ZONE = "America/New_York"
ROWS = 3000
WRITTEN = "%d.%m.%Y %H:%M"
DOCUMENT: dict[str, Any] = {
    "apiVersion": "capstan.dev/v1alpha1",
    "kind": "MLSystem",
    "metadata": {"name": "visits"},
    "spec": {
        "objective": {"task": "BinaryClassification", "target": "late"},
        "data": {
            "timeZone": ZONE,
            "sources": [
                {
                    "name": "rows",
                    "csv": {"path": "rows.csv", "timeColumn": "at"},
                    "types": [{"column": "booked", "type": "Time", "written": WRITTEN}],
                }
            ],
            "keys": {"id": "id", "time": "at"},
            "label": {"column": "late", "availableAt": "known_at"},
        },
        "features": [
            {"name": "visit", "column": "at", "date": {"parts": ["Hour", "Weekday"], "cyclic": True}},
            {"name": "booked", "date": {"parts": ["Hour", "Month"], "indicator": True}, "maxMissing": "50%"},
            {"name": "month", "column": "booked", "date": {"parts": ["Month"]}},
            {"name": "distance", "numeric": {}},
        ],
        "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
        "evaluation": {"explanations": True},
    },
}


def lines() -> list[str]:
    """Visits that are late at night, by the clocks of New York."""
    rng = np.random.default_rng(5)
    found = ["id,at,known_at,booked,distance,late"]
    for index in range(ROWS):
        at = AS_OF - timedelta(minutes=30) * (ROWS - index) - timedelta(days=4)
        booked = at - timedelta(hours=int(rng.integers(1, 500)))
        night = np.cos(at.astimezone(ZoneInfo(ZONE)).hour * np.pi / 12) > 0.3
        late = rng.random() < (0.9 if night else 0.1)
        told = "" if rng.random() < 0.05 else booked.astimezone(ZoneInfo(ZONE)).strftime(WRITTEN)
        known = at + timedelta(hours=1)
        found.append(f"v{index},{at.isoformat()},{known.isoformat()},{told},{rng.normal(5, 2):.3f},{late}")
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the real steps of a training ran."""
    folder = tmp_path_factory.mktemp("dates")
    (folder / "rows.csv").write_text("\n".join(lines()) + "\n")
    parse(DOCUMENT, base_dir=folder)
    run_steps(folder, folder, DOCUMENT, as_of=AS_OF)
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder / "model")


@pytest.fixture(scope="module")
def features(folder: Path) -> dict[str, FeatureReference]:
    return {one.name: one for one in load_reference(folder / "model" / "detectors").features}


def test_the_hour_of_the_zone_tells_what_the_moment_does_not(folder: Path) -> None:
    assert json.loads((folder / "evaluation").read_text())["metrics"]["rocAuc"] > 0.85


def test_a_model_learns_the_hours_of_the_files_zone(model: Model) -> None:
    row = {"at": "2024-02-01T05:30:00Z", "booked": "2024-02-01T05:30:00Z", "distance": 1.0}
    found = compile_row(model.pipeline.steps[0][1])(row)
    midnight, thursday = [0.0, 1.0], [np.sin(2 * np.pi * 3 / 7), np.cos(2 * np.pi * 3 / 7)]
    assert found.tolist() == [*midnight, *thursday, 0.0, 2.0, 0.0, 2.0, 1.0]


def test_a_request_writes_moments_in_any_way_and_gets_the_answer_of_a_batch(model: Model) -> None:
    assert model.fallback == ""
    forms = [
        ("2024-02-01T04:30:00Z", "2024-01-31T22:15:00Z"),
        ("2024-01-31T23:30", "2024-01-31 17:15"),
        ("2024-02-01T05:30:00+01:00", "31.01.2024 17:15"),
        ("2024-01-31T23:30:00-05:00", "2024-01-31T17:15:00 America/New_York"),
    ]
    bodies: list[Any] = [{"at": at, "booked": booked, "distance": 4.5} for at, booked in forms]
    schema, plain = RequestSchema(model.manifest), PlainRows(model.manifest, model.known_categories)
    rows = schema.rows_of({"rows": [dict(one) for one in bodies]})
    said = {model.predict_row(row) for row in rows}
    assert len(said) == 1
    by_columns = model.by_columns()
    assert by_columns is not None
    assert set(by_columns(as_columns(rows, ["at", "booked", "distance"]))) == said
    assert model.predict_batch(rows).tolist() == pytest.approx([*said] * 4, rel=1e-9)
    assert said == {model.predict_row(row) for row in plain.of(dict(bodies[0])) or ()}
    noon = schema.rows_of({"at": "2024-01-31T12:00", "booked": None, "distance": 4.5})
    assert model.predict_row(noon[0]) < said.pop() / 2


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        ({"booked": "some day"}, "must be a day or a moment"),
        ({"booked": 20240101}, "must be a day or a moment"),
        ({"at": "1066-10-14T09:00:00Z"}, "1900"),
    ],
)
def test_what_is_no_moment_is_refused(model: Model, row: dict[str, Any], rule: str) -> None:
    sent = {"at": "2024-01-31T23:30", "booked": None, "distance": 1, **row}
    with pytest.raises(InvalidRequestError, match=rule):
        RequestSchema(model.manifest).rows_of(sent)


def day(first: datetime, hours: range, rows: int = 2000) -> pa.Array:
    """Moments as payloads hold them, spread over a week from a day on."""
    places = np.arange(rows)
    return pa.array(
        [
            (first + timedelta(days=int(at) % 7, hours=hours[int(at) % len(hours)])).isoformat()
            for at in places
        ]
    )


def breaches(feature: FeatureReference, column: pa.Array) -> bool:
    read = values_of(feature).present(column)
    assert read.is_there.all()
    found = OwnDetector(feature).compare(read.values)
    return found.effect > feature.distance_threshold(len(column), 0.1)


def test_time_that_goes_on_is_no_drift_and_other_hours_are(features: dict[str, FeatureReference]) -> None:
    assert set(features) == {"visit.Hour", "visit.Weekday", "booked.Hour", "month", "distance"}
    later, hour = datetime(2031, 7, 7, tzinfo=ZoneInfo(ZONE)), features["visit.Hour"]
    assert hour.missing_rate == 0
    assert features["booked.Hour"].missing_rate == pytest.approx(0.05, abs=0.02)
    for one in ("visit.Hour", "visit.Weekday", "month"):
        assert not breaches(features[one], day(later, range(24)))
    assert breaches(hour, day(later, range(3, 6)))
    assert not breaches(features["visit.Weekday"], day(later, range(3, 6)))
    # The same local hours in UTC would be others.
    assert hour.view is not None
    assert hour.view.zone == ZONE


def test_estimates_and_causes_look_at_parts(folder: Path) -> None:
    document = json.loads((folder / "evaluation").read_text())
    estimator = Estimator.of(document["estimator"])
    names = {"visit.Hour", "visit.Weekday", "booked.Hour", "month", "distance"}
    assert {one.feature for one in estimator.seen} == names
    hour = next(one for one in estimator.seen if one.feature == "visit.Hour")
    assert (hour.low, hour.high) == (0, 23)
    assert hour.read(pa.array(["2024-01-01T05:30:00Z", None])).tolist() == [
        0,
        pytest.approx(float("nan"), nan_ok=True),
    ]
    causes = next(CauseReference.of(value) for key, value in document.items() if "cause" in key and value)
    kinds = {one.feature: one for one in causes.kinds}
    assert set(kinds) == names
    hours = kinds["visit.Hour"]
    assert hours.name(*[int(hours.codes(pa.array(["2024-01-01T05:30:00Z"]))[0])] * 2) == "visit.Hour=0"


def test_an_explanation_has_one_number_for_each_column(model: Model) -> None:
    row = {"at": "2024-02-01T04:30:00Z", "booked": None, "distance": 4.5}
    told = model.explainer().explain([row]).documents()[0]
    assert set(told["contributions"]) == {"at", "booked", "distance"}
    assert max(told["contributions"], key=lambda one: abs(told["contributions"][one])) == "at"


def test_it_cannot_be_exported_to_onnx_and_the_way_out_is_told(model: Model) -> None:
    told = r"feature 'visit': a date has no operator in ONNX.*derive Hour, Weekday in data.query"
    with pytest.raises(InvalidDataError, match=told):
        inputs_of(model.pipeline.steps[0][1])
