"""Class names become names of columns in Parquet files and come back from them, whatever they are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sent_payloads import judged, taken

from capstan.recording.blocks import Rows
from capstan.recording.outputs import predictions_of
from capstan.recording.payloads import columns_of
from capstan.recording.reading import PayloadReader
from capstan.recording.segments import MERGE_AT, merge_small, payload_files, payload_segment, write_segment
from capstan.tasks import TASKS, Learnt

TASK = TASKS["MulticlassClassification"]
MOMENT = datetime(2026, 3, 1, 12, tzinfo=UTC)
names = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="".join(map(chr, [*range(32), 127]))),
    min_size=1,
    max_size=12,
) | st.sampled_from(
    ["a.b", "probability.x", "label", "1", "1.0", "true", "null", "é'\"%", " ", "x y", "a" * 180]
)
classes = st.lists(names, min_size=2, max_size=5, unique_by=lambda name: name.encode().lower()).map(
    lambda found: tuple(sorted(found))
)


def event(outputs: dict[str, object], sequence: int, version: str, inputs: dict[str, object] = {}) -> Rows:  # noqa: B006
    """As a model service sends it and the collector takes it."""
    sent = {
        "id": f"boot-{sequence}",
        "source": f"/capstan/bands/{version}",
        "data": {
            "request_id": f"r{sequence}", "role": "champion", "attempt": 1, "row": 0,
            "event_time": MOMENT.isoformat(), "entity_id": None, "status": 200, "latency_seconds": 0.001,
            "nonfinite": False, "outputs": outputs, "inputs": inputs,
        },
    }  # fmt: skip
    (found,) = judged(sent)
    assert not found.refused, found
    return taken(sent)[0]


def read_back(folder: Path) -> pa.Table:
    reader = PayloadReader(folder)
    try:
        return reader.fetch(
            "select version, nonfinite, outputs from stored_payloads order by boot, sequence",
            start=MOMENT,
            end=MOMENT + timedelta(days=1),
        )
    finally:
        reader.close()


@settings(max_examples=40, deadline=None)
@given(first=classes, second=classes)
def test_two_versions_of_any_classes_share_a_store(
    tmp_path_factory: pytest.TempPathFactory, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    folder = tmp_path_factory.mktemp("store")
    wanted = {}
    for number, (version, learnt) in enumerate((("v1", first), ("v2", second))):
        scores = np.random.default_rng(number).dirichlet(np.ones(len(learnt)), 1)
        (outputs,) = TASK.outputs(TASK.predictions(scores, Learnt(learnt)))
        wanted[version] = (learnt, scores[0])
        table = columns_of([(event(outputs, number, version), MOMENT)], {}, TASK)
        assert not table["nonfinite"][0].as_py()
        write_segment(payload_segment(folder / "payloads", MOMENT.date(), number), table)
    assert len(payload_files(folder / "payloads", MOMENT, MOMENT + timedelta(hours=1))) == 2
    table = read_back(folder)
    found = predictions_of(table["outputs"], TASK)
    assert not TASK.unsound(found).any()
    for row, version in enumerate(table["version"].to_pylist()):
        learnt, scores = wanted[version]
        assert found["label"][row] == learnt[int(scores.argmax())]
        for name, probability in zip(learnt, scores, strict=True):
            chance = np.exp(-TASK.metrics["logLoss"].losses(np.array([name] * 2), found))[row]  # type: ignore[misc]
            assert chance == pytest.approx(np.clip(probability, 0.001, 0.999))


@pytest.mark.parametrize("place", ["one segment", "two segments", "merged segments"])
def test_capitals_that_only_two_versions_tell_apart_lose_no_probability(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "payloads"
    payloads = []
    for number, learnt in enumerate((("Late", "x"), ("late", "x"))):
        (outputs,) = TASK.outputs(TASK.predictions(np.array([[0.7, 0.3]]), Learnt(learnt)))
        payloads.append((event(outputs, number, f"v{number + 1}"), MOMENT))
    parts = [payloads] if place == "one segment" else [[one] for one in payloads]
    if place == "merged segments":
        parts += [[(event({}, number, "v3"), MOMENT)] for number in range(2, MERGE_AT)]
    for number, part in enumerate(parts):
        write_segment(payload_segment(folder, MOMENT.date(), number), columns_of(part, {}, TASK))
    merge_small(folder / f"day={MOMENT.date()}")
    assert len(payload_files(folder, MOMENT, MOMENT)) == (2 if place == "two segments" else 1)
    found = predictions_of(read_back(tmp_path).slice(0, 2)["outputs"], TASK)
    losses = TASK.metrics["logLoss"].losses(np.array(["Late", "late"]), found)  # type: ignore[misc]
    assert losses.tolist() == [pytest.approx(-np.log(0.7))] * 2
    assert found["label"].tolist() == ["Late", "late"]


@pytest.mark.parametrize("place", ["one segment", "two segments", "merged segments"])
def test_inputs_that_only_capitals_tell_apart_hide_no_value(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "payloads"
    rows = [{"temp": 1.0}, {"TEMP": 2.0}, {"temp": 3.0, "TEMP": "of nobody"}]
    rows += [{}] * (MERGE_AT - len(rows))
    payloads = []
    for number, inputs in enumerate(rows):
        payloads.append((event({}, number, "v1", inputs), MOMENT))
    cuts = {"one segment": [payloads], "two segments": [payloads[:1], payloads[1:]]}
    for number, part in enumerate(cuts.get(place, [[one] for one in payloads])):
        table = columns_of(part, {"temp": "numeric"}, TASK)
        write_segment(payload_segment(folder, MOMENT.date(), number), table)
    merge_small(folder / f"day={MOMENT.date()}")
    reader = PayloadReader(tmp_path)
    query = 'select "input.temp" as temp from stored_payloads order by sequence'
    found = reader.fetch(query, start=MOMENT, end=MOMENT + timedelta(days=1), inputs=["temp"])
    reader.close()
    assert found["temp"].to_pylist()[:4] == [1.0, 2.0, 3.0, None]
