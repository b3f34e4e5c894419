"""The suite of tasks: labels in, scores, predictions, answers and payloads out, and every metric of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import numpy as np
import orjson
import pyarrow as pa

from capstan.errors import InvalidDataError
from capstan.evaluation.metrics import evaluate
from capstan.recording.blocks import accepted, blocks_of
from capstan.recording.outputs import OUTPUT_PREFIX, output_facts, predictions_of
from capstan.recording.payloads import columns_of
from capstan.tasks import Predictions, Task
from capstan.tasks.labels import LABELS
from capstan.testing.conformance import Suite
from capstan.testing.lessons import lesson
from capstan.testing.metrics import check_metric_rules
from capstan.testing.toy_rows import ToyModel, ToyRows


def check_task(task: Task, model: ToyModel | None = None) -> None:
    """Run the task on toy rows of its kind of label; raises NotConformingError with all broken rules.

    `model`: what is fitted to the toy rows; None: a linear model of scikit-learn.
    """
    suite = Suite(task.facts.name)
    _check_facts(suite, task)
    _check_labels(suite, task)
    toy = None
    with suite.rule("a fitted linear model of its labels can be asked"):
        toy = ToyRows.of(task, model or ToyModel(task))
    if toy is not None:
        _check_predictions(suite, task, toy)
        _check_answers(suite, task, toy)
        _check_soundness(suite, task, toy)
        _check_disclosure(suite, task, toy)
        for metric in task.metrics.values():
            check_metric_rules(suite, metric, toy.judged())
    suite.require()


def _check_facts(suite: Suite, task: Task) -> None:
    facts = task.facts
    with suite.rule("its metrics are those of its facts, in their order"):
        assert tuple(task.metrics) == facts.metric_names, f"{tuple(task.metrics)} and {facts.metric_names}"
        for name, metric in task.metrics.items():
            assert metric.facts == facts.metric(name), f"{name} has facts of its own"
    with suite.rule("the metrics that stand where a file names none are its own"):
        facts.metric(facts.chosen_by)
        assert facts.metric(facts.compared_by).is_paired, (
            f"{facts.compared_by} has no loss of its own per request"
        )
    with suite.rule("its label is read as its facts say"):
        assert task.label is LABELS[facts.label]
    with suite.rule("some output's drift is watched"):
        assert any(output.is_watched for output in facts.outputs)


def _check_labels(suite: Suite, task: Task) -> None:
    label = task.label
    truth = label.truth(lesson(task.facts.label).truth)
    values = [value.item() if isinstance(value, np.generic) else value for value in truth[:50]]
    with suite.rule("a label that travels as JSON comes back as it was"):
        back = [label.parse(orjson.loads(orjson.dumps(value))) for value in values]
        assert back == values, f"{back[:3]} and {values[:3]}"
    no_labels: tuple[object, ...] = (None, [], {}, float("nan"))
    for wrong in no_labels:
        with suite.rule(f"{wrong!r} is no label"):
            assert label.parse(wrong) is None
    with suite.rule("labels of a table are those of its cells, whether they are typed or text"):
        for written in (values, [str(value) for value in values]):
            found = _from_table(task, pa.table({"label": pa.array([*written, None])}))
            assert found == [*values, None], f"{found[:3]} and {values[:3]}"
    with suite.rule("labels are counted in words, and those that are all the same are told"):
        assert label.tally(truth).words
        assert not label.tally(truth).is_constant
        assert label.tally(truth[:1]).is_constant
        assert label.tally(truth[:0]).is_constant


def _from_table(task: Task, table: pa.Table) -> list[Any]:
    with duckdb.connect() as connection:
        connection.register("labelled", table)
        described = connection.sql("select label from labelled").types[0]
        sql = task.label.sql("label", str(described.id))
        wrong = connection.sql(f"select {sql.shown} from labelled where {sql.wrong}").fetchall()  # noqa: S608
        assert not wrong, f"{wrong[:3]} are said to be no labels"
        return [row[0] for row in connection.sql(f"select {sql.value} from labelled").fetchall()]  # noqa: S608


def _check_predictions(suite: Suite, task: Task, toy: ToyRows) -> None:
    with suite.rule("the same model says the same of the same rows"):
        assert np.array_equal(task.scores(toy.model, toy.matrix), toy.scores)
    with suite.rule("predictions are named columns, one value per row"):
        assert len(toy.predictions) == len(toy.truth)
        for name, column in toy.predictions.columns.items():
            assert column.shape == (len(toy.truth),), f"{name} has the shape {column.shape}"
            assert output_facts(task, name) is not None, f"{name} is no output of its facts"
    with suite.rule("no rows give no predictions"):
        empty = task.predictions(toy.scores[:0], toy.learnt)
        assert len(empty) == 0
        assert task.outputs(empty) == []
        assert task.unsound(empty).shape == (0,)
    with suite.rule("a baseline looks at no row, and is sound"):
        baseline = task.baseline(toy.train, 7)
        assert len(baseline) == 7
        assert not task.unsound(baseline).any()
        for name, column in baseline.columns.items():
            assert len(set(column.tolist())) == 1, f"{name} differs between rows"
    with suite.rule("a version agrees with itself, and not with its opposite"):
        assert not task.disagree(toy.predictions, toy.predictions, toy.groups).any()
        opposed = task.disagree(toy.predictions, toy.reversed, toy.groups)
        assert opposed.shape == (len(toy.truth),)
        assert opposed.any()
        assert np.array_equal(opposed, task.disagree(toy.reversed, toy.predictions, toy.groups)), (
            "it depends on who is first"
        )


def _check_answers(suite: Suite, task: Task, toy: ToyRows) -> None:
    outputs = task.outputs(toy.predictions)
    with suite.rule("outputs and answers are JSON, one for each row"):
        answers = task.answers(outputs, toy.learnt)
        assert len(outputs) == len(answers) == len(toy.truth)
        assert orjson.loads(orjson.dumps(outputs)) == outputs
        assert orjson.loads(orjson.dumps(answers)) == answers
        assert all(answers), "an answer is empty"
    with suite.rule("a request of one row is answered as one of several"):
        short = task.row_outputs(toy.learnt)
        if short is not None:
            assert [short(score) for score in toy.scores] == outputs
    with suite.rule("tensors have the shapes that they say, and are those of the model's metadata"):
        tensors = task.tensors(outputs, toy.learnt)
        for tensor, described in zip(tensors, task.described(toy.learnt), strict=True):
            assert int(np.prod(tensor.shape)) == len(tensor.data), f"{tensor.name}: {tensor.shape}"
            assert (tensor.name, tensor.datatype) == (described.name, described.datatype)
            assert described.shape == (-1, *tensor.shape[1:]), f"{tensor.name}: {described.shape}"
            orjson.dumps(tensor.document())
    with suite.rule("tensors in a log come back as the outputs that they were"):
        assert task.of_tensors(task.tensors(outputs, toy.learnt)) == outputs
    with suite.rule("stored payloads come back as the predictions that they were"):
        stored = _stored(task, outputs)
        for name, column in toy.predictions.columns.items():
            assert np.array_equal(stored[name], column), f"{name} is another"


def _stored(task: Task, outputs: Sequence[dict[str, Any]]) -> Predictions:
    from datetime import UTC, datetime

    moment = datetime(2026, 1, 1, tzinfo=UTC)
    payloads = [
        {"status": 200, "row": index, "event_time": moment.isoformat(), "outputs": one}
        for index, one in enumerate(outputs)
    ]
    taken = [(accepted(block), moment) for block in blocks_of("toy", "v1", "boot", 1, payloads)]
    table = columns_of(taken, {}, task)
    assert not any(table["nonfinite"].to_pylist()), "sound outputs are stored as unsound"
    names = [name for name in table.column_names if name.startswith(OUTPUT_PREFIX)]
    columns = [table[name].combine_chunks() for name in names]
    short = [name.removeprefix(OUTPUT_PREFIX) for name in names]
    return predictions_of(pa.StructArray.from_arrays(columns, names=short), task)


def _check_soundness(suite: Suite, task: Task, toy: ToyRows) -> None:
    with suite.rule("sound answers are sound"):
        assert not task.unsound(toy.predictions).any()
    for said in (np.nan, np.inf, -np.inf):
        spoilt = toy.scores.copy()
        spoilt[::2] = said
        with suite.rule(f"a score of {said} is unsound, and its neighbours are not"):
            found = task.unsound(task.predictions(spoilt, toy.learnt))
            assert found[::2].all()
            assert not found[1::2].any()
        with suite.rule(f"a request of one row with a score of {said} has no answer"):
            short = task.row_outputs(toy.learnt)
            assert short is None or short(spoilt[0]) is None
        with suite.rule(f"training refuses a model that says {said}"):
            try:
                task.scores(toy.maker.saying(spoilt, toy.model), toy.matrix, rows=len(toy.truth))
            except InvalidDataError:
                pass
            else:
                raise AssertionError("it was taken")
        with suite.rule(f"a window with {said} has no metric"):
            measured = evaluate(task, toy.truth, task.predictions(spoilt, toy.learnt), toy.groups)
            assert all(value != value for value in measured.values())


def _check_disclosure(suite: Suite, task: Task, toy: ToyRows) -> None:
    codes = np.unique(toy.truth, return_inverse=True)[1].reshape(-1).astype(np.int64)
    noise = np.random.default_rng(1).integers(0, 8, len(toy.truth))
    with suite.rule("the label itself gives the label away, and noise does not"):
        # Numbers that are all different fall into bins, as a feature's do.
        rough = codes * 64 // (codes.max() + 1)
        numbers = toy.truth.astype(np.float64) if toy.truth.dtype.kind in "bf" else None
        assert task.disclosed(toy.truth, rough, numbers) > 0.98
        assert task.disclosed(toy.truth, noise, None) < 0.9
