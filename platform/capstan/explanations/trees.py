"""Contributions to the score of trees, exactly: every leaf of every tree against every row of the background.

A leaf is a game of its own. It counts for a mixture of the row and of one background row if each question on its path
is answered as the path wants; a player's questions on the path are answered by the one or by the other. Where `a`
players must be the row's and `b` the background's, Shapley's value of the leaf is (a-1)! b! / (a+b)! for each of the
first and -a! (b-1)! / (a+b)! for each of the second, times what the leaf says (Lundberg et al. 2020, interventional
values). Many background rows answer the questions of a leaf alike, so that few patterns are left to look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import factorial
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.explanations.contributions import CannotExplainError
from capstan.features.columns import Floats
from capstan.features.trees import tree_inputs

MOST_PAIRS = 3_000_000
"""Questions on the paths to all leaves; a forest of more is explained by drawn orders."""
MOST_PATTERNS = 1_500_000
"""Of the background over all leaves; each costs 20 bytes, and a row looks at all of them."""
_MOST_PLAYERS = 32
"""On one path: each is a bit."""
_CHUNK = 4_000_000
"""Answers that are held at once."""

Ints = npt.NDArray[np.int64]
Path = list[tuple[int, bool]]
"""Questions by number, and whether the path goes left there."""


@dataclass(frozen=True)
class Forest:
    """Trees as flat arrays."""

    columns: Ints
    """Of each question the column of the matrix."""
    thresholds: Floats
    """Of questions of numbers; nan of those of categories."""
    sets: tuple[tuple[int, Ints, Floats, npt.NDArray[np.bool_]], ...]
    """Of each column of categories: column, its questions, sorted codes, and (questions, codes + 1) which go left.

    The last one is of a code that training did not see.
    """
    pair_question: Ints
    pair_left: npt.NDArray[np.bool_]
    slot_begin: Ints
    """First pair of each slot; a slot is one player on the path to one leaf."""
    slot_player: Ints
    slot_leaf: Ints
    slot_bit: npt.NDArray[np.uint32]
    leaf_begin: Ints
    """First slot of each leaf."""
    leaf_values: Floats
    """(leaves, outputs)."""
    start: Floats
    """(outputs,): what is added whatever the row."""
    players: int
    is_probability: bool
    is_narrow: bool
    """Whether questions compare numbers of 32 bits."""

    def patterns(self, matrix: Floats) -> npt.NDArray[np.uint32]:
        """(rows, leaves): a bit for each player on the leaf's path whose questions lead there."""
        rows = max(1, _CHUNK // max(1, len(self.pair_question)))
        parts = [self._patterns(matrix[at : at + rows]) for at in range(0, len(matrix), rows)]
        return np.concatenate(parts)

    def _patterns(self, matrix: Floats) -> npt.NDArray[np.uint32]:
        compared = matrix.astype(np.float32).astype(np.float64) if self.is_narrow else matrix
        # A comparison with nan is false; those columns are filled below.
        left = compared[:, self.columns] <= self.thresholds
        for column, questions, codes, goes_left in self.sets:
            place = np.minimum(np.searchsorted(codes, matrix[:, column]), len(codes) - 1)
            place = np.where(codes[place] == matrix[:, column], place, len(codes))
            left[:, questions] = goes_left[:, place].T
        held = left[:, self.pair_question] == self.pair_left
        slots = np.logical_and.reduceat(held, self.slot_begin, axis=1)
        found: npt.NDArray[np.uint32] = np.bitwise_or.reduceat(
            np.where(slots, self.slot_bit, np.uint32(0)), self.leaf_begin, axis=1
        )
        return found


def forest_of(model: Any, owners: Ints, players: int) -> Forest:
    """The trees of a fitted model; raises CannotExplainError where it has none, or too many."""
    kind, library = type(model).__name__, type(model).__module__.split(".", 1)[0]
    if library == "sklearn" and kind == "HistGradientBoostingClassifier":
        return _boosted(model, owners, players)
    if library == "sklearn" and kind == "HistGradientBoostingRegressor":
        if type(model._loss.link).__name__ != "IdentityLink":
            raise CannotExplainError(kind)
        return _boosted(model, owners, players)
    if kind in ("TreesOfNumbers", "TreesOfClasses"):
        return _averaged(model, owners, players)
    raise CannotExplainError(kind)


class _Builder:
    def __init__(self, owners: Ints, players: int, outputs: int) -> None:
        self._owners, self._players = owners, players
        self.columns: list[int] = []
        self.thresholds: list[float] = []
        self.start = np.zeros(outputs)
        self._pairs: list[tuple[int, bool]] = []
        self._slot_begin: list[int] = []
        self._slot_player: list[int] = []
        self._slot_leaf: list[int] = []
        self._slot_bit: list[int] = []
        self._leaf_begin: list[int] = []
        self._values: list[Any] = []

    def question(self, column: int, threshold: float) -> int:
        self.columns.append(column)
        self.thresholds.append(threshold)
        return len(self.columns) - 1

    def leaf(self, path: Path, value: Floats) -> None:
        if not path:
            self.start = self.start + value
            return
        of_players: dict[int, Path] = {}
        for question, left in path:
            of_players.setdefault(int(self._owners[self.columns[question]]), []).append((question, left))
        if len(of_players) > _MOST_PLAYERS or len(self._pairs) > MOST_PAIRS:
            raise CannotExplainError("the trees are too large")
        self._leaf_begin.append(len(self._slot_begin))
        for bit, (player, pairs) in enumerate(of_players.items()):
            self._slot_begin.append(len(self._pairs))
            self._slot_player.append(player)
            self._slot_leaf.append(len(self._values))
            self._slot_bit.append(1 << bit)
            self._pairs += pairs
        self._values.append(value)

    def forest(self, sets: Any, *, is_probability: bool, is_narrow: bool) -> Forest:
        if not self._values:
            raise CannotExplainError("the trees ask nothing")
        return Forest(
            columns=np.array(self.columns, dtype=np.int64),
            thresholds=np.array(self.thresholds),
            sets=tuple(sets),
            pair_question=np.array([question for question, _ in self._pairs], dtype=np.int64),
            pair_left=np.array([left for _, left in self._pairs], dtype=np.bool_),
            slot_begin=np.array(self._slot_begin, dtype=np.int64),
            slot_player=np.array(self._slot_player, dtype=np.int64),
            slot_leaf=np.array(self._slot_leaf, dtype=np.int64),
            slot_bit=np.array(self._slot_bit, dtype=np.uint32),
            leaf_begin=np.array(self._leaf_begin, dtype=np.int64),
            leaf_values=np.array(self._values),
            start=self.start,
            players=self._players,
            is_probability=is_probability,
            is_narrow=is_narrow,
        )


def _boosted(model: Any, owners: Ints, players: int) -> Forest:
    original, ranks, _ = tree_inputs(model)
    start = np.ravel(model._baseline_prediction).astype(np.float64)
    built = _Builder(owners, players, len(start))
    built.start = start
    asked: dict[int, list[tuple[int, set[int]]]] = {}
    for output, predictors in enumerate(zip(*model._predictors, strict=True)):
        for predictor in predictors:
            _boosted_tree(predictor, original, ranks, output, built, asked)
    sets = []
    for column, questions in asked.items():
        codes = np.array(sorted(ranks[column], key=ranks[column].__getitem__))
        order = np.argsort(codes)
        goes_left = np.zeros((len(questions), len(codes) + 1), dtype=np.bool_)
        for at, (_, left) in enumerate(questions):
            goes_left[at, [rank for rank in left if rank >= 0]] = True
            goes_left[at, -1] = -1 in left
        goes_left[:, :-1] = goes_left[:, order]
        sets.append((column, np.array([one for one, _ in questions]), codes[order], goes_left))
    return built.forest(sets, is_probability=False, is_narrow=False)


def _boosted_tree(
    predictor: Any,
    original: list[int],
    ranks: dict[int, dict[float, int]],
    output: int,
    built: _Builder,
    asked: dict[int, list[tuple[int, set[int]]]],
) -> None:
    names = predictor.nodes.dtype.names
    nodes = [dict(zip(names, node, strict=True)) for node in predictor.nodes.tolist()]
    stack: list[tuple[int, Path]] = [(0, [])]
    while stack:
        index, path = stack.pop()
        node = nodes[index]
        if node["is_leaf"]:
            value = np.zeros(len(built.start))
            value[output] = node["value"]
            built.leaf(path, value)
            continue
        column = original[node["feature_idx"]]
        if node["is_categorical"]:
            question = built.question(column, np.nan)
            bits = predictor.raw_left_cat_bitsets[node["bitset_idx"]]
            left = {rank for rank in ranks[column].values() if int(bits[rank // 32]) >> (rank % 32) & 1}
            asked.setdefault(column, []).append(
                (question, left | ({-1} if node["missing_go_to_left"] else set()))
            )
        else:
            question = built.question(column, float(node["num_threshold"]))
        stack.append((node["right"], [*path, (question, False)]))
        stack.append((node["left"], [*path, (question, True)]))


def _averaged(model: Any, owners: Ints, players: int) -> Forest:
    members = getattr(model.model, "estimators_", [model.model])
    classes = getattr(model, "classes_", None)
    built = None
    for member in members:
        tree = member.tree_
        values: Floats = tree.value[:, 0, :] / len(members)
        if classes is not None and len(classes) == 2:
            values = values[:, 1:]
        if built is None:
            built = _Builder(owners, players, values.shape[1])
        for path, leaf in _paths(tree, built):
            built.leaf(path, values[leaf])
    assert built is not None
    return built.forest((), is_probability=classes is not None, is_narrow=True)


def _paths(tree: Any, built: _Builder) -> Iterator[tuple[Path, int]]:
    lefts, rights = tree.children_left.tolist(), tree.children_right.tolist()
    columns, thresholds = tree.feature.tolist(), tree.threshold.tolist()
    stack: list[tuple[int, Path]] = [(0, [])]
    while stack:
        at, path = stack.pop()
        if lefts[at] < 0:
            yield path, at
            continue
        question = built.question(columns[at], thresholds[at])
        stack.append((rights[at], [*path, (question, False)]))
        stack.append((lefts[at], [*path, (question, True)]))


_SIZES = _MOST_PLAYERS + 1
_FOR = np.zeros((_SIZES, _SIZES))
"""(a, b): Shapley's value for each of `a` players that must be the row's."""
_AGAINST = np.zeros((_SIZES, _SIZES))
"""The same for each of `b` that must be the background's."""
for _a in range(_SIZES):
    for _b in range(_SIZES - _a):
        if _a:
            _FOR[_a, _b] = factorial(_a - 1) * factorial(_b) / factorial(_a + _b)
        if _b:
            _AGAINST[_a, _b] = -factorial(_a) * factorial(_b - 1) / factorial(_a + _b)


class TreeWay:
    """Explains rows of the matrix against a background."""

    def __init__(self, forest: Forest, background: Floats) -> None:
        """Raises CannotExplainError for a forest whose leaves are too many for the background."""
        self._forest = forest
        found = forest.patterns(background)
        leaves = np.arange(found.shape[1], dtype=np.uint64) << np.uint64(32)
        keys, counts = np.unique(leaves + found, return_counts=True)
        if len(keys) > MOST_PATTERNS:
            raise CannotExplainError("the trees are too large")
        self._leaf = (keys >> np.uint64(32)).astype(np.int64)
        self._pattern = (keys & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        self._weight = counts / len(background)
        self._whole = np.bitwise_or.reduceat(forest.slot_bit, forest.leaf_begin)[self._leaf]
        self._widest = int(np.bincount(forest.slot_leaf).max())
        reached = np.bincount(
            self._leaf, self._weight * (self._pattern == self._whole), minlength=len(forest.leaf_values)
        )
        self.base: Floats = forest.start + reached @ forest.leaf_values

    def values(self, row: Floats) -> Floats:
        forest = self._forest
        of_row = forest.patterns(row.reshape(1, -1))[0][self._leaf]
        alive = np.flatnonzero(((of_row | self._pattern) == self._whole) & (of_row != self._pattern))
        mine, others = of_row[alive] & ~self._pattern[alive], self._pattern[alive] & ~of_row[alive]
        first, weight = forest.leaf_begin[self._leaf[alive]], self._weight[alive]
        a, b = _bits(mine), _bits(others)
        gained, lost = weight * _FOR[a, b], weight * _AGAINST[a, b]
        share = np.zeros(len(forest.slot_leaf))
        for bit in range(self._widest):
            for pattern, worth in ((mine, gained), (others, lost)):
                chosen = np.flatnonzero(pattern >> np.uint32(bit) & np.uint32(1))
                if len(chosen):
                    share += np.bincount(first[chosen] + bit, worth[chosen], minlength=len(share))
        used = np.flatnonzero(share)
        leaf_values = forest.leaf_values[forest.slot_leaf[used]]
        return np.column_stack(
            [
                np.bincount(
                    forest.slot_player[used], share[used] * leaf_values[:, output], minlength=forest.players
                )
                for output in range(leaf_values.shape[1])
            ]
        )


def _bits(patterns: npt.NDArray[np.uint32]) -> Ints:
    """How many bits each has."""
    counted = patterns - ((patterns >> np.uint32(1)) & np.uint32(0x55555555))
    counted = (counted & np.uint32(0x33333333)) + ((counted >> np.uint32(2)) & np.uint32(0x33333333))
    counted = (counted + (counted >> np.uint32(4))) & np.uint32(0x0F0F0F0F)
    found: Ints = ((counted * np.uint32(0x01010101)) >> np.uint32(24)).astype(np.int64)
    return found
