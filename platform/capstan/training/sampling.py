"""Which rows of many a model learns from: drawn alike, by strata, by importance, or along edges.

Each function gives row numbers, rising, and draws the same ones by the same generator.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError
from capstan.tasks.metric import Floats

if TYPE_CHECKING:
    import pyarrow as pa

    from capstan.spec.sample import Sample

Indices = npt.NDArray[np.int64]
WEIGHT = "_capstan_weight"
"""Column of a sample's table with the weight of each row; only where rows were not drawn alike."""
STREAM = 2**62


@dataclass(frozen=True)
class Drawn:
    """What was drawn of a table."""

    rows: Indices
    weights: Floats | None = None
    """(n,), mean 1: 1 / probability, rescaled. None: all were drawn alike, or nobody knows how."""
    words: str = ""
    """What is worth saying of it beside method and number."""


def random_rows(of: int, rows: int, *, rng: np.random.Generator) -> Drawn:
    """Each set of so many rows is as likely as any other."""
    return Drawn(np.sort(rng.choice(of, rows, replace=False)))


def stratified_rows(strata: npt.NDArray[Any], rows: int, *, rng: np.random.Generator) -> Drawn:
    """So many of each stratum as is its share; the largest remainders are rounded up."""
    names, stratum, counts = np.unique(strata, return_inverse=True, return_counts=True)
    exact = counts * (rows / len(strata))
    taken = np.floor(exact).astype(np.int64)
    for at in np.argsort(-(exact - taken), kind="stable")[: rows - int(taken.sum())]:
        taken[at] += 1
    order = rng.permutation(len(strata))
    by_stratum = order[np.argsort(stratum.reshape(-1)[order], kind="stable")]
    begins = np.cumsum(counts) - counts
    picked = [by_stratum[begin : begin + count] for begin, count in zip(begins, taken, strict=True)]
    lost = int((taken == 0).sum())
    words = f"{lost:,} of {len(names):,} strata are too small to have a row in it" if lost else ""
    return Drawn(np.sort(np.concatenate(picked)), words=words)


def reservoir_rows(stream: Iterable[int], rows: int, *, rng: np.random.Generator) -> Drawn:
    """In one pass over a stream of unknown length, each item as likely as any other (Li 1994, algorithm L)."""
    kept: list[int] = []
    items = iter(stream)
    for item in items:
        kept.append(item)
        if len(kept) == rows:
            break
    weight = math.exp(math.log(_above_zero(rng)) / rows)
    skipped = _gap(weight, rng)
    for item in items:
        if skipped:
            skipped -= 1
            continue
        kept[int(rng.integers(rows))] = item
        weight *= math.exp(math.log(_above_zero(rng)) / rows)
        skipped = _gap(weight, rng)
    return Drawn(np.sort(np.array(kept, dtype=np.int64)))


def _gap(weight: float, rng: np.random.Generator) -> int:
    if weight < 1e-300:
        return STREAM
    return min(STREAM, int(math.log(_above_zero(rng)) / math.log1p(-weight))) if weight < 1 else 0


def _above_zero(rng: np.random.Generator) -> float:
    return 1.0 - float(rng.random())


def inclusion_probabilities(sizes: Floats, rows: int) -> Floats:
    """(n,) in proportion to the sizes, with sum `rows`; what would be above 1 is always drawn."""
    found = np.ones(len(sizes))
    free = np.ones(len(sizes), dtype=np.bool_)
    while True:
        left = rows - int((~free).sum())
        found[free] = left * sizes[free] / sizes[free].sum()
        above = free & (found >= 1)
        if not above.any():
            return found
        found[above], free = 1.0, free & ~above
        if not free.any():
            return found


def importance_rows(sizes: Floats, rows: int, *, rng: np.random.Generator) -> Drawn:
    """By systematic sampling in a random order (Madow 1949), with the weights of Horvitz & Thompson (1952)."""
    chances = inclusion_probabilities(sizes, rows)
    order = rng.permutation(len(sizes))
    ends = np.cumsum(chances[order])
    # Rounding may leave the last end a little below the number of rows.
    ends[-1] = rows
    points = np.arange(rows) + rng.random()
    taken = np.sort(order[np.unique(np.searchsorted(ends, points, side="right").clip(max=len(sizes) - 1))])
    weights = 1 / chances[taken]
    return Drawn(
        taken,
        weights / weights.mean(),
        f"weights from {weights.min() / weights.mean():.3g} to {weights.max() / weights.mean():.3g} reach training and "
        "the metrics of drawn rows",
    )


