"""A file without a label: which tasks take it, what stands in its place, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from capstan.errors import InvalidSpecError
from capstan.spec import MLSystem
from capstan.spec.loading import parse


def system(objective: dict[str, Any], label: dict[str, Any] | None = None, **parts: Any) -> MLSystem:
    data: dict[str, Any] = {
        "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
        "keys": {"id": "id", "time": "at"},
    }
    spec = {
        "objective": objective,
        "data": data if label is None else {**data, "label": label},
        "features": [{"name": "x", "numeric": {}}],
        **parts,
    }
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "toy"},
        "spec": spec,
    }
    return parse(document, base_dir=Path())


ODD = {"task": "AnomalyDetection", "target": "odd"}


def test_a_task_that_learns_without_labels_is_chosen_and_rolled_out_without_them() -> None:
    spec = system(ODD).spec
    assert not spec.data.has_label
    assert spec.data.label.column == "odd"
    assert [one.key for one in spec.training.candidates] == ["mostFrequent", "isolationForest"]
    assert spec.training.choose.metric == "flaggedShareGap"
    shadow = spec.rollout.steps[0].shadow
    assert shadow is not None
    assert (shadow.min_requests, shadow.min_labels, shadow.analyses) == (500, 0, ())
    assert [step.canary.weight for step in spec.rollout.steps[1:] if step.canary is not None] == [25, 50]


def test_with_a_label_it_is_chosen_and_rolled_out_by_it() -> None:
    spec = system(ODD, {"column": "odd"}).spec
    assert spec.data.has_label
    assert spec.training.choose.metric == "averagePrecision"
    shadow = spec.rollout.steps[0].shadow
    assert shadow is not None
    assert shadow.analyses == ("quality",)
    assert [one.metric for one in spec.rollout.analyses] == ["accuracy"]


def test_a_file_without_a_label_is_written_without_one() -> None:
    written = system(ODD)
    assert "label" not in written.to_yaml()
    again = parse(written.to_yaml(), base_dir=Path())
    assert not again.spec.data.has_label
    assert again == written


def test_the_steps_that_a_file_names_stay() -> None:
    steps = [{"shadow": {"minRequests": 10, "minLabels": 5, "analyses": ["quality"]}}]
    (step,) = system(ODD, rollout={"steps": steps}).spec.rollout.steps
    assert step.shadow is not None
    assert step.shadow.min_labels == 5


BROKEN: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a task that learns from labels": (
        {"task": "BinaryClassification", "target": "late"},
        {},
        r"data: has no label, from which BinaryClassification learns; add `label: \{column: late\}`",
    ),
    "a family that learns from labels": (
        ODD,
        {"training": {"candidates": [{"name": "trees", "gradientBoosting": {}}]}},
        "gradientBoosting: can't learn the labels of AnomalyDetection .*these can: mostFrequent, isolationForest",
    ),
    "clusters by a family that finds unusual rows": (
        {"task": "Clustering", "target": "kind"},
        {"training": {"candidates": [{"name": "forest", "isolationForest": {}}]}},
        "isolationForest: can't learn the labels of Clustering .*these can: mostFrequent, kMeans, custom",
    ),
    "a share to flag beside clusters": (
        {"task": "Clustering", "target": "kind", "flaggedShare": 0.02},
        {},
        "Clustering flags none; drop it",
    ),
    "worths of clusters": (
        {"task": "Clustering", "target": "kind", "value": {"right": 1, "wrong": -1}},
        {},
        "is not for Clustering, where no single answer is worth anything",
    ),
    "worths": (ODD | {"value": {"truePositive": 35, "falsePositive": -5}}, {}, "is not for AnomalyDetection"),
    "losses": (ODD | {"losses": {"maximumError": 5}}, {}, "those of AnomalyDetection are not; drop them"),
    "a share above a half": (ODD | {"flaggedShare": 0.6}, {}, "flaggedShare"),
    "a feature of the target's name": (
        ODD,
        {"features": [{"name": "odd", "numeric": {}}]},
        "is objective.target: the answer itself",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_go_together_is_refused_by_name(case: str) -> None:
    objective, parts, told = BROKEN[case]
    with pytest.raises(InvalidSpecError, match=told):
        system(objective, **parts)


def test_a_detector_is_refused_for_classes_and_so_is_its_share() -> None:
    objective = {"task": "BinaryClassification", "target": "late", "flaggedShare": 0.02}
    forest = {"candidates": [{"name": "forest", "isolationForest": {}}]}
    with pytest.raises(InvalidSpecError) as told:
        system(objective, {"column": "late"}, training=forest)
    assert [one.message.partition(";")[0] for one in told.value.mistakes] == [
        "0.02 is only for tasks that flag rows, and BinaryClassification flags none",
        "can't learn the labels of BinaryClassification (candidate 'forest')",
    ]
