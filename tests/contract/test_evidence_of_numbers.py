"""Numbers from the payload to the paired verdict, on real Parquet files: which errors count, and what is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from contract.recorded_task import NOON, START, V1, V2, RecordedTask

from capstan.domain.verdicts.evidence import PairedEvidence
from capstan.errors import InvalidRequestError, UnavailableError

DOCUMENT: Mapping[str, Any] = {
    "apiVersion": "capstan.dev/v1alpha1",
    "kind": "MLSystem",
    "metadata": {"name": "minutes"},
    "spec": {
        "objective": {
            "task": "Regression",
            "target": "minutes",
            "losses": {"maximumError": 100, "huberDelta": 10, "quantile": 0.9},
            "value": {"currency": "$", "over": -2, "under": -5},
        },
        "data": {
            "sources": [{"name": "flights", "csv": {"path": "flights.csv"}}],
            "keys": {"id": "id", "time": "at"},
            "label": {"column": "minutes", "availableAt": "known", "maximumDelay": "3d"},
        },
        "features": [{"name": "x", "numeric": {}}],
    },
}


class Minutes(RecordedTask):
    """Numbers of both versions."""

    def __init__(self, root: Path) -> None:
        super().__init__(root, DOCUMENT)

    def answer(self, request: str, champion: float, challenger: float | None) -> None:
        """`challenger` None: it answered with no number."""
        failed: dict[str, object] = {"status": 500, "nonfinite": True} if challenger is None else {}
        self.receive(
            [
                self.event(request, V1, {"value": champion}),
                self.event(request, V2, None if challenger is None else {"value": challenger}, **failed),
            ]
        )

    def label(self, **values: object) -> None:
        self.feedback(
            [
                {"id": f"e-{request}", "label": value, "availableAt": NOON.isoformat()}
                for request, value in values.items()
            ]
        )

    def paired(self, metric: str = "squaredError") -> PairedEvidence:
        return self.pairs(metric)


@pytest.fixture
def minutes(tmp_path: Path) -> Minutes:
    return Minutes(tmp_path)


@pytest.mark.parametrize(
    ("metric", "difference"),
    [
        ("squaredError", (4 - 9) + (400 - 25)),
        ("absoluteError", (2 - 3) + (20 - 5)),
        ("huber", (2 - 4.5) + (150 - 12.5)),
        ("value", (5 * 2 - 2 * 3) + (2 * 20 - 5 * 5)),
        ("quantileLoss", (0.9 * 2 - 0.1 * 3) + (0.1 * 20 - 0.9 * 5)),
    ],
)
def test_versions_are_paired_by_the_loss_that_the_analysis_names(
    minutes: Minutes, metric: str, difference: float
) -> None:
    minutes.answer("a", 28, 33)
    minutes.answer("b", 70, 45)
    minutes.label(a=30, b=50.0)
    (block,) = minutes.paired(metric).blocks
    assert block.count == 2
    assert block.loss_difference == pytest.approx(difference)


def test_one_wild_answer_costs_the_largest_error_that_counts_and_is_told_as_clipped(minutes: Minutes) -> None:
    for request in "abcd":
        minutes.answer(request, 10, 10)
    minutes.answer("wild", 10, 1e9)
    minutes.label(a=10, b=10, c=10, d=10, wild=10)
    found = minutes.paired()
    (block,) = found.blocks
    assert block.loss_difference == -(100.0**2)
    assert found.clipped_share == pytest.approx(0.2)


def test_a_wild_label_costs_both_versions_the_same(minutes: Minutes) -> None:
    minutes.answer("a", 10, 20)
    minutes.label(a=5000)
    found = minutes.paired()
    (block,) = found.blocks
    assert (block.loss_difference, found.clipped_share) == (0.0, 1.0)


def test_answers_disagree_beyond_the_line_between_small_and_large_errors(minutes: Minutes) -> None:
    minutes.answer("a", 10, 20)
    minutes.answer("b", 10, 20.5)
    assert minutes.paired().disagreement == pytest.approx(0.5)


def test_an_answer_that_is_no_number_is_counted_and_never_paired(minutes: Minutes) -> None:
    minutes.answer("a", 10, None)
    minutes.label(a=10)
    found = minutes.paired()
    assert (found.nonfinite_answers, found.paired_requests) == (1, 0)


def test_a_metric_of_windows_gives_no_evidence(minutes: Minutes) -> None:
    with pytest.raises(UnavailableError, match="'rmse' is not a loss of a single prediction"):
        minutes.paired("rmse")


@pytest.mark.parametrize("wrong", ["12", True, None, [1], {"minutes": 1}], ids=str)
def test_a_label_that_is_no_number_is_refused_with_what_to_write(minutes: Minutes, wrong: object) -> None:
    with pytest.raises(InvalidRequestError) as told:
        minutes.label(a=wrong)
    assert "a number" in str(told.value) or wrong is None


@pytest.mark.parametrize("value", [0, -3, 7.25, 1e12])
def test_a_label_comes_back_as_the_number_that_it_was(minutes: Minutes, value: float) -> None:
    minutes.answer("a", 0, 0)
    minutes.label(a=value)
    minutes.intake.flush()
    served = minutes.evidence.answered_with_labels(START, START + timedelta(days=1))
    assert served.labelled.truth.tolist() == [float(value)]
    assert math.isclose(served.predictions["value"][0], 0)
