"""Fitted models as operations: one function for each saved form. A new family has a function here, or is refused.

What a function gives is (rows, 1), the number, (rows, classes), the probabilities in the order of `classes_`, or
(rows, clusters), the distances to the centres.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.exporting.columns import Block, Matrix
from capstan.exporting.graph import Graph
from capstan.exporting.trees import write_boosted, write_forest, write_isolation
from capstan.training.fitted.anomalies import usual_lengths

Write = Callable[[Graph, Any, Matrix], str]
NOT_WRITTEN: Mapping[str, str] = {
    "nearestNeighbors": "its answer looks through training rows, and of rows that are equally far each program takes "
    "others",
    "localOutlierFactor": "its answer looks through training rows",
}
"""Family that has no graph -> why."""
_FAMILY_OF = {
    "NeighborsOfNumbers": "nearestNeighbors",
    "NeighborsOfClasses": "nearestNeighbors",
    "Emptiness": "localOutlierFactor",
}
_FARTHEST = 1e6
"""Deviations beyond which factorization machines, support vector machines and networks take all values for equal."""


def write_model(graph: Graph, model: Any, matrix: Matrix) -> str:
    """Its answers; raises InvalidDataError for a form that has no graph, and names its family and what can."""
    kind, module = type(model).__name__, type(model).__module__
    room = "capstan" if module.startswith("capstan.training.fitted.") else module.partition(".")[0]
    write = _FORMS.get((room, kind))
    if write is None or not _is_plain(model):
        raise InvalidDataError(_refusal(model))
    return write(graph, model, matrix)


def _is_plain(model: Any) -> bool:
    """Whether trees of a person's own answer their total itself."""
    if type(model).__name__ != "HistGradientBoostingRegressor":
        return True
    return type(model._loss.link).__name__ == "IdentityLink"


def _refusal(model: Any) -> str:
    from capstan.spec.families import Candidate

    kind = type(model).__name__
    able = [one for one in Candidate.families() if one not in NOT_WRITTEN and one != "custom"]
    can = f"These families can: {', '.join(able)}, and custom where its model is one of those of scikit-learn"
    if (family := _FAMILY_OF.get(kind)) is not None:
        return f"{family} can't be exported to ONNX: {NOT_WRITTEN[family]}. {can}"
    return f"custom can't be exported to ONNX with a fitted {kind}, of {type(model).__module__}. {can}"


# -- linear models and baselines


def _line(graph: Graph, model: Any, matrix: Matrix) -> str:
    return _weighted(graph, matrix.tensor, np.atleast_2d(model.coef_).T, np.ravel(model.intercept_))


def _logistic_line(graph: Graph, model: Any, matrix: Matrix) -> str:
    return _chances(graph, _line(graph, model, matrix), np.atleast_2d(model.coef_).shape[0])


def _shares(graph: Graph, model: Any, matrix: Matrix) -> str:
    _require(model, model.strategy == "prior")
    return _always(graph, np.asarray(model.class_prior_), matrix)


def _constant(graph: Graph, model: Any, matrix: Matrix) -> str:
    return _always(graph, np.ravel(model.constant_), matrix)


def _always(graph: Graph, answer: Any, matrix: Matrix) -> str:
    rows = graph.op("Shape", matrix.tensor, start=0, end=1)
    shape = graph.op("Concat", rows, graph.constant(np.array([len(answer)])), axis=0)
    return graph.op("Expand", graph.constant(answer.reshape(1, -1)), shape)


# -- trees


def _boosted_number(graph: Graph, model: Any, matrix: Matrix) -> str:
    return write_boosted(graph, model, matrix)


def _boosted_classes(graph: Graph, model: Any, matrix: Matrix) -> str:
    return _chances(graph, write_boosted(graph, model, matrix), np.ravel(model._baseline_prediction).size)


def _forest(graph: Graph, model: Any, matrix: Matrix) -> str:
    return write_forest(graph, model.model, matrix)


def _isolation(graph: Graph, model: Any, matrix: Matrix) -> str:
    trees, whole = usual_lengths(model.model)
    return write_isolation(graph, trees, whole, matrix)


def _nothing_unusual(graph: Graph, model: Any, matrix: Matrix) -> str:  # noqa: ARG001 — whatever was learnt
    return _always(graph, np.zeros(1), matrix)


# -- clusters


def _one_cluster(graph: Graph, model: Any, matrix: Matrix) -> str:  # noqa: ARG001 — whatever was learnt
    return _always(graph, np.zeros(1), matrix)


