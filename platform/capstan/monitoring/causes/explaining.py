"""How much of a rise of losses each kind of rows explains: more rows that are harder, or the same rows judged worse.

A mean loss is a sum over kinds of rows of share times loss, so that a rise divides exactly into what the shares did and
what the losses did (Kitagawa, "Components of a Difference Between Two Rates", 1955). What a kind explains is the part
of the rise that is gone where its rows are left out, before and now. What is common to all rows is nobody's: where
every kind is judged worse alike, no kind is blamed, and the rise stays unexplained.

Kinds are found one after the other among the rows that no former one took, so that a feature that only goes along with
another is not blamed beside it. A kind is blamed if chance does not explain it, neither among rows, with a correction
for all kinds that were looked at, nor among days, because rows of one day are alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri, stdtrit

from capstan.monitoring.causes.kinds import CELLS, Cells, Kinds
from capstan.monitoring.windows import Cause, Causes, Gap
from capstan.tasks.metric import Floats

LEAST_ROWS = 200
"""Fewer judged rows say nothing about kinds of rows."""
LEAST_OF_KIND = 20
"""Rows of a kind now or before; and of the others, both times."""
LEAST_BLOCKS = 3
LEAST_SHARE = 0.1
"""Of the rise: what explains less is not told."""
MOST_CAUSES = 5
CHANCE = 0.05
CONFIDENCE = 0.95

Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """Rows whose losses are known."""

    codes: Cells
    """(rows, features): the kind of each row by each feature."""
    losses: Floats
    """(rows,)"""
    blocks: NDArray[np.int64]
    """(rows,): the day, or other block, of each row, numbered from 0 without a gap."""

    def __len__(self) -> int:
        return len(self.losses)

    def where(self, kept: Flags) -> Judged:
        """Those rows alone; blocks keep their numbers."""
        return Judged(self.codes[kept], self.losses[kept], self.blocks[kept])


class _Kind(NamedTuple):
    feature: int
    first: int
    last: int

    def rows(self, judged: Judged) -> Flags:
        found: Flags = (judged.codes[:, self.feature] >= self.first) & (
            judged.codes[:, self.feature] <= self.last
        )
        return found


def explain(kinds: Sequence[Kinds], before: Judged, now: Judged, *, metric: str) -> Causes:
    """The kinds of rows by which the mean loss rose from `before` to `now`, those that explain most first."""
    found = Causes(
        metric,
        rows=len(now),
        loss=float(now.losses.mean()) if len(now) else None,
        reference=float(before.losses.mean()) if len(before) else None,
    )
    for what, judged in (("window", now), ("test window", before)):
        if len(judged) < LEAST_ROWS:
            few = f"{len(judged):,} judged rows of the {what} are too few to say which kinds of rows they are"
            return replace(found, gap=Gap("TooFewRows", f"{few}; {LEAST_ROWS} are needed"))
        if int(judged.blocks.max()) + 1 < LEAST_BLOCKS:
            few = f"{int(judged.blocks.max()) + 1} days or lots of the {what} do not tell a kind from chance"
            return replace(found, gap=Gap("TooFewDays", few))
    rise = found.rise
    assert rise is not None
    if rise <= 0:
        none = f"the mean {metric} loss did not rise; what fell is a metric that no single row has"
        return replace(found, gap=Gap("NoRise", none))
    chosen: list[_Kind] = []
    rest_before, rest_now = before, now
    while len(chosen) < MOST_CAUSES:
        kind = _foremost(kinds, rest_before, rest_now, least=LEAST_SHARE * rise)
        if kind is None:
            break
        chosen.append(kind)
        rest_before = rest_before.where(~kind.rows(rest_before))
        rest_now = rest_now.where(~kind.rows(rest_now))
        if float(rest_now.losses.mean() - rest_before.losses.mean()) <= LEAST_SHARE * rise:
            break
    return _accounted(found, kinds, chosen, before, now)


class _Sums(NamedTuple):
    """Of the rows of some kinds and of all others; axes: blocks first where each block is left out, kinds last."""

    rows: Floats
    losses: Floats
    all_rows: Floats
    all_losses: Floats

    def effect(self) -> Floats:
        """Share times how much harder the kind is than the others: what it adds to the mean loss above theirs."""
        others = self.all_rows - self.rows
        with np.errstate(divide="ignore", invalid="ignore"):
            share = self.rows / self.all_rows
            # A kind without a row adds nothing.
            own = np.where(self.rows > 0, self.losses / self.rows, 0.0)
            harder = own - (self.all_losses - self.losses) / others
        return np.where(self.rows > 0, share * harder, 0.0)


def _foremost(kinds: Sequence[Kinds], before: Judged, now: Judged, *, least: float) -> _Kind | None:
    """The kind that is told most clearly from chance, of those that explain at least so much; None: none."""
    if min(len(before), len(now)) < LEAST_ROWS:
        return None
    ranges = [list(one.ranges()) for one in kinds]
    looked_at = sum(map(len, ranges))
    if not looked_at:
        return None
    clear = float(-ndtri(CHANCE / looked_at))
    best: tuple[float, _Kind] | None = None
    for feature, found in enumerate(ranges):
        first, last = np.array(found, dtype=np.int64).T
        effects, errors, clustered, there = [], [], [], []
        blocks = math.inf
        for judged in (before, now):
            counts, losses, squares = _tables(judged, feature)
            whole = _kind_sums(counts.sum(0), losses.sum(0), first, last)
            effects.append(whole.effect())
            errors.append(_variance_of_rows(whole, _between(squares, first, last), float(squares.sum())))
            each = _kind_sums(counts.sum(0) - counts, losses.sum(0) - losses, first, last).effect()
            clustered.append(_variance_of_blocks(each))
            there.append((whole.rows, whole.all_rows - whole.rows))
            blocks = min(blocks, len(counts))
        enough = np.maximum(there[0][0], there[1][0]) >= LEAST_OF_KIND
        enough &= np.minimum(there[0][1], there[1][1]) >= LEAST_OF_KIND
        surely = float(stdtrit(blocks - 1, 1 - CHANCE / len(kinds)))
        # A kind that is all rows of a time has no others: what is not a number there is above no bound.
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = effects[1] - effects[0]
            by_rows, by_blocks = (np.sqrt(sum(parts)) for parts in (errors, clustered))
            score = np.where(enough & (gain >= least) & (gain > surely * by_blocks), gain / by_rows, -np.inf)
        top = int(np.argmax(score))
        if score[top] > clear and (best is None or score[top] > best[0]):
            best = float(score[top]), _Kind(feature, int(first[top]), int(last[top]))
    return None if best is None else best[1]


def _tables(judged: Judged, feature: int) -> tuple[Floats, Floats, Floats]:
    """(blocks, cells) rows and losses, and (cells,) squared losses, by the kinds of one feature."""
    code = judged.codes[:, feature].astype(np.int64)
    size = int(judged.blocks.max()) + 1
    place = judged.blocks * CELLS + code
    counts = np.bincount(place, minlength=size * CELLS).reshape(size, CELLS).astype(np.float64)
    losses = np.bincount(place, judged.losses, minlength=size * CELLS).reshape(size, CELLS)
    kept = counts.sum(axis=1) > 0
    squares = np.bincount(code, judged.losses**2, minlength=CELLS).astype(np.float64)
    return counts[kept], losses[kept], squares


def _kind_sums(counts: Floats, losses: Floats, first: NDArray[np.int64], last: NDArray[np.int64]) -> _Sums:
    return _Sums(
        _between(counts, first, last),
        _between(losses, first, last),
        counts.sum(axis=-1, keepdims=True),
        losses.sum(axis=-1, keepdims=True),
    )


def _between(cells: Floats, first: NDArray[np.int64], last: NDArray[np.int64]) -> Floats:
    """Sums of the cells from `first` to `last`."""
    before = np.concatenate([np.zeros((*cells.shape[:-1], 1)), np.cumsum(cells, axis=-1)], axis=-1)
    found: Floats = before[..., last + 1] - before[..., first]
    return found


def _variance_of_rows(sums: _Sums, squares: Floats, all_squares: float) -> Floats:
    """Of the effect, as if each row were drawn by itself (delta method)."""
    total, rows = sums.all_rows, sums.rows
    others = total - rows
    with np.errstate(divide="ignore", invalid="ignore"):
        share = rows / total
        own, other = sums.losses / rows, (sums.all_losses - sums.losses) / others
        own_variance = np.maximum(squares / rows - own**2, 0.0) / rows
        other_variance = np.maximum((all_squares - squares) / others - other**2, 0.0) / others
        found = share**2 * (own_variance + other_variance) + share * (1 - share) / total * (own - other) ** 2
    return np.where(rows > 0, found, 0.0)


def _variance_of_blocks(left_out: Floats) -> Floats:
    """Of a statistic, by its values with each block left out: (blocks, ...) -> (...); the jackknife."""
    count = len(left_out)
    with np.errstate(invalid="ignore"):
        found: Floats = (count - 1) / count * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
    return found


def _accounted(
    found: Causes, kinds: Sequence[Kinds], chosen: Sequence[_Kind], before: Judged, now: Judged
) -> Causes:
    """Divides the rise among the chosen kinds and what all other rows have in common."""
    tables = [_by_kind(judged, chosen) for judged in (before, now)]
    whole = _Division.of(*(table.sum(axis=1) for table in tables))
    variance = sum(
        _variance_of_blocks(np.stack([one.parts for one in _left_out(tables, side)])) for side in range(2)
    )
    blocks = min(table.shape[1] for table in tables)
    margins = float(stdtrit(blocks - 1, (1 + CONFIDENCE) / 2)) * np.sqrt(variance)
    causes = [
        Cause(
            feature=kinds[kind.feature].feature,
            what=kinds[kind.feature].name(kind.first, kind.last),
            share=float(whole.shares[1][place]),
            reference_share=float(whole.shares[0][place]),
            loss=_known(whole.losses[1][place]),
            reference_loss=_known(whole.losses[0][place]),
            mix=float(whole.mix[place]),
            within=float(whole.within[place]),
            margin=float(margins[place]),
        )
        for place, kind in enumerate(chosen)
    ]
    causes.sort(key=lambda one: -one.explained)
    return replace(
        found, causes=tuple(causes), unexplained=float(whole.parts[-1]), unexplained_margin=float(margins[-1])
    )


def _by_kind(judged: Judged, chosen: Sequence[_Kind]) -> Floats:
    """(2, blocks, kinds + 1): rows and losses of each chosen kind, and of all others last."""
    place = np.full(len(judged), len(chosen), dtype=np.int64)
    for number, kind in reversed(list(enumerate(chosen))):
        place[kind.rows(judged)] = number
    size, width = int(judged.blocks.max()) + 1, len(chosen) + 1
    flat = judged.blocks * width + place
    found: Floats = np.stack(
        [
            np.bincount(flat, minlength=size * width).astype(np.float64),
            np.bincount(flat, judged.losses, minlength=size * width),
        ]
    ).reshape(2, size, width)
    return found


@dataclass(frozen=True)
class _Division:
    """A rise in parts that make it up exactly; the last kind is that of all other rows."""

    shares: tuple[Floats, Floats]
    losses: tuple[Floats, Floats]
    """nan of a kind without rows."""
    mix: Floats
    within: Floats
    parts: Floats
    """What each kind explains, and last what all other rows rose by."""

    @classmethod
    def of(cls, before: Floats, now: Floats) -> _Division:
        """Of (2, kinds): rows and losses."""
        shares, losses = [], []
        for rows, sums in (before, now):
            shares.append(rows / rows.sum())
            losses.append(np.divide(sums, rows, out=np.full(len(rows), np.nan), where=rows > 0))
        # A kind that was not there, or is no more, has one loss to compare with itself: what it explains is its share.
        was, is_now = (np.where(np.isnan(one), other, one) for one, other in (losses, losses[::-1]))
        common = is_now[-1] - was[-1]
        mix = (shares[1] - shares[0]) * ((was + is_now) - (was[-1] + is_now[-1])) / 2
        within = (shares[0] + shares[1]) / 2 * (is_now - was - common)
        lone = np.minimum(before[0], now[0]) < LEAST_OF_KIND
        mix, within = np.where(lone, mix + within, mix), np.where(lone, 0.0, within)
        parts = np.append((mix + within)[:-1], common)
        return cls((shares[0], shares[1]), (losses[0], losses[1]), mix, within, parts)


def _left_out(tables: Sequence[Floats], side: int) -> list[_Division]:
    """The division with each block of one side left out."""
    found = []
    for block in range(tables[side].shape[1]):
        sums = [table.sum(axis=1) for table in tables]
        sums[side] = sums[side] - tables[side][:, block]
        found.append(_Division.of(*sums))
    return found


def _known(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
