"""Units of arms, added up by the stretch of time in which they were assigned, and by the shares that drew them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from capstan.domain.drawn_shares import read_shares
from capstan.domain.verdicts.evidence import ArmDay, ArmSums, RankSums
from capstan.domain.versions import VersionName
from capstan.recording.arm_ranks import RankTally
from capstan.recording.exact_sums import ExactSums, Floats, Indices
from capstan.recording.moments import from_microseconds, microseconds

_MICROSECOND = timedelta(microseconds=1)
_SUMS = (
    "total",
    "squares",
    "cubes",
    "covariate",
    "covariate_squares",
    "products",
    "covariate_total",
)


@dataclass(frozen=True)
class Units:
    """Some units, each whole and once."""

    first: Indices
    """(n,) microseconds of the first request."""
    arm: Indices
    """(n,) number of the arm that it was assigned to."""
    crossed: npt.NDArray[np.bool_]
    """(n,): whether it met a second arm."""
    outcome: Floats
    """(n,); nan where there is none."""
    covariate: Floats
    """(n,); nan where none is known."""
    shares: npt.NDArray[np.object_] | None = None
    """(n,) the shares by which each was drawn, as its payload spells them, or empty; None: it was not asked for."""


class ArmTally:
    """What is known of the arms, by stretch of time; no order of units changes a bit of it."""

    def __init__(
        self,
        versions: Sequence[VersionName],
        starts: Sequence[datetime],
        *,
        takes: timedelta,
        as_of: datetime,
        cap: float | None,
        by_rank: bool = False,
    ) -> None:
        """`starts` begin the stretches, the last of which has no end; a unit is closed once it `takes` so long."""
        self._versions = versions
        self._starts = np.array([microseconds(start) for start in starts], dtype=np.int64)
        self._open_from = microseconds(as_of) - takes // _MICROSECOND
        self._cap = cap
        self._strata = {(stretch, ""): stretch for stretch in range(len(starts))}
        """Numbers by stretch and by the spelled shares that drew its units; empty: they say none."""
        self._places = len(versions) * len(starts)
        self._counts = {
            name: np.zeros(self._places, dtype=np.int64)
            for name in ("assigned", "closed", "units", "covariate_known")
        }
        self._sums = {name: ExactSums(self._places) for name in _SUMS}
        self.crossed = 0
        self._clipped = 0
        self._ranks = RankTally(len(versions)) if by_rank else None

    def add(self, units: Units) -> None:
        """Count the units; those before the first stretch are of none."""
        stretch = np.searchsorted(self._starts, units.first, side="right") - 1
        inside = stretch >= 0
        place = self._stratum(stretch, units) * len(self._versions) + units.arm
        self.crossed += int((units.crossed & inside).sum())
        closed = inside & (units.first <= self._open_from)
        known = closed & ~np.isnan(units.outcome)
        outcome = self._capped(units.outcome[known])
        self._clipped += int((outcome != units.outcome[known]).sum())
        if self._ranks is not None:
            self._ranks.add(units.arm[known], outcome)
        covariate = self._capped(units.covariate[known])
        has = ~np.isnan(covariate)
        x, y = covariate[has], outcome[has]
        for name, mask in (("assigned", inside), ("closed", closed), ("units", known)):
            self._counts[name] += np.bincount(place[mask], minlength=self._places)
        self._counts["covariate_known"] += np.bincount(place[known][has], minlength=self._places)
        for name, values in (("total", outcome), ("squares", outcome**2), ("cubes", outcome**3)):
            self._sums[name].add(place[known], values)
        if len(x):
            past = {"covariate": x, "covariate_squares": x**2, "products": x * y, "covariate_total": y}
            for name, values in past.items():
                self._sums[name].add(place[known][has], values)

    @property
    def clipped_share(self) -> float:
        units = int(self._counts["units"].sum())
        return self._clipped / units if units else 0.0

    @property
    def too_many_values(self) -> bool:
        return self._ranks is not None and self._ranks.is_full

    def ranks(self) -> dict[VersionName, RankSums]:
        """Of the arms against the first one, over all stretches; empty where they were not asked for or not kept."""
        if self._ranks is None:
            return {}
        found = {version: self._ranks.against_first(arm) for arm, version in enumerate(self._versions) if arm}
        return {version: ranks for version, ranks in found.items() if ranks is not None}

    def stretches(self) -> tuple[ArmDay, ...]:
        """Those in which any unit was assigned, in order; apart by the shares that drew them, where they say these."""
        found = []
        for (stretch, spelled), number in sorted(self._strata.items()):
            places = {
                version: number * len(self._versions) + arm for arm, version in enumerate(self._versions)
            }
            arms = {
                version: self._sums_at(place)
                for version, place in places.items()
                if self._counts["assigned"][place]
            }
            if arms:
                start = from_microseconds(int(self._starts[stretch]))
                found.append(ArmDay(start, arms, read_shares(spelled) or {}))
        return tuple(found)

    def _stratum(self, stretch: Indices, units: Units) -> Indices:
        """Number of each unit's stratum; any for units before the first stretch."""
        if units.shares is None:
            return stretch
        spelled, text = np.unique(units.shares.astype(str), return_inverse=True)
        pairs, pair = np.unique(np.maximum(stretch, 0) * len(spelled) + text, return_inverse=True)
        numbers = [self._number(int(one) // len(spelled), str(spelled[one % len(spelled)])) for one in pairs]
        found: Indices = np.array(numbers, dtype=np.int64)[pair]
        return found

    def _number(self, stretch: int, spelled: str) -> int:
        number = self._strata.setdefault((stretch, spelled), len(self._strata))
        if (number + 1) * len(self._versions) > self._places:
            before, self._places = self._places, 2 * self._places
            for name, counts in self._counts.items():
                self._counts[name] = np.pad(counts, (0, self._places - before))
            for sums in self._sums.values():
                sums.grow(self._places)
        return number

    def _sums_at(self, place: int) -> ArmSums:
        counts = {name: int(found[place]) for name, found in self._counts.items()}
        sums: dict[str, Any] = {name: found.total(place) for name, found in self._sums.items()}
        return ArmSums(**counts, **sums)

    def _capped(self, values: Floats) -> Floats:
        if self._cap is None:
            return values
        capped: Floats = np.clip(values, -self._cap, self._cap)
        return capped