def _distances(graph: Graph, model: Any, matrix: Matrix) -> str:
    centred = graph.op("Sub", matrix.tensor, graph.constant(model.center.reshape(1, -1)))
    scaled = graph.op("Div", centred, graph.constant(model.spread.reshape(1, -1)))
    each = graph.op("Unsqueeze", scaled, graph.constant(np.array([1])))
    apart = graph.op("Sub", each, _block(graph, model.centres))
    return graph.op("Sqrt", graph.sum(graph.op("Mul", apart, apart), 2, keep=False))


# -- Capstan's own forms


def _naive_bayes(graph: Graph, model: Any, matrix: Matrix) -> str:
    start = graph.constant(model.start.reshape(1, -1))
    totals = start
    if len(model.numbers):
        taken = graph.op("Gather", matrix.tensor, graph.constant(model.numbers), axis=1)
        apart = graph.op(
            "Sub", graph.op("Unsqueeze", taken, graph.constant(np.array([1]))), _block(graph, model.means)
        )
        far = graph.op("Div", graph.op("Mul", apart, apart), _block(graph, model.variances))
        lost = graph.op("Mul", graph.sum(far, 2, keep=False), graph.constant(0.5))
        totals = graph.op("Sub", start, lost)
        # A row infinitely far from a class tells nothing.
        strange = graph.is_no_number(graph.sum(totals, 1))
        totals = graph.op("Where", strange, start, totals)
    for column, shares in zip(model.codes.tolist(), model.shares, strict=True):
        line = _known_code(graph, matrix, column, len(shares) - 1)
        totals = graph.op("Add", totals, graph.op("Gather", graph.constant(shares), line, axis=0))
    return graph.op("Softmax", totals, axis=1)


def _block(graph: Graph, values: Any) -> str:
    return graph.constant(values[None])


def _factors_of_numbers(graph: Graph, model: Any, matrix: Matrix) -> str:
    total = _factor_totals(graph, model, matrix)
    return graph.op("Add", graph.op("Mul", total, graph.constant(model.unit)), graph.constant(model.usual))


def _factors_of_classes(graph: Graph, model: Any, matrix: Matrix) -> str:
    return _chances(graph, _factor_totals(graph, model, matrix), len(model.start))


def _factor_totals(graph: Graph, model: Any, matrix: Matrix) -> str:
    scaled = _alike(graph, matrix, model.center, model.spread)
    squares = graph.op("Mul", scaled, scaled)
    pairs = []
    for factors in model.factors:
        whole = graph.op("MatMul", scaled, graph.constant(factors))
        own = graph.op("MatMul", squares, graph.constant((factors**2).sum(axis=1).reshape(-1, 1)))
        both = graph.op("Sub", graph.sum(graph.op("Mul", whole, whole), 1), own)
        pairs.append(graph.op("Mul", both, graph.constant(0.5)))
    return graph.op("Add", _weighted(graph, scaled, model.weights.T, model.start), graph.beside(pairs))


def _machine_of_numbers(graph: Graph, model: Any, matrix: Matrix) -> str:
    value = _machine(graph, model.machine, matrix)
    return graph.op("Add", graph.op("Mul", value, graph.constant(model.spread)), graph.constant(model.center))


def _machine_of_classes(graph: Graph, model: Any, matrix: Matrix) -> str:
    values = graph.beside([_machine(graph, one, matrix) for one in model.machines])
    slopes, starts = graph.constant(model.curves[:, :1].T), graph.constant(model.curves[:, 1:].T)
    chances = _logistic(graph, graph.op("Add", graph.op("Mul", values, slopes), starts))
    if len(model.machines) == 1:
        return _both(graph, chances)
    chances = graph.op("Max", chances, graph.constant(1e-12))
    return graph.op("Div", chances, graph.sum(chances, 1))


def _machine(graph: Graph, machine: Any, matrix: Matrix) -> str:
    """(rows, 1)."""
    scaled = _alike(graph, matrix, machine.center, machine.spread)
    similar = graph.op("MatMul", scaled, graph.constant(machine.vectors.T))
    if machine.kernel == "Polynomial":
        grown = graph.op("Add", graph.op("Mul", similar, graph.constant(machine.gamma)), graph.constant(1.0))
        similar = graph.op("Pow", grown, graph.constant(float(machine.degree)))
    elif machine.kernel == "RBF":
        own = graph.sum(graph.op("Mul", scaled, scaled), 1)
        both = graph.op("Add", own, graph.constant(machine.squares.reshape(1, -1)))
        squares = graph.op("Sub", both, graph.op("Mul", similar, graph.constant(2.0)))
        near = graph.op("Mul", graph.op("Max", squares, graph.constant(0.0)), graph.constant(-machine.gamma))
        similar = graph.op("Exp", near)
    return _weighted(graph, similar, machine.weights.reshape(-1, 1), np.array([machine.intercept]))


