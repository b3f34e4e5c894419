"""The weights that a bandit gave its arms one after another, as they are kept in a rollout's state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from capstan.domain.traffic import ArmRewards
from capstan.domain.versions import VersionName

MOST_MOVES = 400
"""Moves that are kept; after so many the weights stay as they are."""
MILLIONTHS = 1_000_000
_LONGEST = timedelta(days=3650)
"""No step lasts longer, so that no stretch begins later."""


@dataclass(frozen=True)
class MovedWeights:
    """Weights, what they followed from, and when they held. Whole numbers only: states have no floats."""

    weights: Mapping[VersionName, int]
    """Whole percents in the split's order, the champion first."""
    batch: int = 0
    """Batches that were over when they were found; 0: those that a bandit begins with."""
    since: datetime | None = None
    """System's clock from when on the gateway surely obeyed them; None: not yet."""
    until: datetime | None = None
    """System's clock when the next ones were set; None: they hold."""
    assigned: Mapping[VersionName, int] = field(default_factory=dict)
    """Units that each arm had been assigned when they were found."""
    means: Mapping[VersionName, int] = field(default_factory=dict)
    """Estimated mean outcome of each arm at that time, in millionths."""
    rewards: tuple[ArmRewards, ...] = ()
    """What a router was told, which draws request by request; empty: there is none, or it was told nothing yet."""


def cuts_of(moves: Sequence[MovedWeights], begin: datetime) -> tuple[datetime, ...]:
    """Beginnings of the stretches in which units were assigned by the same weights, and of those between them.

    Between the moment at which weights were set and the one at which the gateway surely obeyed them a unit may have met
    either: such a stretch stands for itself.
    """
    moments = {begin}
    for move in moves:
        moments |= {moment for moment in (move.since, move.until) if moment is not None}
    return tuple(sorted(moment for moment in moments if moment >= begin))


def doubling_cuts(begin: datetime, first: timedelta) -> tuple[datetime, ...]:
    """Beginnings of stretches of which each is as long as all before it; the last has no end.

    So what is known before a stretch is at least as much as what it adds, and there are few stretches however long
    it takes.
    """
    cuts, after = [begin], first
    while after <= _LONGEST:
        cuts.append(begin + after)
        after *= 2
    return tuple(cuts)


def weights_at(moves: Sequence[MovedWeights], start: datetime) -> Mapping[VersionName, int] | None:
    """The weights of the stretch that begins at `start`; None where it lies between two of them."""
    for move in moves:
        if move.since is not None and move.since <= start and (move.until is None or start < move.until):
            return move.weights
    return None
