"""What offline metrics are, with how sure they are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from capstan.evaluation.slices import Slice
from capstan.tasks.metric import Floats

CONFIDENCE = 0.95
"""Of every interval."""
RESAMPLES = 1000


@dataclass(frozen=True)
class Figure:
    """One metric of the table."""

    name: str
    title: str
    better: str
    """Higher or Lower."""
    value: float
    """nan where the rows do not define it."""
    low: float
    """Lower end of the interval of 95 %; nan where nothing says how sure the value is."""
    high: float
    note: str = ""
    """What somebody must know who reads the value; empty: nothing."""


@dataclass(frozen=True)
class Evaluation:
    """All metrics of one table."""

    task: str
    rows: int
    """Rows that were judged."""
    left_out: int
    """Rows without a label."""
    drawn_by: str
    """What was drawn with replacement for the intervals, in words."""
    figures: tuple[Figure, ...]
    slices: tuple[Slice, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    """Tables and notes, as a task's details are."""


def mean_with_interval(values: Floats, rng: np.random.Generator) -> tuple[float, float, float]:
    """The mean of rows and its 95 % interval by drawing rows with replacement (Efron & Tibshirani 1993, ch. 13).

    One row drawn again and again is always itself, and says nothing of how sure it is.
    """
    if len(values) < 2:
        return float(values.mean()) if len(values) else math.nan, math.nan, math.nan
    drawn = np.array([values[rng.integers(0, len(values), len(values))].mean() for _ in range(RESAMPLES)])
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(values.mean()), float(low), float(high)
