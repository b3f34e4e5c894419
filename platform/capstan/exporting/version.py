"""A registered version as one ONNX graph, and the proof that it answers as the model service does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.exporting.columns import Input, inputs_of, write_transform
from capstan.exporting.graph import Graph
from capstan.exporting.models import write_model
from capstan.features import FeatureTransform
from capstan.features.columns import Floats
from capstan.features.foreign.onnx import session_of
from capstan.features.several_models import parts_of
from capstan.serving.manifest import Manifest
from capstan.tasks import Learnt, Task

FLAGGED = "flagged"
"""The part of an answer that says whether its score is above the threshold."""
CLUSTER = "cluster"
"""The part of an answer that names the nearest centre."""
DISTANCES = "distances"
"""What the parts of such an answer follow from: the distances to all centres."""
SAME = 1e-9
"""How far an answer may be from the version's, as a share of its own size, or of that of most answers."""
_MOST = 0.9
_KINDS: Mapping[str, Any] = {"BOOL": "truth", "BYTES": "text", "INT64": "whole", "FP64": "number"}


@dataclass(frozen=True)
class ExportedGraph:
    """The file, and what is known about it."""

    content: bytes
    inputs: tuple[Input, ...]
    outputs: Mapping[str, str]
    """Part of an answer -> the output that holds it, in the order of the file."""


@dataclass(frozen=True)
class Compared:
    """What came of asking the graph and the version the same rows."""

    rows: int
    difference: float
    """The largest of a number or a probability."""
    other_labels: int
    """Rows whose label is another, because they lie on the border between two: by less than a rounding error."""


def export_graph(
    pipeline: Any, manifest: Manifest, task: Task, facts: Mapping[str, str], words: str
) -> ExportedGraph:
    """The fitted pipeline as a graph; `facts` are told in its metadata, beside what its columns are.

    Raises MissingExtraError, and InvalidDataError for what can't be written, by its name.
    """
    graph = Graph()
    transform, model = _steps(pipeline)
    inputs = inputs_of(transform)
    said = write_model(graph, model, write_transform(graph, transform, inputs))
    outputs = _write_answers(graph, said, task, manifest.learnt)
    told = {
        "capstan.task": manifest.task,
        "capstan.target": manifest.target,
        "capstan.columns": json.dumps([one.document() for one in inputs]),
        "capstan.outputs": json.dumps(outputs),
    }
    if manifest.learnt.classes:
        told["capstan.classes"] = json.dumps(manifest.learnt.classes)
    if FLAGGED in outputs or ("label" in outputs and len(manifest.learnt.classes) == 2):
        told["capstan.threshold"] = repr(manifest.learnt.threshold)
    content = graph.model(manifest.system, words, {**facts, **told})
    return ExportedGraph(content, tuple(inputs), outputs)


def compare_graph(
    exported: ExportedGraph,
    rows: Sequence[Mapping[str, object]],
    expected: Floats,
    task: Task,
    learnt: Learnt,
) -> Compared:
    """Ask the graph the rows to which the version has said `expected`.

    Raises InvalidDataError that names the row where it says something else.
    """
    session = session_of(exported.content)
    names = list(exported.outputs.values())
    asked = {one.name: one.values(rows) for one in exported.inputs}
    answers = dict(zip(exported.outputs, session.run(names, asked), strict=True))
    first = next(iter(exported.outputs))
    found = np.asarray(answers[first], dtype=np.float64)
    differences = _differences(found, expected)
    if (strange := np.flatnonzero(~(differences <= SAME * _sizes(expected)))).size:
        at = int(strange[0])
        raise InvalidDataError(
            f"the exported graph says {found[at].tolist()} where the version says {expected[at].tolist()}, of "
            f"{dict(rows[at])}; {len(strange):,} of {len(rows):,} example rows differ by more than {SAME:g} of the "
            "answers' size, so nothing was written. Report it with the version's family; Capstan itself can serve it"
        )
    other = 0
    if "label" in answers:
        other = _other_labels(answers["label"], found, expected, task, learnt)
    if CLUSTER in answers:
        other = _other_clusters(answers, found, expected, task, learnt)
    if FLAGGED in answers:
        own, theirs = (np.asarray(task.predictions(scores, learnt)[FLAGGED]) for scores in (found, expected))
        if (np.asarray(answers[FLAGGED]) != own).any():
            raise InvalidDataError(
                "the exported graph's flags do not follow from its scores; nothing was written"
            )
        other = int((own != theirs).sum())
    return Compared(len(rows), float(np.max(differences, initial=0.0)), other)


def _steps(pipeline: Any) -> tuple[FeatureTransform, Any]:
    if (parts := parts_of(pipeline)) is not None:
        raise InvalidDataError(
            f"a system of several models can't be exported to ONNX, and this one has {', '.join(parts)}; only one "
            "model behind one transform can"
        )
    steps = getattr(pipeline, "steps", None)
    if steps is None or len(steps) != 2 or not isinstance(steps[0][1], FeatureTransform):
        name = type(getattr(pipeline, "model", pipeline)).__name__
        raise InvalidDataError(
            f"a model that was handed over ({name}) can't be exported to ONNX: Capstan did not train it and has no "
            "transform of it. Export it by the library that it was fitted with"
        )
    return steps[0][1], steps[1][1]


