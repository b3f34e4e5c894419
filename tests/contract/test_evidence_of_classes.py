"""Several classes from the payload to the verdict: pairs, windows of quality and of drift, on real Parquet files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from contract.recorded_task import DAY, NOON, START, V1, V2, RecordedTask

from capstan.domain.verdicts.evidence import PairedEvidence
from capstan.errors import InvalidRequestError
from capstan.monitoring.drift import fitted_detectors
from capstan.monitoring.measuring import Measuring
from capstan.monitoring.quality import QualityReference
from capstan.monitoring.questions import QUESTIONS
from capstan.monitoring.questions.texts import AlertText
from capstan.monitoring.windows import WindowOutcome
from capstan.recording.reading import PayloadReader
from capstan.spec import MLSystem, parse
from capstan.tasks import TASKS, Learnt

CLASSES = ("early", "on time", "very.late")
TASK = TASKS["MulticlassClassification"]


WORTHS = {"right": 1, "wrong": -5, "pairs": [{"label": "early", "answer": "on time", "worth": -50}]}


def document() -> dict[str, object]:
    return {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "bands"},
        "spec": {
            "objective": {"task": "MulticlassClassification", "target": "band", "value": WORTHS},
            "data": {
                "sources": [{"name": "flights", "csv": {"path": "flights.csv"}}],
                "keys": {"id": "id", "time": "at"},
                "label": {"column": "band", "availableAt": "known", "maximumDelay": "3d"},
            },
            "features": [{"name": "x", "numeric": {}}],
            "monitoring": {
                "window": {"duration": "7d", "minRows": 100},
                "drift": {"minEffect": 0.1, "consecutive": 1},
                "quality": {"metric": "logLoss", "maxDrop": 0.3, "minCoverage": "80%"},
            },
        },
    }


SYSTEM: MLSystem = parse(document(), base_dir=Path())


class Bands(RecordedTask):
    """Answers of one of three classes; they reach the collector by `store`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, document())
        self._events: list[dict[str, object]] = []

    def answer(
        self,
        request: str,
        version: str,
        scores: Sequence[float],
        *,
        at: datetime = NOON,
        classes: Sequence[str] = CLASSES,
    ) -> None:
        (outputs,) = TASK.outputs(TASK.predictions(np.array([scores]), Learnt(tuple(classes))))
        self._events.append(self.event(request, version, outputs, at=at))

    def label(self, values: Mapping[str, object], *, at: datetime = NOON) -> None:
        self.feedback(
            [
                {"id": f"e-{request}", "label": value, "availableAt": at.isoformat()}
                for request, value in values.items()
            ]
        )

    def store(self) -> None:
        for begin in range(0, len(self._events), 500):
            self.receive(self._events[begin : begin + 500])
        self.intake.flush()

    def paired(self, *, metric: str = "logLoss") -> PairedEvidence:
        self.store()
        return self.pairs(metric)


@pytest.fixture
def bands(tmp_path: Path) -> Bands:
    return Bands(tmp_path)


def test_two_versions_are_paired_by_the_class_that_came(bands: Bands) -> None:
    bands.answer("a", V1, [0.2, 0.7, 0.1])
    bands.answer("a", V2, [0.6, 0.3, 0.1])
    bands.answer("b", V1, [0.1, 0.1, 0.8])
    bands.answer("b", V2, [0.1, 0.2, 0.7])
    bands.label({"a": "early", "b": "very.late"})
    found = bands.paired()
    (block,) = found.blocks
    assert block.count == 2
    assert block.loss_difference == pytest.approx(math.log(0.6 / 0.2) + math.log(0.7 / 0.8))
    assert found.disagreement == pytest.approx(0.5)
    assert found.clipped_share == 0
    (by_misses,) = bands.paired(metric="accuracy").blocks
    assert by_misses.loss_difference == pytest.approx(1.0)
    (by_value,) = bands.paired(metric="value").blocks
    assert by_value.loss_difference == pytest.approx(51)


def test_a_label_that_neither_version_knows_decides_nothing_and_is_told_as_clipped(bands: Bands) -> None:
    bands.answer("a", V1, [0.2, 0.7, 0.1])
    bands.answer("a", V2, [0.6, 0.3, 0.1])
    bands.label({"a": "cancelled"})
    found = bands.paired()
    (block,) = found.blocks
    assert (block.count, block.loss_difference, found.clipped_share) == (1, 0.0, 1.0)