def _perceptron_of_numbers(graph: Graph, model: Any, matrix: Matrix) -> str:
    return _layers(graph, model, matrix)


def _perceptron_of_classes(graph: Graph, model: Any, matrix: Matrix) -> str:
    return _chances(graph, _layers(graph, model, matrix), len(model.biases[-1]))


def _layers(graph: Graph, model: Any, matrix: Matrix) -> str:
    active: Mapping[str, Callable[[str], str]] = {
        "ReLU": lambda values: graph.op("Max", values, graph.constant(0.0)),
        "Tanh": lambda values: graph.op("Tanh", values),
        "Logistic": lambda values: _logistic(graph, values),
    }
    values = matrix.tensor
    for weights, bias in zip(model.weights[:-1], model.biases[:-1], strict=True):
        values = active[model.activation](_weighted(graph, values, weights, bias))
    return _weighted(graph, values, model.weights[-1], model.biases[-1])


def _network_of_numbers(graph: Graph, model: Any, matrix: Matrix) -> str:
    return _network(graph, model.network, matrix)


def _network_of_classes(graph: Graph, model: Any, matrix: Matrix) -> str:
    return _chances(graph, _network(graph, model.network, matrix), len(model.network.biases[-1]))


def _network(graph: Graph, network: Any, matrix: Matrix) -> str:
    active: Mapping[str, Callable[[str], str]] = {
        "ReLU": lambda values: graph.op("Max", values, graph.constant(0.0)),
        "ELU": lambda values: _elu(graph, values),
        "Tanh": lambda values: graph.op("Tanh", values),
        "Sigmoid": lambda values: _logistic(graph, values),
    }
    parts = []
    if len(network.columns):
        taken = graph.op("Gather", matrix.tensor, graph.constant(network.columns), axis=1)
        parts.append(_made_alike(graph, taken, network.center, network.spread))
    for column, table in zip(network.coded.tolist(), network.tables, strict=True):
        line = _known_code(graph, matrix, column, len(table) - 1)
        parts.append(graph.op("Gather", graph.constant(table), line, axis=0))
    values = graph.beside(parts)
    for weights, bias in zip(network.weights[:-1], network.biases[:-1], strict=True):
        values = active[network.activation](_weighted(graph, values, weights, bias))
    return _weighted(graph, values, network.weights[-1], network.biases[-1])


def _elu(graph: Graph, values: str) -> str:
    """By the operations of the fitted model: ONNX Runtime has no Elu of float64."""
    zero = graph.constant(0.0)
    bent = graph.op("Sub", graph.op("Exp", graph.op("Min", values, zero)), graph.constant(1.0))
    return graph.op("Where", graph.op("Greater", values, zero), values, bent)


# -- ensembles


def _voting_of_numbers(graph: Graph, model: Any, matrix: Matrix) -> str:
    said = [write_model(graph, one, matrix) for one in model.members]
    return graph.op("MatMul", graph.beside(said), graph.constant(np.reshape(model.weights, (-1, 1))))


def _voting_of_classes(graph: Graph, model: Any, matrix: Matrix) -> str:
    said = [
        graph.op("Mul", one, graph.constant(float(weight)))
        for one, weight in zip(_members(graph, model, matrix), model.weights, strict=True)
    ]
    return graph.op("Sum", *said)


def _stack_of_numbers(graph: Graph, model: Any, matrix: Matrix) -> str:
    said = [write_model(graph, one, matrix) for one in model.members]
    return write_model(graph, model.final, Matrix(graph, [Block(one) for one in said]))


def _stack_of_classes(graph: Graph, model: Any, matrix: Matrix) -> str:
    count = len(model.classes_)
    said = _members(graph, model, matrix)
    # Of two classes the second says all.
    blocks = (
        [Block(graph.column(one, 1)) for one in said] if count == 2 else [Block(one, count) for one in said]
    )
    answer = write_model(graph, model.final, Matrix(graph, blocks))
    return _in_order(graph, answer, model.final.classes_, model.classes_)


def _members(graph: Graph, model: Any, matrix: Matrix) -> Sequence[str]:
    """Of each (rows, classes) in the order of the ensemble's classes."""
    return [
        _in_order(graph, write_model(graph, one, matrix), one.classes_, model.classes_)
        for one in model.members
    ]


def _in_order(graph: Graph, said: str, own: Any, classes: Any) -> str:
    """The columns of all `classes`; 0 for one that the model never saw."""
    if len(own) == len(classes):
        return said
    places = np.zeros((len(own), len(classes)))
    places[np.arange(len(own)), np.searchsorted(classes, own)] = 1.0
    return graph.op("MatMul", said, graph.constant(places))


