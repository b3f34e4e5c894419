"""How the predictions of two versions differ on the same requests, with labels or without.

Reported and never gated: a model that has learned something new must differ. What it means for users, losses say.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

MOST_DIFFERENT = 10
"""Requests that are listed."""
MOST_SLICES = 20
"""Values of one column that are listed, the largest first."""
SAMPLED = 20_000
"""Pairs from which distributions are read; all where there are no more."""


@dataclass(frozen=True)
class Decile:
    """Pairs of like predictions of the champion."""

    pairs: int
    champion: float
    """Mean."""
    challenger: float


@dataclass(frozen=True)
class OutputCompared:
    """One number that both versions say."""

    name: str
    mean_distance: float
    """Mean absolute difference."""
    shift: float
    """Mean of the challenger less that of the champion."""
    ks: float
    """Largest distance of the two distribution functions, 0-1."""
    wasserstein: float
    """Distance by which the one distribution must be moved on the average, in the output's unit."""
    sampled: int
    """Pairs that `ks`, `wasserstein` and the deciles are read from."""
    deciles: tuple[Decile, ...]
    """In order of the champion's predictions; fewer than ten where many are equal."""


@dataclass(frozen=True)
class SliceCompared:
    """The pairs of one value of one input."""

    column: str
    value: str
    pairs: int
    exact: float
    """Share of pairs that are equal."""
    disagreement: float
    """Share that the two decide differently."""
    mean_distance: float
    shift: float


@dataclass(frozen=True)
class PairShown:
    """One request on which the two differ much."""

    request_id: str
    row: int
    at: datetime
    """Event time."""
    distance: float
    champion: Mapping[str, float | str | None]
    """Outputs by name."""
    challenger: Mapping[str, float | str | None]
    inputs: Mapping[str, bool | int | float | str | None]
    """Those that the file allows to be shown, and no others."""


@dataclass(frozen=True)
class PredictionComparison:
    """Both versions' predictions for the same requests of a span of event time."""

    requests: int = 0
    """Paired."""
    pairs: int = 0
    """Rows of them."""
    exact: float | None = None
    """Share of pairs in which every output is equal to 12 digits; None without pairs."""
    disagreement: float | None = None
    """Share of pairs, or of groups where a task judges those, that the two decide differently."""
    distance: float | None = None
    """Mean distance of two predictions: of a number its absolute difference, of probabilities of classes half of the
    sum of theirs."""
    outputs: tuple[OutputCompared, ...] = ()
    slices: tuple[SliceCompared, ...] = ()
    slices_not_recorded: tuple[str, ...] = ()
    """Columns of `evaluation.slices` that are no inputs of a request."""
    most_different: tuple[PairShown, ...] = ()
    unpaired: int = 0
    """Requests that the champion answered and for which no sound answer of the challenger is stored."""
    unsound: int = 0
    """Those of them that the challenger got and did not answer soundly; the others were not copied, or lost."""
    lost_payloads: int = field(default=0)
    """Payloads of both versions that some producer counted as lost."""

    @property
    def agreement(self) -> float | None:
        return None if self.disagreement is None else 1 - self.disagreement