def test_a_challenger_that_learnt_a_new_class_is_better_on_it_by_the_bound_at_most(bands: Bands) -> None:
    bands.answer("a", V1, [0.2, 0.7, 0.1])
    bands.answer("a", V2, [0.9, 0.05, 0.05], classes=("cancelled", "early", "on time"))
    bands.label({"a": "cancelled"})
    (block,) = bands.paired().blocks
    assert block.loss_difference == pytest.approx(math.log(0.9) - math.log(0.001))


def test_labels_come_as_texts_and_as_whole_numbers_and_nothing_else(bands: Bands) -> None:
    bands.answer("a", V1, [0.7, 0.3], classes=("7", "8"))
    bands.answer("a", V2, [0.4, 0.6], classes=("7", "8"))
    bands.label({"a": 8})
    (block,) = bands.paired().blocks
    assert block.loss_difference == pytest.approx(math.log(0.6 / 0.3))
    with pytest.raises(InvalidRequestError, match="the name of a class"):
        bands.label({"a": ["8"]})


def weeks(rng: np.random.Generator, shares: Sequence[float], rows: int) -> tuple[Any, Any]:
    """Classes in these shares, and scores that tell them well."""
    codes = rng.choice(len(CLASSES), rows, p=shares)
    scores = rng.dirichlet(np.ones(len(CLASSES)), rows) + 2.0 * np.eye(len(CLASSES))[codes]
    return codes, scores / scores.sum(axis=1, keepdims=True)


def measuring(bands: Bands) -> Measuring:
    rng = np.random.default_rng(5)
    rows = 2800
    _, scores = weeks(rng, [0.4, 0.5, 0.1], rows)
    at = [START - timedelta(minutes=20 * (rows - row)) for row in range(rows)]
    table = pa.table({"at": pa.array(at, pa.timestamp("us", "UTC")), "x": rng.normal(0, 1, rows)})
    fitted = fitted_detectors.fit(table, SYSTEM, predictions=TASK.predictions(scores, Learnt(CLASSES)))
    fitted.save(bands.folder / "detectors")
    loaded = fitted_detectors.load(bands.folder / "detectors", fitted, "Scipy")
    return Measuring(SYSTEM, PayloadReader(bands.folder), fitted, loaded, QualityReference(0.6, 0.02))


def live(bands: Bands, shares: Sequence[float], *, strange: int = 0) -> None:
    rng = np.random.default_rng(6)
    codes, scores = weeks(rng, shares, 700)
    for row, one in enumerate(scores):
        bands.answer(f"r{row}", V1, one.tolist(), at=START + timedelta(minutes=14 * row))
    truth: list[str] = [CLASSES[code] for code in codes]
    truth[:strange] = ["cancelled"] * strange
    bands.label({f"r{row}": value for row, value in enumerate(truth)}, at=START + 8 * DAY)
    bands.store()


def test_a_window_as_at_training_is_fine_and_labels_of_unknown_classes_are_counted(bands: Bands) -> None:
    live(bands, [0.4, 0.5, 0.1], strange=7)
    measured = measuring(bands)
    drift = measured.drift(1, V1, START, START + 7 * DAY)
    assert {one.feature for one in drift.outputs} == {":label", *(f":probability.{name}" for name in CLASSES)}
    assert QUESTIONS["predictions"].ask(drift).outcome is WindowOutcome.FINE
    quality = measured.quality(1, V1, START, START + 7 * DAY, now=START + 20 * DAY)
    assert quality is not None
    assert quality.decision is WindowOutcome.FINE
    assert quality.notes == (
        "7 labels are of classes that the model does not know ('cancelled' 7): a miss each, with the largest loss",
    )


def test_of_several_outputs_the_one_that_moved_farthest_is_named_in_one_series(bands: Bands) -> None:
    live(bands, [0.1, 0.2, 0.7])
    drift = measuring(bands).drift(1, V1, START, START + 7 * DAY)
    question = QUESTIONS["predictions"]
    assert question.ask(drift).outcome is WindowOutcome.BREACH
    told = {reading.metric: reading for reading in question.readings(drift)}
    assert set(told) == {"capstan_prediction_drift_distance", "capstan_prediction_drift_threshold"}
    distance, threshold = (told[f"capstan_prediction_drift_{name}"] for name in ("distance", "threshold"))
    assert distance.labels == threshold.labels == {"output": distance.labels["output"]}
    ratios = {one.feature: (one.distance or 0) / one.threshold for one in drift.outputs}
    assert f":{distance.labels['output']}" == max(ratios, key=lambda name: ratios[name])
    assert distance.value / threshold.value == pytest.approx(max(ratios.values()))
    assert 'label "output"' in question.summary(AlertText(SYSTEM, None))