# -- what several have in common


def _weighted(graph: Graph, tensor: str, weights: Any, start: Any) -> str:
    total = graph.op("MatMul", tensor, graph.constant(np.asarray(weights, dtype=np.float64)))
    return graph.op("Add", total, graph.constant(np.asarray(start, dtype=np.float64).reshape(1, -1)))


def _known_code(graph: Graph, matrix: Matrix, column: int, known: int) -> str:
    """(rows,): the code of a column, or `known` for one that training did not see."""
    code, unknown = graph.flat(graph.column(matrix.tensor, column)), graph.constant(float(known))
    is_known = graph.op(
        "And",
        graph.op("GreaterOrEqual", code, graph.constant(0.0)),
        graph.op("Less", code, unknown),
    )
    return graph.whole(graph.op("Where", is_known, code, unknown))


def _alike(graph: Graph, matrix: Matrix, center: Any, spread: Any) -> str:
    return _made_alike(graph, matrix.tensor, center, spread)


def _made_alike(graph: Graph, tensor: str, center: Any, spread: Any) -> str:
    centred = graph.op("Sub", tensor, graph.constant(center.reshape(1, -1)))
    scaled = graph.op("Div", centred, graph.constant(spread.reshape(1, -1)))
    return graph.op("Clip", scaled, graph.constant(-_FARTHEST), graph.constant(_FARTHEST))


def _chances(graph: Graph, totals: str, count: int) -> str:
    """(rows, classes): a logistic function of one total for two classes, else the softmax of one for each."""
    return _both(graph, _logistic(graph, totals)) if count == 1 else graph.op("Softmax", totals, axis=1)


def _both(graph: Graph, chance: str) -> str:
    return graph.beside([graph.op("Sub", graph.constant(1.0), chance), chance])


def _logistic(graph: Graph, totals: str) -> str:
    """The logistic function, without overflow on either side, by the operations of the fitted models."""
    small = graph.op("Exp", graph.op("Neg", graph.op("Abs", totals)))
    one = graph.constant(1.0)
    above = graph.op("Where", graph.op("GreaterOrEqual", totals, graph.constant(0.0)), one, small)
    return graph.op("Div", above, graph.op("Add", one, small))


def _require(model: Any, so: bool) -> None:
    if not so:
        raise InvalidDataError(_refusal(model))


def _other_prior(graph: Graph, model: Any, matrix: Matrix) -> str:
    scaled = graph.op("Mul", write_model(graph, model.model, matrix), graph.constant(model.factors))
    return graph.op("Div", scaled, graph.sum(scaled, 1))


_FORMS: Mapping[tuple[str, str], Write] = {
    ("sklearn", "DummyClassifier"): _shares,
    ("sklearn", "DummyRegressor"): _constant,
    ("sklearn", "LinearRegression"): _line,
    ("sklearn", "Ridge"): _line,
    ("sklearn", "LogisticRegression"): _logistic_line,
    ("sklearn", "HistGradientBoostingRegressor"): _boosted_number,
    ("sklearn", "HistGradientBoostingClassifier"): _boosted_classes,
    ("capstan", "TreesOfNumbers"): _forest,
    ("capstan", "TreesOfClasses"): _forest,
    ("capstan", "Isolation"): _isolation,
    ("capstan", "NothingUnusual"): _nothing_unusual,
    ("capstan", "OneCluster"): _one_cluster,
    ("capstan", "NearestCentre"): _distances,
    ("capstan", "NaiveBayes"): _naive_bayes,
    ("capstan", "FactorsOfNumbers"): _factors_of_numbers,
    ("capstan", "FactorsOfClasses"): _factors_of_classes,
    ("capstan", "MachineOfNumbers"): _machine_of_numbers,
    ("capstan", "MachineOfClasses"): _machine_of_classes,
    ("capstan", "PerceptronOfNumbers"): _perceptron_of_numbers,
    ("capstan", "PerceptronOfClasses"): _perceptron_of_classes,
    ("capstan", "NetworkOfNumbers"): _network_of_numbers,
    ("capstan", "NetworkOfClasses"): _network_of_classes,
    ("capstan", "VotingOfNumbers"): _voting_of_numbers,
    ("capstan", "VotingOfClasses"): _voting_of_classes,
    ("capstan", "OtherPrior"): _other_prior,
    ("capstan", "StackOfNumbers"): _stack_of_numbers,
    ("capstan", "StackOfClasses"): _stack_of_classes,
}
"""(library, class) of a saved form -> what writes it."""
