"""Trees as `TreeEnsemble` of `ai.onnx.ml` 5, whose thresholds are float64: rows beside a threshold fall as in service.

A column of `scale: Log` is compared before its logarithm, which differs in the last bit from one library to the next:
each threshold becomes the largest number whose logarithm does not lie above it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from capstan.exporting.columns import LARGEST, Matrix
from capstan.exporting.graph import Graph
from capstan.features.columns import Floats
from capstan.features.trees import tree_inputs

_AT_MOST, _IS_ONE_OF = 0, 6
"""`BRANCH_LEQ` and `BRANCH_MEMBER`."""


@dataclass
class _Written:
    """Trees as the operator has them: nodes, and leaves beside them."""

    columns: list[int] = field(default_factory=list)
    splits: list[float] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)
    members: list[float] = field(default_factory=list)
    true: list[int] = field(default_factory=list)
    true_is_leaf: list[int] = field(default_factory=list)
    false: list[int] = field(default_factory=list)
    false_is_leaf: list[int] = field(default_factory=list)
    roots: list[int] = field(default_factory=list)
    targets: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    def node(self, column: int, split: float, members: Sequence[float] | None) -> int:
        """Its number; where it leads is told by `leads`."""
        self.columns.append(column)
        self.splits.append(split)
        self.modes.append(_AT_MOST if members is None else _IS_ONE_OF)
        if members is not None:
            self.members += [*members, np.nan]
        for one in (self.true, self.true_is_leaf, self.false, self.false_is_leaf):
            one.append(0)
        return len(self.columns) - 1

    def leads(self, node: int, true: tuple[int, bool], false: tuple[int, bool]) -> None:
        """To a node, or to a leaf."""
        self.true[node], self.true_is_leaf[node] = true[0], int(true[1])
        self.false[node], self.false_is_leaf[node] = false[0], int(false[1])

    def leaf(self, target: int, weight: float) -> int:
        self.targets.append(target)
        self.weights.append(weight)
        return len(self.weights) - 1

    def root(self, place: tuple[int, bool]) -> None:
        at, is_leaf = place
        if is_leaf:
            # A tree that is a leaf has a question whose answers are the same.
            node = self.node(0, 0.0, None)
            again = self.leaf(self.targets[at], self.weights[at])
            self.leads(node, place, (again, True))
            at = node
        self.roots.append(at)

    def tensor(self, graph: Graph, matrix: str, targets: int) -> str:
        """(rows, targets): of each the sum of the leaves."""
        members = {"membership_values": np.array(self.members)} if self.members else {}
        return graph.ml(
            "TreeEnsemble",
            matrix,
            tree_roots=self.roots,
            nodes_featureids=self.columns,
            nodes_splits=np.array(self.splits, dtype=np.float64),
            nodes_modes=np.array(self.modes, dtype=np.uint8),
            nodes_truenodeids=self.true,
            nodes_trueleafs=self.true_is_leaf,
            nodes_falsenodeids=self.false,
            nodes_falseleafs=self.false_is_leaf,
            leaf_targetids=self.targets,
            leaf_weights=np.array(self.weights, dtype=np.float64),
            n_targets=targets,
            aggregate_function=1,
            post_transform=0,
            **members,
        )


def write_boosted(graph: Graph, model: Any, matrix: Matrix) -> str:
    """(rows, totals) of scikit-learn's boosted trees of histograms."""
    forests = [list(trees) for trees in zip(*model._predictors, strict=True)]
    original, ranks, known = tree_inputs(model)
    written = _Written()
    for target, forest in enumerate(forests):
        for predictor in forest:
            written.root(_boosted(written, predictor, target, original, ranks, known, matrix))
    sums = written.tensor(graph, matrix.compared, len(forests))
    baselines = np.ravel(model._baseline_prediction).astype(np.float64).reshape(1, -1)
    return graph.op("Add", sums, graph.constant(baselines))