def _write_answers(graph: Graph, said: str, task: Task, learnt: Learnt) -> dict[str, str]:
    """Part of an answer -> output, for each part that a row has by itself: a rank needs the others of its group."""
    tensors = {one.name: one for one in task.described(learnt)}
    first = next(iter(tensors.values()))
    if CLUSTER in tensors:
        return _write_clusters(graph, said, tuple(tensors), learnt)
    if len(first.shape) == 2:
        # The classes stand in the order of the probabilities.
        classes = graph.constant(np.array([str(one) for one in learnt.classes]))
        best = graph.op("ArgMax", said, axis=1, keepdims=0)
        label = graph.op("Gather", classes, best, axis=0)
        named = graph.output(first.name, said, "number", width=len(learnt.classes))
        return {first.name: named, "label": graph.output("label", label, "text")}
    if FLAGGED in tensors:
        score = graph.flat(said)
        flagged = graph.op("Greater", score, graph.constant(learnt.threshold))
        return {
            first.name: graph.output(first.name, score, "number"),
            FLAGGED: graph.output(FLAGGED, flagged, _KINDS[tensors[FLAGGED].datatype]),
        }
    if "label" not in tensors:
        return {first.name: graph.output(first.name, graph.flat(said), "number")}
    chance = graph.flat(graph.column(said, 1))
    is_so = graph.op("GreaterOrEqual", chance, graph.constant(learnt.threshold))
    kind = tensors["label"].datatype
    if learnt.classes != (False, True):
        words = [str(one) if kind == "BYTES" else one for one in learnt.classes]
        negative, positive = (graph.constant(np.array(one)) for one in words)
        is_so = graph.op("Where", is_so, positive, negative)
    return {
        first.name: graph.output(first.name, chance, "number"),
        "label": graph.output("label", is_so, _KINDS[kind]),
    }


def _write_clusters(graph: Graph, said: str, parts: Sequence[str], learnt: Learnt) -> dict[str, str]:
    """The distances to all centres, and the parts of an answer, which follow from them.

    `parts`: of an answer: the cluster, the distance to its centre, and how much nearer that is than the next one.
    """
    names = graph.constant(np.array([str(one) for one in learnt.classes]))
    place = graph.op("ArgMin", said, axis=1, keepdims=0)
    cluster = graph.op("Gather", names, place, axis=0)
    nearest = graph.op("ReduceMin", said, graph.constant(np.array([1])), keepdims=0)
    following = nearest
    if len(learnt.classes) > 1:
        places = graph.constant(np.arange(len(learnt.classes)).reshape(1, -1))
        own = graph.op("Equal", graph.op("Unsqueeze", place, graph.constant(np.array([1]))), places)
        others = graph.op("Where", own, graph.constant(np.inf), said)
        following = graph.op("ReduceMin", others, graph.constant(np.array([1])), keepdims=0)
    zero = graph.constant(0.0)
    share = graph.op("Div", graph.op("Sub", following, nearest), following)
    clear = graph.op("Where", graph.op("Equal", following, zero), zero, share)
    name, *numbers = parts
    return {
        DISTANCES: graph.output(DISTANCES, said, "number", width=len(learnt.classes)),
        name: graph.output(name, cluster, "text"),
        **{
            part: graph.output(part, tensor, "number")
            for part, tensor in zip(numbers, (nearest, clear), strict=True)
        },
    }


def _other_clusters(
    answers: Mapping[str, Any], found: Floats, expected: Floats, task: Task, learnt: Learnt
) -> int:
    """Raises InvalidDataError where clusters do not follow from the graph's own distances."""
    own, theirs = (task.predictions(scores, learnt) for scores in (found, expected))
    # No user gets an answer of a distance that is no number.
    sound = ~task.unsound(own)
    follows = np.asarray(answers[CLUSTER]).astype(str)[sound] == own[CLUSTER][sound]
    for name in answers.keys() - {CLUSTER, DISTANCES}:
        follows &= np.isclose(np.asarray(answers[name])[sound], own[name][sound], rtol=SAME, atol=SAME)
    if not follows.all():
        raise InvalidDataError(
            "the exported graph's clusters do not follow from its distances; nothing was written"
        )
    return int((own[CLUSTER][sound] != theirs[CLUSTER][sound]).sum())


def _differences(found: Floats, expected: Floats) -> Floats:
    """(rows,): the largest of each row; NaN where one of both alone is no number."""
    with np.errstate(invalid="ignore"):
        apart = np.abs(found - expected)
    same = (found == expected) | (np.isnan(found) & np.isnan(expected))
    apart = np.where(same, 0.0, apart).reshape(len(expected), -1)
    return np.asarray(apart.max(axis=1, initial=0.0), dtype=np.float64)


def _sizes(expected: Floats) -> Floats:
    """(rows,): what a difference of each row is measured by."""
    sizes = (
        np.where(np.isfinite(expected), np.abs(expected), 0.0)
        .reshape(len(expected), -1)
        .max(axis=1, initial=0.0)
    )
    return np.asarray(np.maximum(sizes, np.quantile(sizes, _MOST)), dtype=np.float64)


def _other_labels(labels: Any, found: Floats, expected: Floats, task: Task, learnt: Learnt) -> int:
    """Raises InvalidDataError where labels do not follow from the graph's own numbers."""
    own, theirs = (_labels(scores, task, learnt) for scores in (found, expected))
    if [str(one) for one in labels] != own:
        raise InvalidDataError(
            "the exported graph's labels do not follow from its probabilities; nothing was written"
        )
    return sum(one != other for one, other in zip(own, theirs, strict=True))


def _labels(scores: Floats, task: Task, learnt: Learnt) -> list[str]:
    answers = task.answers(task.outputs(task.predictions(scores, learnt)), learnt)
    return [str(one["label"]) for one in answers]
