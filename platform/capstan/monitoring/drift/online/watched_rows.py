"""What online detectors say of the rows that came since the last look.

No detector is kept: what is kept are the last values that it saw, all on which its next score depends. So the memory
never grows, and the same rows give the same answer after a restart, in a backtest and however often somebody looks.
Rows that come after their hours were looked at are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from capstan.monitoring.drift.online.detectors import Floats, of_usual
from capstan.monitoring.drift.online.lots import BEGUN, as_fed, joined, value_of
from capstan.monitoring.drift.online.reference import OnlineReference
from capstan.monitoring.windows import Gap, Lot, OnlineDrift, OnlineFeature, WindowOutcome
from capstan.spec.units import format_duration

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def cell_at(moment: datetime, cell: timedelta) -> int:
    """Number of the cell that a moment lies in."""
    return (moment - _EPOCH) // cell


def start_of(number: int, cell: timedelta) -> datetime:
    """The first moment of a cell."""
    return _EPOCH + number * cell


class RowsWatch:
    """The online detectors of one version."""

    def __init__(self, reference: OnlineReference, *, by_alibi: bool) -> None:
        """Raises MissingToolError where alibi-detect is wanted and not there."""
        self.reference = reference
        self._detectors = [one.begin(reference.sizes, by_alibi=by_alibi) for one in reference.columns]

    def begin(self, since: datetime) -> OnlineDrift:
        """Before the first row: from the first whole cell on."""
        reference = self.reference
        first = -(-(since - _EPOCH) // reference.cell)
        features = tuple(
            OnlineFeature(one.feature, one.detector, threshold=reference.level or 0.0, carried=BEGUN)
            for one in reference.columns
        )
        return self._told(OnlineDrift(start_of(first, reference.cell), features=features))

    def after(self, before: OnlineDrift, cells: Iterable[Lot], reached: datetime) -> OnlineDrift:
        """With the cells that had rows, in order, up to a moment."""
        lots, begun = joined(before.begun, cells, self.reference.least)
        features, scores = self._fed(before.features, lots)
        found = replace(before, reached=reached, features=features, begun=begun)
        for number, lot in enumerate(lots):
            found = self._with(found, scores[:, number], lot)
        return self._told(found)

    def _fed(
        self, features: Sequence[OnlineFeature], lots: Sequence[Lot]
    ) -> tuple[tuple[OnlineFeature, ...], Floats]:
        """The features with what they keep, and the (features, lots) score of each after each lot; nan: none."""
        most = max(self.reference.sizes) - 1
        scores = np.full((len(features), len(lots)), np.nan)
        found = []
        for place, (feature, column) in enumerate(zip(features, self.reference.columns, strict=True)):
            # The mean of few answers varies more than that of a lot. How many are few goes by the lot: a fixed number
            # would choose the busy hours, in which answers may be others than over the day.
            values = [value_of(lot, place, -(-lot.rows // 2) if column.is_output else 1) for lot in lots]
            there = [number for number, value in enumerate(values) if value is not None]
            fed, carried = as_fed(
                column.detector, [value for value in values if value is not None], feature.carried
            )
            all_of_them = (*feature.kept, *fed)
            if fed:
                told = self._detectors[place].scores(np.array(all_of_them))[len(feature.kept) :]
                scores[place, there] = of_usual(told, column.usual)
            found.append(replace(feature, kept=all_of_them[-most:], carried=carried))
        return tuple(found), scores

    def _with(self, before: OnlineDrift, scores: Floats, lot: Lot) -> OnlineDrift:
        """With one more lot."""
        level = self.reference.level
        assert level is not None
        is_above = bool((scores > level).any())
        since, quiet = before.since, 0 if is_above else before.quiet + 1
        if is_above and since is None:
            since = start_of(lot.end, self.reference.cell)
        elif since is not None and quiet >= max(self.reference.sizes):
            since = None
        goes_on = since is not None and before.since is not None
        features = tuple(
            replace(one, distance=_farthest(one.distance if goes_on else None, float(score), one.distance))
            for one, score in zip(before.features, scores, strict=True)
        )
        return replace(before, features=features, since=since, quiet=quiet, lots=before.lots + 1)

    def _told(self, found: OnlineDrift) -> OnlineDrift:
        reference = self.reference
        if reference.level is None:
            gap = Gap("NotCalibrated", reference.why_not)
            return replace(found, outcome=WindowOutcome.NO_EVIDENCE, gap=gap)
        least = min(reference.sizes)
        if found.lots < least:
            gap = Gap(
                "TooFewRows",
                f"{found.lots} of {least} lots have come, of {reference.least:,} rows in "
                f"{format_duration(reference.cell)} each",
            )
            return replace(found, outcome=WindowOutcome.NO_EVIDENCE, gap=gap)
        outcome = WindowOutcome.FINE if found.since is None else WindowOutcome.BREACH
        return replace(found, outcome=outcome, gap=None)


def _farthest(so_far: float | None, score: float, last: float | None) -> float | None:
    """`so_far`: since a drift was found; None: only the newest counts, or the last where a lot had no value."""
    if score != score:
        return last
    return score if so_far is None else max(so_far, score)