def _boosted(
    written: _Written,
    predictor: Any,
    target: int,
    original: Sequence[int],
    ranks: Any,
    known: Sequence[int],
    matrix: Matrix,
) -> tuple[int, bool]:
    nodes = predictor.nodes
    feature, left, right = nodes["feature_idx"], nodes["left"], nodes["right"]
    places: dict[int, tuple[int, bool]] = {}
    # Children have higher numbers than their parents.
    for at in reversed(range(len(nodes))):
        node = nodes[at]
        if node["is_leaf"]:
            places[at] = written.leaf(target, float(node["value"])), True
            continue
        column = int(original[feature[at]])
        true, false = places[int(left[at])], places[int(right[at])]
        if not node["is_categorical"]:
            threshold = _before(matrix, column, float(node["num_threshold"]))
            made = written.node(column, threshold, None)
        else:
            bits = predictor.raw_left_cat_bitsets[node["bitset_idx"]]
            goes_left = [bool(int(bits[rank // 32]) >> (rank % 32) & 1) for rank in range(known[feature[at]])]
            # What is no known code goes where missing values go, so the codes of the other side are named.
            named_left = not node["missing_go_to_left"]
            codes = [code for code, rank in ranks[column].items() if goes_left[rank] is named_left]
            if not named_left:
                true, false = false, true
            # Codes are not negative: without a code on that side all go to the other.
            made = written.node(column, 0.0, codes) if codes else written.node(column, -1.0, None)
        written.leads(made, true, false)
        places[at] = made, False
    return places[0]


def write_forest(graph: Graph, model: Any, matrix: Matrix) -> str:
    """(rows, 1), the mean of the leaves; (rows, classes), the mean of the shares in them: scikit-learn's trees."""
    trees = [one.tree_ for one in getattr(model, "estimators_", [model])]
    count = graph.constant(float(len(trees)))
    written = _Written()
    if not hasattr(model, "classes_"):
        for tree in trees:
            written.root(_plain(written, tree, 0, tree.value[:, 0, 0], matrix))
        return graph.op("Div", written.tensor(graph, matrix.compared_single, 1), count)
    # A leaf of the operator has one number: here its place in a table of the shares of all leaves.
    shares: list[Floats] = []
    for target, tree in enumerate(trees):
        places = len(shares) + np.arange(tree.node_count, dtype=np.float64)
        shares += list(tree.value[:, 0, :])
        written.root(_plain(written, tree, target, places, matrix))
    leaves = graph.whole(written.tensor(graph, matrix.compared_single, len(trees)))
    found = graph.op("Gather", graph.constant(np.array(shares)), leaves, axis=0)
    return graph.op("Div", graph.sum(found, 1, keep=False), count)


def write_isolation(graph: Graph, trees: Sequence[tuple[Any, Floats]], whole: float, matrix: Matrix) -> str:
    """(rows, 1), 2 to the power of minus the length of a row's paths as a share of `whole`.

    `trees`: scikit-learn's, each with the path lengths of its nodes.
    """
    written = _Written()
    for tree, lengths in trees:
        written.root(_plain(written, tree, 0, lengths, matrix))
    depths = written.tensor(graph, matrix.compared_single, 1)
    share = graph.op("Div", depths, graph.constant(whole))
    return graph.op("Pow", graph.constant(2.0), graph.op("Neg", share))


def _plain(written: _Written, tree: Any, target: int, values: Floats, matrix: Matrix) -> tuple[int, bool]:
    places: dict[int, tuple[int, bool]] = {}
    for at in reversed(range(tree.node_count)):
        left, right = int(tree.children_left[at]), int(tree.children_right[at])
        if left < 0:
            places[at] = written.leaf(target, float(values[at])), True
            continue
        column = int(tree.feature[at])
        made = written.node(column, _before(matrix, column, float(tree.threshold[at]), single=True), None)
        written.leads(made, places[left], places[right])
        places[at] = made, False
    return places[0]


def _before(matrix: Matrix, column: int, threshold: float, *, single: bool = False) -> float:
    """The threshold of what `matrix.compared` holds of the column."""
    function = matrix.functions.get(column)
    if function is None or not np.isfinite(threshold):
        return threshold
    if single:
        return largest_below(lambda values: _as_single(function(values)), threshold)
    return largest_below(function, threshold)


def _as_single(values: Floats) -> Floats:
    return np.clip(values, -LARGEST, LARGEST).astype(np.float32).astype(np.float64)


def largest_below(function: Callable[[Floats], Floats], threshold: float) -> float:
    """The largest float64 x with function(x) <= threshold, of a function that never falls; -inf: there is none."""
    low, high = (_place(float(one)) for one in (np.finfo(np.float64).min, np.finfo(np.float64).max))

    def holds(place: int) -> bool:
        return bool(function(np.array([_at(place)]))[0] <= threshold)

    if not holds(low):
        return -np.inf
    if holds(high):
        return np.inf
    # Floats in their order are whole numbers: 64 halvings find the one.
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return _at(low)


def _place(value: float) -> int:
    """Its place in the order of all float64; neighbours differ by 1."""
    bits = int(np.float64(value).view(np.int64))
    return bits if bits >= 0 else -(bits & 0x7FFFFFFFFFFFFFFF)


def _at(place: int) -> float:
    found = float(np.int64(abs(place)).view(np.float64))
    return found if place >= 0 else -found
