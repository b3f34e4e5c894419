"""What of the neural network needs no PyTorch: what is served of it, its graph, the words where PyTorch is missing."""

from __future__ import annotations

import importlib.util
import itertools
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unit.exporting.fitted_tables import compared, fitted, later_rows

from capstan.errors import MissingExtraError
from capstan.spec.families import Candidate, NeuralNetwork
from capstan.spec.tasks import LabelKind
from capstan.tasks import task_with
from capstan.testing.lessons import lesson
from capstan.training.families import FAMILIES, fit_model
from capstan.training.fitted.network import ACTIVATIONS, Network, NetworkOfClasses, NetworkOfNumbers
from capstan.training.networks.plan import Learnt, Plan, Table, read_plan, write_plan


def network(columns: int, *, outputs: int = 1, activation: str = "ELU") -> Network:
    """Of any weights; the columns 1 and 3 are codes."""
    rng = np.random.default_rng(0)
    plain = np.array([at for at in range(columns) if at not in (1, 3)])
    sizes = [len(plain) + 2 + 3, 7, 4, outputs]
    return Network(
        plain,
        rng.normal(size=len(plain)),
        rng.uniform(0.5, 2, len(plain)),
        np.array([1, 3]),
        [rng.normal(size=(5, 2)), rng.normal(size=(4, 3))],
        [rng.normal(size=pair) for pair in itertools.pairwise(sizes)],
        [rng.normal(size=units) for units in sizes[1:]],
        activation,
    )


def test_a_network_answers_by_the_sums_of_its_layers() -> None:
    net = network(5, activation="Tanh")
    row = np.array([0.5, 2.0, -1.0, 9.0, 3.0])
    inputs = np.concatenate([(row[[0, 2, 4]] - net.center) / net.spread, net.tables[0][2], net.tables[1][-1]])
    hidden = np.tanh(np.tanh(inputs @ net.weights[0] + net.biases[0]) @ net.weights[1] + net.biases[1])
    expected = hidden @ net.weights[2] + net.biases[2]
    assert NetworkOfNumbers(net).predict(row.reshape(1, -1)) == pytest.approx(expected, rel=1e-12)
    assert NetworkOfNumbers(net).answer_one(row) == pytest.approx(expected[0], rel=1e-12)


def test_a_code_that_training_did_not_see_has_the_last_line_and_no_row_is_out_of_this_world() -> None:
    model = NetworkOfClasses(np.array([False, True]), network(5))
    row = np.array([0.5, 2.0, -1.0, 1.0, 3.0])
    unseen = []
    for code in (4.0, -1.0, 99.0, 1e300, np.nan):
        row[1] = code
        unseen.append(model.answer_one(row))
    assert all(one == unseen[0] for one in unseen)
    assert np.isfinite(model.predict_proba(np.array([[1e300, 1, -1e300, 1, np.inf]]))).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("label", ["Boolean", "Category", "Number"])
def test_a_graph_answers_as_the_service_does(label: LabelKind, activation: str) -> None:
    pipeline = fitted("mostFrequent", label)
    columns, classes = pipeline.steps[0][1].n_features_out_, getattr(pipeline.steps[1][1], "classes_", None)
    net = network(columns, outputs=3 if label == "Category" else 1, activation=activation)
    model: Any = NetworkOfNumbers(net) if classes is None else NetworkOfClasses(classes, net)
    pipeline.steps[1] = ("model", model)
    told = compared(pipeline, later_rows(), task_with(label))
    assert told.other_labels == 0
    assert told.difference < 1e-9


def test_what_a_row_needs_is_loaded_without_the_grammar_and_without_what_fits() -> None:
    model = NetworkOfClasses(np.array([False, True]), network(5))
    code = (
        "import pickle, sys, numpy as np; model = pickle.loads(sys.stdin.buffer.read()); "
        "print(model.answer_one(np.array([0.5, 1.0, 1.0, 0.0, 2.0]))[1]); "
        "heavy = {'pydantic', 'torch', 'capstan.spec', 'capstan.training.networks'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(model), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert float(done.stdout) == model.answer_one(np.array([0.5, 1.0, 1.0, 0.0, 2.0]))[1]


def test_without_the_extra_a_network_is_not_fitted_and_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    net = Candidate.model_validate({"name": "net", "neuralNetwork": {}})
    with pytest.raises(
        MissingExtraError, match=r"neuralNetwork needs the extra 'deep': pip install 'capstan-mlops\[deep\]'"
    ):
        fit_model(net, {}, lesson("Boolean"))


def test_only_the_network_needs_an_extra() -> None:
    assert [one for one in FAMILIES if one.extra] == [NeuralNetwork]
    assert importlib.util.find_spec("capstan.training.networks.learning") is not None


# What other processes read


def test_what_other_processes_read_is_what_was_written(tmp_path: Path) -> None:
    plan = Plan(layers=(3, 2), activation="ELU", outputs=1, numbers=2, embedded=((4, 2),), clip_norm=0.5)
    write_plan(plan, tmp_path)
    assert read_plan(tmp_path) == plan
    rows = np.arange(6.0).reshape(3, 2)
    table = Table(
        rows.astype(np.float32), np.zeros((3, 1), np.int64), np.ones(3), np.ones(3, np.float32), rows, rows
    )
    table.write(tmp_path)
    assert all(np.array_equal(one, vars(table)[name]) for name, one in vars(Table.read(tmp_path)).items())
    learnt = Learnt([rows, 2 * rows], [rows] * 12, [rows[0]] * 12, rows, rows[0])
    learnt.write(tmp_path)
    read = Learnt.read(tmp_path)
    assert (len(read.tables), len(read.weights), len(read.biases)) == (2, 12, 12)
    assert np.array_equal(read.tables[1], 2 * rows)