def snowball_rows(
    nodes: npt.NDArray[Any],
    edges: npt.NDArray[Any],
    has_edge: npt.NDArray[np.bool_],
    rows: int,
    *,
    starts: int,
    rng: np.random.Generator,
) -> Drawn:
    """From some nodes to those that edges join with them, either way, wave by wave.

    Where no edge leads on, one more node is drawn to start from.
    """
    names, place = np.unique(np.concatenate([nodes, edges[has_edge]]), return_inverse=True)
    place = place.reshape(-1)
    node, other = place[: len(nodes)], place[len(nodes) :]
    from scipy.sparse import coo_matrix

    pairs = (np.concatenate([node[has_edge], other]), np.concatenate([other, node[has_edge]]))
    joined = coo_matrix((np.ones(len(pairs[0]), dtype=np.int8), pairs), shape=(len(names),) * 2).tocsr()
    of_node = np.bincount(node, minlength=len(names))
    waiting = rng.permutation(np.flatnonzero(of_node))
    seen = np.zeros(len(names), dtype=np.bool_)
    wave = waiting[:starts]
    seen[wave] = True
    order, begun, waves, next_start = [wave], len(wave), 0, len(wave)
    count = int(of_node[wave].sum())
    while count < rows:
        found = np.unique(joined[wave].indices)
        wave = rng.permutation(found[~seen[found]])
        if not len(wave):
            while next_start < len(waiting) and seen[waiting[next_start]]:
                next_start += 1
            if next_start == len(waiting):
                break
            wave, begun = waiting[next_start : next_start + 1], begun + 1
        else:
            waves += 1
        seen[wave] = True
        order.append(wave)
        count += int(of_node[wave].sum())
    rank = np.full(len(names), len(names), dtype=np.int64)
    reached = np.concatenate(order)
    rank[reached] = np.arange(len(reached))
    taken = np.argsort(rank[node], kind="stable")[:rows]
    return Drawn(
        np.sort(taken), words=f"from {begun:,} starts in {waves:,} waves; well connected nodes are drawn more"
    )


def draw(table: pa.Table, sample: Sample, strata: npt.NDArray[Any] | None, *, seed: int) -> Drawn | None:
    """What the file asks for; None: the table has no more rows than that. `strata` are classes, where there are any.

    Raises InvalidDataError.
    """
    of, rng = table.num_rows, np.random.default_rng(seed)
    if of <= sample.rows:
        return None
    if sample.method == "Newest":
        return Drawn(np.arange(of - sample.rows, of), words="older rows are not learnt from")
    if sample.method == "Reservoir":
        return reservoir_rows(range(of), sample.rows, rng=rng)
    if sample.method == "Importance":
        return importance_rows(_sizes(table, sample), sample.rows, rng=rng)
    if sample.method == "Snowball":
        assert sample.by is not None
        assert sample.edge is not None
        nodes, edges = (_texts(table, name) for name in (sample.by, sample.edge))
        has_edge = table[sample.edge].is_valid().to_numpy()
        return snowball_rows(nodes, edges, has_edge, sample.rows, starts=sample.starts, rng=rng)
    if sample.method == "Stratified":
        found = _texts(table, sample.by) if sample.by is not None else strata
        assert found is not None
        return stratified_rows(found, sample.rows, rng=rng)
    return random_rows(of, sample.rows, rng=rng)


def _texts(table: pa.Table, name: str) -> npt.NDArray[np.str_]:
    import pyarrow as arrow

    return np.asarray(
        table[name].cast(arrow.string()).fill_null("").to_numpy(zero_copy_only=False).astype(str)
    )


def _sizes(table: pa.Table, sample: Sample) -> Floats:
    import pyarrow as arrow

    assert sample.by is not None
    try:
        sizes = table[sample.by].cast(arrow.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError):
        raise InvalidDataError(
            f"training.sample.by: {sample.by!r} is no column of numbers, and Importance draws in proportion to it; "
            "name another column, or write Stratified"
        ) from None
    never = int((~(np.isfinite(sizes) & (sizes > 0))).sum())
    if never:
        raise InvalidDataError(
            f"training.sample.by: {never:,} of {len(sizes):,} rows have no number above 0 in {sample.by!r} and would "
            "never be drawn; give them one in data.query, or write another method"
        )
    found: Floats = sizes
    return found


def sampled(
    table: pa.Table, sample: Sample | None, strata: npt.NDArray[Any] | None, *, seed: int
) -> pa.Table:
    """The rows of the sample, with their weights in a column of its own where they have any."""
    import pyarrow as arrow

    drawn = None if sample is None else draw(table, sample, strata, seed=seed)
    if drawn is None:
        return table
    found = table.take(drawn.rows)
    return found if drawn.weights is None else found.append_column(WEIGHT, arrow.array(drawn.weights))
