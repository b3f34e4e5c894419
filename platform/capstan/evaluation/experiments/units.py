"""The randomised units of an experiment, each once, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Masks: TypeAlias = Mapping[str, Mask]
"""Arm -> which units are its own."""

SEVERAL = "(several)"
"""Slice of units whose rows say different things."""
NO_SLICE = "(none)"


@dataclass(frozen=True)
class Units:
    """The randomised units of a log, each once; arrays have one place for each, in the order of their names."""

    rows: int
    arms: tuple[str, ...]
    """In alphabetical order."""
    arm: Codes
    """Place in `arms`."""
    metrics: dict[str, Floats]
    """NaN where a unit has no outcome."""
    covariate: Floats | None
    """NaN where a unit has none; None: no covariate was named."""
    slices: dict[str, tuple[tuple[str, ...], Codes]]
    """Column -> its values and each unit's place in them."""
    blocks: tuple[datetime, ...]
    """Beginnings of the blocks in which units were first seen, in order; empty without time."""
    block: Codes | None
    """Place in `blocks`."""
    crossed: int
    """Units that were seen in two arms."""
    crossed_left_out: int
    crossed_examples: tuple[str, ...]

    @property
    def count(self) -> int:
        """Units that belong to one arm."""
        return len(self.arm)

    def members(self, arms: Sequence[str]) -> dict[str, Mask]:
        """Which units belong to each arm; none to one that the log does not know."""
        nobody = np.zeros(self.count, dtype=bool)
        return {arm: self.arm == self.arms.index(arm) if arm in self.arms else nobody for arm in arms}
