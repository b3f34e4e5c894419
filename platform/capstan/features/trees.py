"""Boosted trees as Python source: nested comparisons of local variables, which is what one row costs least in.

scikit-learn spends a millisecond per call on checks that one row does not need. The source follows
`_predictor.pyx` of scikit-learn 1.9 branch by branch and adds the leaves in the same order, so that the sums are equal
bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

MOST_NODES = 100_000
"""Beyond this the source takes seconds to compile."""
MOST_DEPTH = 80
"""Python refuses code that is indented a hundred times."""
NODES_PER_FUNCTION = 3_000


class CannotCompileError(Exception):
    """This model has no compiled form; it is served by its own predict or predict_proba."""


@dataclass(frozen=True)
class BoostedTrees:
    """Source of functions `trees_N(total, <inputs>)` that add their trees to `total`."""

    functions: tuple[str, ...]
    calls: tuple[tuple[str, ...], ...]
    """Of each total that the model has: one, or one for each of several classes."""
    baselines: tuple[float, ...]
    ranks: dict[int, dict[float, int]]
    """Output column -> its code -> the category that the trees split on; absent codes are -1, unknown."""


def compile_trees(model: Any, given: Mapping[int, tuple[str, str]] | None = None) -> BoostedTrees:
    """The trees of a fitted HistGradientBoosting model of classes or of a number; raises CannotCompileError.

    `given` says of columns that are no variable of their own which variable they come from, and by what expression;
    all others are x0, x1, … by their number.
    """
    forests = [list(trees) for trees in zip(*model._predictors, strict=True)]
    everything = [predictor for forest in forests for predictor in forest]
    if sum(len(p.nodes) for p in everything) > MOST_NODES or any(
        p.get_max_depth() > MOST_DEPTH for p in everything
    ):
        raise CannotCompileError("the trees are too large")
    original, ranks, known = tree_inputs(model)
    given = given or {}
    plain = [f"c{column}" if column in ranks else f"x{column}" for column in original]
    variables = [
        given[column][1] if column in given else name for column, name in zip(original, plain, strict=True)
    ]
    arguments = ", ".join(
        dict.fromkeys(
            given[column][0] if column in given else name
            for column, name in zip(original, plain, strict=True)
        )
    )
    functions: list[str] = []
    calls: list[tuple[str, ...]] = []
    for forest in forests:
        first = len(functions)
        for chunk in _chunks(forest):
            lines = [f"def trees_{len(functions)}(total, {arguments}):"]
            for predictor in chunk:
                lines += _tree(predictor, variables, known)
            functions.append("\n".join([*lines, " return total"]))
        calls.append(tuple(f"total = trees_{at}(total, {arguments})" for at in range(first, len(functions))))
    baselines = tuple(float(value) for value in np.ravel(model._baseline_prediction))
    return BoostedTrees(tuple(functions), tuple(calls), baselines, ranks)


def tree_inputs(model: Any) -> tuple[list[int], dict[int, dict[float, int]], list[int]]:
    """Column of the matrix behind each input of the trees, ranks of categories, and number of categories of each."""
    mask = model.is_categorical_
    if mask is None:
        return list(range(model._n_features)), {}, [0] * model._n_features
    # Categories come first: scikit-learn encodes them apart and concatenates.
    original = [*np.flatnonzero(mask).tolist(), *np.flatnonzero(~mask).tolist()]
    encoder = model._preprocessor.named_transformers_["encoder"]
    ranks = {}
    known = [0] * len(original)
    for position, (column, categories) in enumerate(zip(original, encoder.categories_, strict=False)):
        ranks[column] = {float(code): rank for rank, code in enumerate(categories) if code == code}
        known[position] = len(ranks[column])
    return original, ranks, known


def _chunks(predictors: list[Any]) -> Iterator[list[Any]]:
    chunk: list[Any] = []
    nodes = 0
    for predictor in predictors:
        chunk.append(predictor)
        nodes += len(predictor.nodes)
        if nodes >= NODES_PER_FUNCTION:
            yield chunk
            chunk, nodes = [], 0
    if chunk:
        yield chunk


def _tree(predictor: Any, variables: list[str], known: list[int]) -> Iterator[str]:
    names = predictor.nodes.dtype.names
    nodes = [dict(zip(names, node, strict=True)) for node in predictor.nodes.tolist()]
    stack: list[tuple[int, int, str]] = [(0, 1, "")]
    while stack:
        index, depth, before = stack.pop()
        if before:
            yield before
        node = nodes[index]
        pad = " " * depth
        if node["is_leaf"]:
            yield f"{pad}total += {node['value']!r}"
            continue
        feature = node["feature_idx"]
        variable = variables[feature]
        if node["is_categorical"]:
            bits = predictor.raw_left_cat_bitsets[node["bitset_idx"]]
            left = {rank for rank in range(known[feature]) if int(bits[rank // 32]) >> (rank % 32) & 1}
            if node["missing_go_to_left"]:
                left.add(-1)
            condition = f"{variable} in {left!r}" if left else "False"
        else:
            threshold = node["num_threshold"]
            # The transform leaves no NaN, so that comparing is enough.
            condition = (
                f"{variable} <= {threshold!r}"
                if np.isfinite(threshold)
                else ("True" if threshold > 0 else "False")
            )
        yield f"{pad}if {condition}:"
        stack.append((node["right"], depth + 1, f"{pad}else:"))
        stack.append((node["left"], depth + 1, ""))
