"""The neural network learns by PyTorch and is served by numpy; each setting does what it says."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from pydantic import TypeAdapter
from threadpoolctl import threadpool_limits
from torch.nn import functional
from unit.exporting.fitted_tables import compared, fitted, later_rows

from capstan.errors import InvalidDataError
from capstan.features.rowwise import compile_predict
from capstan.spec.families import CLASSES, Candidate, EarlyStopping, Embed, NeuralNetwork
from capstan.spec.features import Feature
from capstan.spec.tasks import LabelKind
from capstan.tasks import task_with
from capstan.testing import check_family
from capstan.testing.lessons import lesson, loss
from capstan.training.cases import Cases
from capstan.training.families import FAMILIES, fit_model, neural_network
from capstan.training.fitting import fit_candidate
from capstan.training.lesson import Lesson
from capstan.training.networks import learning
from capstan.training.networks.plan import Learnt, Plan, Table

SMALL: dict[str, Any] = {"layers": [8], "epochs": 10, "batchRows": 50, "learningRate": 0.01}
LABELS: tuple[LabelKind, ...] = ("Boolean", "Category", "Number", "Relevance")


def net(given: Lesson, **settings: Any) -> Any:
    candidate = Candidate.model_validate({"name": "net", "neuralNetwork": {**SMALL, **settings}})
    with threadpool_limits(1):
        return fit_model(candidate, {}, given)


def answers(model: Any, given: Lesson) -> Any:
    assert given.validation is not None
    rows = given.validation.matrix
    return model.predict_proba(rows) if given.label in CLASSES else model.predict(rows)


def lost(model: Any, given: Lesson) -> float:
    assert given.validation is not None
    return loss(given.validation, given.label, answers(model, given))


# The suites of all families


@pytest.mark.parametrize(
    "settings",
    [
        NeuralNetwork(layers=(8,), epochs=15, batch_rows=50),
        NeuralNetwork(
            layers=(8,),
            epochs=15,
            batch_rows=50,
            embed=Embed(),
            early_stopping=EarlyStopping(share="20%"),
            schedule="Cosine",
        ),
    ],
    ids=["plain", "embed-and-early-stopping"],
)
def test_the_network_keeps_the_suite_of_families(settings: NeuralNetwork) -> None:
    check_family(FAMILIES[NeuralNetwork], settings)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize("activation", ["ReLU", "ELU", "Tanh", "Sigmoid"])
def test_a_graph_and_one_row_answer_as_a_table_does(label: LabelKind, activation: str) -> None:
    small = {"layers": [6], "epochs": 2, "activation": activation, "embed": {}}
    pipeline, task = fitted("neuralNetwork", label, small), task_with(label)
    rows = later_rows()
    told = compared(pipeline, rows, task)
    assert (told.rows, told.other_labels) == (len(rows), 0)
    table = pa.table({name: pa.array([row.get(name) for row in rows[:200]]) for name in rows[0]})
    predict = compile_predict(pipeline)
    np.testing.assert_allclose(
        [predict(row) for row in rows[:200]], task.scores(pipeline, table), rtol=1e-9, atol=1e-12
    )


def test_a_model_is_loaded_and_answers_without_importing_torch() -> None:
    given = lesson("Boolean")
    model = net(given, embed={})
    code = (
        "import pickle, sys, numpy as np; model = pickle.loads(sys.stdin.buffer.read())\n"
        "print(repr(model.answer_one(np.array([0.5, 40.0, 1.0, 0.0]))[1]))\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(model), capture_output=True, check=True
    )
    assert float(done.stdout) == model.answer_one(np.array([0.5, 40.0, 1.0, 0.0]))[1]


# What is learnt is what PyTorch learns


def plan_of(**changes: Any) -> Plan:
    usual: dict[str, Any] = {"layers": (4,), "activation": "Tanh", "outputs": 1, "numbers": 3, "epochs": 3}
    return Plan(**{**usual, **changes})


def table_of(targets: Any) -> Table:
    numbers = np.random.default_rng(1).normal(size=(len(targets), 3))
    weights = np.random.default_rng(2).uniform(0.5, 1.5, len(targets)).astype(np.float32)
    codes = np.zeros((len(targets), 0), np.int64)
    return Table(numbers.astype(np.float32), codes, targets, weights, numbers[:9], codes[:9])


@pytest.mark.parametrize(
    ("optimizer", "make"),
    [
        ("SGD", lambda these: torch.optim.SGD(these, lr=0.05)),
        ("Momentum", lambda these: torch.optim.SGD(these, lr=0.05, momentum=0.8)),
        ("AdaGrad", lambda these: torch.optim.Adagrad(these, lr=0.05)),
        ("RMSProp", lambda these: torch.optim.RMSprop(these, lr=0.05)),
        ("Adam", lambda these: torch.optim.Adam(these, lr=0.05)),
        ("AdamW", lambda these: torch.optim.AdamW(these, lr=0.05, weight_decay=0)),
    ],
)
def test_each_optimizer_makes_the_steps_of_pytorchs(optimizer: str, make: Any) -> None:
    truth = np.random.default_rng(0).normal(size=40).astype(np.float32)
    table, plan = (
        table_of(truth),
        plan_of(optimizer=optimizer, learning_rate=0.05, momentum=0.8, loss="Squared", batch_rows=40),
    )
    found = learning.learn(plan, table)
    torch.manual_seed(plan.seed)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1))
    steps = make(module.parameters())
    weights = torch.from_numpy(table.weights)
    for _ in range(3):
        steps.zero_grad()
        errors = (module(torch.from_numpy(table.numbers))[:, 0] - torch.from_numpy(truth)) ** 2
        (errors * weights).mean().backward()
        steps.step()
    expected = [one.detach().numpy() for one in module.parameters()]
    np.testing.assert_allclose(found.weights[0].T, expected[0], rtol=2e-4, atol=1e-6)
    np.testing.assert_allclose(found.biases[1], expected[3], rtol=2e-4, atol=1e-6)


def test_losses_are_those_of_pytorch_and_of_the_papers() -> None:
    totals, targets = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 3
    chances = functional.softmax(totals, dim=1)
    own = chances.gather(1, targets[:, None])[:, 0]
    many = plan_of(outputs=3)
    torch.testing.assert_close(
        learning.losses_of(many, totals, targets), functional.cross_entropy(totals, targets, reduction="none")
    )
    torch.testing.assert_close(
        learning.losses_of(replace(many, focus=2.0), totals, targets), -((1 - own) ** 2) * own.log()
    )
    entropy = -(chances * chances.log()).sum(dim=1)
    torch.testing.assert_close(
        learning.losses_of(replace(many, entropy=0.3), totals, targets), -own.log() - 0.3 * entropy
    )
    one, is_so = totals[:, :1], targets == 1
    torch.testing.assert_close(
        learning.losses_of(plan_of(), one, is_so.long()),
        functional.binary_cross_entropy_with_logits(one[:, 0], is_so.float(), reduction="none"),
    )
    number = torch.linspace(-5, 5, 50)
    errors = one[:, 0] - number
    for name, expected in {
        "Squared": errors**2,
        "Absolute": errors.abs(),
        "Huber": torch.where(errors.abs() < 1.35, errors**2 / 2, 1.35 * (errors.abs() - 1.35 / 2)),
    }.items():
        torch.testing.assert_close(learning.losses_of(plan_of(loss=name), one, number), expected)


def rates(schedule: str, epochs: int = 8) -> list[float]:
    plan = plan_of(schedule=schedule, epochs=epochs, learning_rate=1.0)
    steps = learning.optimizer_of(plan, learning.network_of(plan))
    shrinking = learning._schedule(plan, steps)
    found = []
    for _ in range(epochs):
        found.append(steps.param_groups[0]["lr"])
        steps.step()
        shrinking.step()
    return found


def test_steps_shrink_as_the_schedule_says() -> None:
    assert rates("Constant") == [1.0] * 8
    assert rates("Step") == pytest.approx([1.0] * 4 + [0.1] * 2 + [0.01] * 2)
    assert rates("Cosine") == pytest.approx([(1 + np.cos(np.pi * at / 8)) / 2 for at in range(8)])


def test_slopes_are_shortened_to_the_norm() -> None:
    truth = np.random.default_rng(0).normal(size=40).astype(np.float32)
    moved = []
    for norm in (None, 1e-3):
        plan = plan_of(optimizer="SGD", learning_rate=1.0, loss="Squared", clip_norm=norm, epochs=1)
        torch.manual_seed(plan.seed)
        first = learning.network_of(plan).layers[0].weight.detach().numpy()
        found = learning.learn(plan, table_of(truth))
        moved.append(float(np.abs(found.weights[0].T - first).max()))
    assert moved[0] > 1e-2
    assert moved[1] <= 1.01e-3


# Each setting makes a difference of the kind that it says


def test_the_same_seed_gives_the_same_bytes_and_another_one_others() -> None:
    given = lesson("Category")
    settings = {"dropout": "30%", "embed": {}, "device": "CPU"}
    first, second = (pickle.dumps(net(given, **settings)) for _ in range(2))
    state = torch.random.get_rng_state()
    assert first == second
    assert first != pickle.dumps(net(replace(given, seed=1), **settings))
    assert torch.equal(state, torch.random.get_rng_state()), (
        "who fits keeps their own stream of random numbers"
    )


def test_the_newest_rows_say_after_how_many_passes_to_stop() -> None:
    given = lesson("Boolean")
    settings = {"layers": [32], "epochs": 60, "learningRate": 0.05, "batchRows": 20}
    plain = net(given, **settings)
    stopped = net(given, **settings, earlyStopping={"share": "30%", "patience": 3})
    assert lost(stopped, given) < lost(plain, given), "it has learnt by heart"
    same = [answers(net(given, **{**settings, "epochs": epochs}), given) for epochs in range(1, 15)]
    assert any(np.array_equal(one, answers(stopped, given)) for one in same), "learnt from all rows"


def test_dropout_and_penalties_keep_a_network_from_learning_by_heart() -> None:
    given = lesson("Boolean")
    large = {"layers": [64], "epochs": 80, "learningRate": 0.02, "l2": 0}
    plain = net(given, **large)
    for settings in ({"dropout": "50%"}, {"l2": 0.03}, {"l1": 0.003}):
        assert lost(net(given, **{**large, **settings}), given) < 0.95 * lost(plain, given), settings
    sizes = [float(np.abs(net(given, **{**large, "l1": l1}).network.weights[0]).sum()) for l1 in (0, 0.003)]
    assert sizes[1] < 0.3 * sizes[0]


def test_adamw_shrinks_weights_apart_from_the_slopes() -> None:
    given = lesson("Number")
    coupled, decoupled = (
        net(given, optimizer=one, l2=0.5, epochs=5).network.weights[0] for one in ("Adam", "AdamW")
    )
    assert not np.allclose(coupled, decoupled)


def test_the_entropy_penalty_and_the_focal_loss_make_answers_less_sure() -> None:
    given = lesson("Category")
    sure = [
        float(answers(net(given, epochs=30, **settings), given).max(axis=1).mean())
        for settings in ({}, {"entropy": 0.5}, {"focus": 3})
    ]
    assert sure[1] < sure[0] - 0.05
    assert sure[2] < sure[0] - 0.05


def test_rare_classes_weigh_more_in_the_order_of_their_weights() -> None:
    given = lesson("Boolean")
    rare = given.truth & (np.arange(600) % 6 == 0)
    given = replace(given, truth=rare)
    told = [
        float(answers(net(given, epochs=30, **settings), given)[:, 1].mean())
        for settings in (
            {},
            {"classWeights": "EffectiveNumber"},
            {"classWeights": "Balanced"},
        )
    ]
    assert told[0] < told[1] < told[2]


@pytest.mark.parametrize("name", ["Absolute", "Huber"])
def test_wild_labels_matter_less_with_a_loss_of_sizes(name: str) -> None:
    given = lesson("Number")
    wild = given.truth.copy()
    wild[::20] += 500
    given = replace(given, truth=wild)
    settings = {"epochs": 40, "layers": [16]}
    assert lost(net(given, **settings, loss=name), given) < 0.3 * lost(net(given, **settings), given)


def test_a_category_becomes_numbers_that_are_learnt() -> None:
    """Ten categories whose numbers say nothing of their effect, which a code as a number would have to bend to."""
    rng = np.random.default_rng(0)
    effects = rng.permutation(10) * 3.0

    def rows(count: int, seed: int) -> tuple[Any, Any]:
        draw = np.random.default_rng(seed)
        code = draw.integers(0, 10, count)
        return np.column_stack([draw.normal(size=count), code]), effects[code] + draw.normal(0, 0.1, count)

    matrix, truth = rows(800, 1)
    given = Lesson(matrix, truth, label="Number", categorical=np.array([False, True]))
    later, expected = rows(400, 2)
    settings = {"layers": [8], "epochs": 40, "learningRate": 0.02}
    errors = [
        float(((net(given, **settings, **more).predict(later) - expected) ** 2).mean())
        for more in ({}, {"embed": {"dimensions": 3}})
    ]
    assert errors[1] < 0.1 * errors[0]
    model = net(given, **settings, embed={})
    assert model.network.tables[0].shape == (11, 6), (
        "of ten codes 1.6 * 10^0.56 numbers, and a line for others"
    )
    rows_of = np.bincount(matrix[:, 1].astype(int))
    np.testing.assert_allclose(model.network.tables[0][10], rows_of @ model.network.tables[0][:10] / 800)


def test_categories_beyond_what_trees_can_split_are_embedded_too() -> None:
    draw = np.random.default_rng(0)
    code = draw.integers(0, 400, 4000)
    table = pa.table({"kind": [f"k{one}" for one in code], "x": draw.normal(size=4000)})
    features = TypeAdapter(list[Feature]).validate_python(
        [{"name": "kind", "categorical": {"encode": "Integer"}}, {"name": "x", "numeric": {}}]
    )
    candidate = Candidate.model_validate(
        {"name": "net", "neuralNetwork": {**SMALL, "epochs": 1, "embed": {}}}
    )
    cases = Cases(task_with("Number"), table, draw.normal(size=400)[code])
    network = fit_candidate(candidate, features, cases, seed=0).pipeline.steps[1][1].network
    assert len(network.tables[0]) == 401
    assert network.columns.tolist() == [1]


def test_embed_without_a_code_is_refused_with_the_way_out() -> None:
    given = replace(lesson("Boolean"), categorical=None)
    with pytest.raises(InvalidDataError, match=r"neuralNetwork.embed: no feature is a code .* or drop embed"):
        net(given, embed={})


def test_weights_that_grow_beyond_all_numbers_are_told_with_the_way_out() -> None:
    with pytest.raises(InvalidDataError, match="learningRate 10; lower learningRate, or write clipNorm: 1"):
        net(lesson("Number"), optimizer="SGD", learningRate=10, layers=[64, 64])


def test_what_would_be_served_must_be_what_pytorch_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def learn(plan: Plan, table: Table, **given: Any) -> Learnt:
        found = learning.learn(plan, table, **given)
        return replace(found, said=found.said + 1e-6 * np.abs(found.said).max())

    monkeypatch.setattr(neural_network, "learn", learn)
    with pytest.raises(InvalidDataError, match=r"lies up to \S+ from what PyTorch says of 600 training rows"):
        net(lesson("Boolean"))
