"""Whether stored payloads hold the requests that entries are about: newest day first, for as long as there is time."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from capstan.recording.segments import payload_days, segments_of_day

logger = logging.getLogger(__name__)

BATCH_ROWS = 65_536
"""Rows that are in memory at once, with two or three columns."""
_BUFFER_BYTES = 2**20
_READS = 4
_COLUMNS = {"i": "entity_id", "r": "request_id", "u": "unit"}
"""First letter of a case -> the column that holds it."""


class Search(NamedTuple):
    """What a search came to."""

    found: frozenset[str]
    """Cases that an answered request was about."""
    is_whole: bool
    """Whether all days were read, or all cases found."""
    oldest: str | None
    """Oldest day that was read to its end, as all newer ones were; None: no day was."""
    unreadable: str | None = None
    """A day whose segments cannot be read."""


def find_stored(
    directory: Path,
    cases: Iterable[str],
    *,
    until: float,
    is_over: Callable[[], bool] = lambda: False,
    clock: Callable[[], float] = time.monotonic,
) -> Search:
    """Look for the cases (see `Entry.case`) in the payloads of one system, up to the moment `until` of the clock.

    `is_over` is asked now and then whether anybody still wants to know.

    A case that is not found may be in a day that was not read: see `is_whole`. Memory does not grow with what is
    stored.
    """
    wanted: dict[str, set[str]] = {kind: set() for kind in _COLUMNS}
    for case in cases:
        wanted[case[0]].add(case[1:])
    reading = _Reading(wanted, lambda: is_over() or clock() >= until)
    oldest: str | None = None
    unreadable: str | None = None
    try:
        days = payload_days(directory)
    except OSError as error:
        logger.warning("%s cannot be searched: %s", directory, error)
        return Search(frozenset(), False, None, "any day")
    for day in days:
        if reading.has_all or reading.is_late:
            break
        try:
            reading.read_day(directory, day)
        except (OSError, pa.ArrowException) as error:
            logger.warning("payloads of %s cannot be searched: %s", directory / day, error)
            unreadable = unreadable or day.removeprefix("day=")
        else:
            if unreadable is None and not reading.is_cut:
                oldest = day.removeprefix("day=")
    is_whole = reading.has_all or (unreadable is None and not reading.is_cut)
    return Search(frozenset(reading.found), is_whole, oldest, unreadable)


class _Reading:
    def __init__(self, wanted: dict[str, set[str]], is_over: Callable[[], bool]) -> None:
        self._wanted = wanted
        self._sets = {kind: pa.array(list(ids), type=pa.string()) for kind, ids in wanted.items()}
        self._is_over = is_over
        self.found: set[str] = set()
        self.is_cut = False
        """Whether it ended before all was read."""

    @property
    def has_all(self) -> bool:
        return not any(self._wanted.values())

    @property
    def is_late(self) -> bool:
        self.is_cut = self.is_cut or self._is_over()
        return self.is_cut

    def read_day(self, directory: Path, day: str) -> None:
        """Read the segments of the day until all is found or time is over; raises OSError, ArrowException."""
        done: set[str] = set()
        for attempt in range(_READS):
            try:
                for name in segments_of_day(directory, day):
                    if name not in done:
                        self._read(directory / day / name)
                        done.add(name)
                    if self.is_cut or self.has_all:
                        return
            except FileNotFoundError:
                # A merger removed it between the listing and the reading: list again.
                if attempt + 1 == _READS:
                    raise
            else:
                return

    def _read(self, path: Path) -> None:
        kinds = [kind for kind, ids in self._wanted.items() if ids]
        columns = [*(_COLUMNS[kind] for kind in kinds), "role", "status"]
        with pq.ParquetFile(path, buffer_size=_BUFFER_BYTES) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=columns, use_threads=False):
                if self.has_all or self.is_late:
                    return
                answered = pc.and_(pc.equal(batch["status"], 200), pc.not_equal(batch["role"], "shadow"))
                for kind in kinds:
                    self._note(kind, batch[_COLUMNS[kind]], answered)

    def _note(self, kind: str, column: pa.Array, answered: pa.Array) -> None:
        ids = self._wanted[kind]
        if not ids:
            return
        among = pc.is_in(column, value_set=self._sets[kind])
        for identity in pc.unique(column.filter(pc.and_(among, answered))).to_pylist():
            ids.discard(identity)
            self.found.add(f"{kind}{identity}")
