"""An experiment over time: looks at the end of every block, and blocks as what is independent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from capstan.domain.verdicts.blocks import (
    MAX_AUTOCORRELATION,
    BlockSums,
    autocorrelation,
    independent_size,
    merge,
    residuals,
    sum_blocks,
)
from capstan.domain.verdicts.evidence import LossBlock
from capstan.domain.verdicts.experiments import (
    NO_EFFECT,
    ArmMoments,
    Effect,
    ExperimentRule,
    always_valid,
    always_valid_of_blocks,
)
from capstan.domain.verdicts.quality import LEAST_BLOCKS

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_SURE_BLOCKS = 50
"""Blocks from which their autocorrelation is known well enough."""


@dataclass(frozen=True)
class Look:
    """What was known of an effect at the end of a block."""

    at: datetime
    """Beginning of the block."""
    units: int
    effect: Effect


@dataclass(frozen=True)
class Correlation:
    """How far the differences of neighbouring blocks go together."""

    blocks: int
    """In which both arms have units."""
    left_out: int
    """Blocks in which an arm has none."""
    lag_1: float
    merged: int | None
    """Neighbouring blocks to join so that `lag_1` is at most 0.1; None: the log is too short for any length."""
    dispersion: float | None
    """Variance of the blocks' differences over what their units explain: near 1 where units are independent."""
    dispersion_p: float | None

    def describe(self, name: str) -> str:
        """In words; `name` is that of one block, such as day."""
        chance = f"chance alone gives up to {2 / math.sqrt(max(self.blocks, 1)):.2f}"
        merged = (
            f"no length of at least {LEAST_BLOCKS} blocks keeps it at {MAX_AUTOCORRELATION}"
            if self.merged is None
            else f"{self.merged} merged keep it at {MAX_AUTOCORRELATION}"
            if self.merged > 1
            else "so none are merged"
        )
        unsure = f"; {chance}" if self.blocks < _SURE_BLOCKS else ""
        return f"lag-1 autocorrelation {self.lag_1:+.2f} of {self.blocks} {name}s, {merged}{unsure}"


@dataclass(frozen=True)
class BlockTable:
    """Differences of one arm and control, block by block."""

    starts: tuple[datetime, ...]
    control: tuple[Floats, Floats, Floats, Floats]
    """Units, sums, sums of squares and of cubes of control in each block; outcomes are centred."""
    arm: tuple[Floats, Floats, Floats, Floats]

    @property
    def _usable(self) -> npt.NDArray[np.bool_]:
        usable: npt.NDArray[np.bool_] = (self.control[0] > 0) & (self.arm[0] > 0)
        return usable

    def differences(self) -> tuple[LossBlock, ...]:
        """The block's difference of means times its units, as blocks of paired losses are kept."""
        found = []
        for index in np.flatnonzero(self._usable):
            units = int(self.control[0][index] + self.arm[0][index])
            means = [float(side[1][index] / side[0][index]) for side in (self.control, self.arm)]
            found.append(LossBlock(self.starts[index], units, units * (means[1] - means[0]), 1.0))
        return tuple(found)

    def correlation(self) -> Correlation:
        """Of the blocks' differences around the common one."""
        blocks = self.differences()
        dispersion, chance = self._dispersion(sum_blocks(blocks).difference)
        return Correlation(
            blocks=len(blocks),
            left_out=len(self.starts) - len(blocks),
            lag_1=autocorrelation(residuals(blocks)),
            merged=independent_size(blocks, min_blocks=LEAST_BLOCKS, max_autocorrelation=MAX_AUTOCORRELATION),
            dispersion=dispersion,
            dispersion_p=chance,
        )

    def _dispersion(self, common: float) -> tuple[float | None, float | None]:
        enough = (self.control[0] >= 2) & (self.arm[0] >= 2)
        if enough.sum() < LEAST_BLOCKS:
            return None, None
        variance = np.zeros(int(enough.sum()))
        means = []
        for units, sums, squares, _ in (self.control, self.arm):
            n, s, q = units[enough], sums[enough], squares[enough]
            means.append(s / n)
            variance += np.maximum(q - s * s / n, 0.0) / (n - 1) / n
        if not (variance > 0).all():
            return None, None
        statistic = float((((means[1] - means[0]) - common) ** 2 / variance).sum())
        degrees = len(variance) - 1
        return statistic / degrees, float(chdtrc(degrees, statistic))

    def looks_by_units(self, rule: ExperimentRule) -> list[Look]:
        """The always-valid effect at the end of every block, on all units until then."""
        sides = [[np.cumsum(column) for column in side] for side in (self.control, self.arm)]
        looks = []
        for index, start in enumerate(self.starts):
            control, arm = (
                ArmMoments.of_sums(int(side[0][index]), *(float(column[index]) for column in side[1:]))
                for side in sides
            )
            units = control.units + arm.units
            known = min(control.units, arm.units) >= 2
            effect = (
                always_valid(control, arm, alpha=rule.interval_alpha, planned_units=rule.planned_units)
                if known
                else NO_EFFECT
            )
            looks.append(Look(start, units, effect))
        return looks

    def looks_by_blocks(self, rule: ExperimentRule, planned_blocks: int, size: int) -> list[Look]:
        """The effect after every closed block of `size` merged ones, where blocks are what is independent."""
        looks, sums, units = [], BlockSums(), 0
        for block in merge(self.differences(), size):
            sums, units = sums.add(block.loss_difference, block.count), units + block.count
            effect = always_valid_of_blocks(sums, alpha=rule.interval_alpha, planned_blocks=planned_blocks)
            looks.append(Look(block.start, units, effect if sums.blocks >= LEAST_BLOCKS else NO_EFFECT))
        return looks


def block_table(
    starts: Sequence[datetime], control: tuple[Floats, Codes], arm: tuple[Floats, Codes], centre: float
) -> BlockTable:
    """From outcomes without NaN and the places of their blocks; `centre` keeps sums of squares exact."""
    sides = []
    for values, places in (control, arm):
        centred = values - centre
        squares = centred * centred
        sums = [
            np.bincount(places, weights=weights, minlength=len(starts)).astype(np.float64)
            for weights in (np.ones(len(values)), centred, squares, squares * centred)
        ]
        sides.append((sums[0], sums[1], sums[2], sums[3]))
    return BlockTable(tuple(starts), *sides)
