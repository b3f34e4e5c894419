"""What is printed to ask and to label is what the system takes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from capstan.cli.asking import EXAMPLE_ID, body_of, event_lines, feedback_lines, predict_line
from capstan.recording.events import events_of
from capstan.recording.labels import labels_of
from capstan.spec import MLSystem, load
from capstan.spec.online import OnlineMetric
from capstan.tasks.labels import LABELS

EXAMPLES = Path(__file__).parents[3] / "examples"
URL = "http://127.0.0.1:7480"


def printed(lines: list[str]) -> Any:
    """The body that the last line sends."""
    return json.loads(shlex.split(lines[-1])[-1])


@pytest.fixture
def ranking() -> MLSystem:
    return load(EXAMPLES / "flight-ranking" / "system.yaml")


def test_a_request_of_a_group_has_several_rows_with_ids_of_their_own(ranking: MLSystem) -> None:
    body = printed([predict_line(f"{URL}/predict", body_of(ranking))])
    ids = [row["flight_id"] for row in body["rows"]]
    assert ids[0] == EXAMPLE_ID
    assert len(set(ids)) == len(ids) == 2
    assert {"carrier", "dest"} <= body["rows"][0].keys()


@pytest.mark.parametrize("kind", [kind for kind in LABELS if kind != "Reward"])
def test_the_printed_label_is_one_of_the_task(kind: Any) -> None:
    body = {"rows": [{"id": EXAMPLE_ID, "x": 1}, {"id": "other", "x": 2}]}
    (label,) = labels_of(printed(feedback_lines(URL, "token", body, LABELS[kind]))["labels"], [kind])
    assert label.entity_id == EXAMPLE_ID
    assert label.value is not None


@pytest.mark.parametrize("aggregate", ["Rate", "Sum"])
def test_the_printed_event_is_one_that_the_metric_reads(aggregate: str) -> None:
    metric = {"name": "m", "event": "buy", "aggregate": aggregate, "window": "1d", "better": "Higher"}
    lines = event_lines(URL, "token", [OnlineMetric.model_validate(metric)])
    (event,) = events_of(printed(lines)["events"], ["buy"] if aggregate == "Sum" else [])
    assert (event.event, event.entity_id) == ("buy", EXAMPLE_ID)
    assert event_lines(URL, "token", []) == []


def test_a_row_without_an_id_is_labelled_by_its_request_unless_that_carries_a_group() -> None:
    row = {"rows": 3, "x": 1}
    (label,) = printed(feedback_lines(URL, "token", row, LABELS["Boolean"]))["labels"]
    assert label == {"requestId": "REQUEST_ID", "label": True}
    (told,) = feedback_lines(URL, "token", {"rows": [{"x": 1}]}, LABELS["Relevance"])
    assert "carry their id" in told
