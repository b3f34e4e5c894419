# ruff: noqa: E501 - tables of cases are read line by line
"""A file may leave its keys out; what needs times or ids is refused where it stands, with the way out."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from capstan.errors import InvalidSpecError
from capstan.spec import MLSystem, parse

DOCUMENT: dict[str, Any] = {
    "apiVersion": "capstan.dev/v1alpha1",
    "kind": "MLSystem",
    "metadata": {"name": "cells"},
    "spec": {
        "objective": {"task": "BinaryClassification", "target": "malignant"},
        "data": {
            "sources": [{"name": "cells", "csv": {"path": "cells.csv"}}],
            "label": {"column": "malignant"},
        },
        "features": [{"name": "radius", "numeric": {}}],
    },
}


def system(**parts: Any) -> MLSystem:
    """The file with these parts below `spec`, `__` for a dot."""
    document = copy.deepcopy(DOCUMENT)
    for path, value in parts.items():
        *above, last = path.split("__")
        node = document["spec"]
        for part in above:
            node = node.setdefault(part, {})
        node[last] = value
    return parse(document, base_dir=Path())


def test_a_file_without_keys_is_parted_by_classes_and_judged_in_blocks_of_requests() -> None:
    spec = system().spec
    assert spec.drawn_split[0] == "stratified"
    assert {analysis.blocks for analysis in spec.rollout.analyses} == {"Requests"}
    assert spec.requests_per_block == spec.rollout.block_requests


def test_numbers_are_parted_at_random() -> None:
    spec = system(objective={"task": "Regression", "target": "malignant", "losses": {"maximumError": 9}}).spec
    assert spec.drawn_split[0] == "random"


def test_a_file_with_times_keeps_its_days() -> None:
    spec = system(data__keys={"time": "seen"}).spec
    assert spec.requests_per_block is None


REFUSED = {
    "labels that are dated alone": ({"data__label": {"column": "malignant", "availableAt": "known"}}, "data.label.availableAt", "drop it"),
    "a split by time": ({"data__split": {"byTime": {"test": "3d"}}}, "data.split.byTime", "write random, stratified or group"),
    "two splits": ({"data__split": {"random": {}, "stratified": {}}}, "data.split", "keep one"),
    "a draw and groups": ({"data__split": {"random": {}, "group": {"by": "owner"}}}, "data.split", "keep one"),
    "groups of rows that have times": ({"data__keys": {"time": "seen"}, "data__split": {"group": {"by": "owner"}}}, "data.split.group", "write byTime"),
    "groups by the label": ({"data__split": {"group": {"by": "malignant"}}}, "data.split.group.by", "known only with the label"),
    "one fold": ({"training": {"choose": {"folds": 1}}}, "training.choose.folds", "2"),
    "a draw of rows that have times": ({"data__keys": {"time": "seen"}, "data__split": {"random": {}}}, "data.split.random", "write byTime"),
    "classes of numbers": ({"objective": {"task": "Regression", "target": "malignant", "losses": {"maximumError": 9}}, "data__split": {"stratified": {}}}, "data.split.stratified", "write random"),
    "shares that leave nothing": ({"data__split": {"random": {"validation": "50%", "test": "50%"}}}, "data.split.random", "make them smaller"),
    "a window of time": ({"training": {"window": {"type": "Sliding", "duration": "90d"}}}, "training.window.duration", "drop it"),
    "a replay without times": ({"replay": {"start": "2024-01-01", "end": "2024-02-01"}}, "replay", "drop replay"),
    "a replay without ids": ({"data__keys": {"time": "seen"}, "replay": {"start": "2024-01-01", "end": "2024-02-01"}}, "replay", "name the column in data.keys.id"),
    "a gate against the champion": ({"evaluation": {"gates": [{"metric": "rocAuc"}]}}, "evaluation.gates[0].against", "against: Baseline"),
    "analyses of two kinds of blocks": ({"rollout": {"analyses": [{"name": "quality"}, {"name": "more", "blocks": "Day"}]}}, "rollout.analyses[1].blocks", "write the same for all"),
}  # fmt: skip


@pytest.mark.parametrize(("parts", "path", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_needs_times_or_ids_is_refused_with_the_way_out(
    parts: dict[str, Any], path: str, words: str
) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        system(**parts)
    told = {mistake.path: mistake.message for mistake in refused.value.mistakes}
    assert path in told, told
    assert words in told[path]
