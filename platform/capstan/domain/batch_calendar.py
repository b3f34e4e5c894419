"""Which rows the next batch of predictions has: those since the last one, at the moments of a calendar."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from capstan.domain.training import RunPhase
from capstan.domain.triggers.schedule import ScheduleTrigger
from capstan.domain.versions import ModelVersion, VersionName

FIRST_WAIT = timedelta(minutes=1)
LONGEST_WAIT = timedelta(hours=1)
"""Between two tries of a batch that fails: the first, doubled up to the longest."""
_MINUTE = timedelta(minutes=1)
MOST_ENDED = 20
"""Batches that are remembered with what became of them."""
MOST_TOLD = 500
"""Characters of why one failed."""


@dataclass(frozen=True)
class Stretch:
    """Rows whose moment is `start` or later and before `end`."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        return f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class BatchOrder:
    """One try of a batch."""

    stretch: Stretch
    version: ModelVersion
    """It predicts all rows of this try, whoever is champion when it ends."""
    attempt: int = 1

    @property
    def key(self) -> str:
        """The same for the same rows, model and try."""
        start, end = self.stretch.start.isoformat(), self.stretch.end.isoformat()
        return f"{start}/{end}/{self.version.digest}/{self.attempt}"


@dataclass(frozen=True)
class BatchStatus:
    """Where a try stands, and what became of its rows once it has succeeded."""

    phase: RunPhase
    message: str = ""
    """Why it failed, or what holds it up."""
    read: int = 0
    written: int = 0
    refused: int = 0
    reasons: tuple[str, ...] = ()
    """Why rows were refused, the most frequent first; not all of them need be named."""
    output: str = ""
    """Folder of its files."""
    unwatched: int = 0
    """Rows that the monitor should have seen and has not."""
    why_unwatched: str = ""
    seconds: float | None = None
    """Of wall time that its process worked; None: it is not known."""


@dataclass(frozen=True)
class BatchTold:
    """What is known of the last try of a batch."""

    stretch: Stretch
    version: VersionName
    attempt: int
    ended_at: datetime | None
    """When its end was seen; None: it is at work."""
    phase: RunPhase
    message: str
    """Why it failed; empty: it did not."""
    read: int
    written: int
    refused: int
    output: str
    seconds: float | None
    """Of wall time that its process worked; None: it is not known."""

    @classmethod
    def of(cls, order: BatchOrder, status: BatchStatus, ended_at: datetime | None) -> BatchTold:
        return cls(
            order.stretch,
            order.version.name,
            order.attempt,
            ended_at,
            status.phase,
            status.message[:MOST_TOLD],
            status.read,
            status.written,
            status.refused,
            status.output,
            status.seconds,
        )


@dataclass(frozen=True)
class BatchState:
    """How far a system's batches are."""

    done_to: datetime | None = None
    """End of the last finished one; None: none was finished yet."""
    begun: BatchOrder | None = None
    """It was begun and is not finished; the same rows come first, whatever the calendar says meanwhile."""
    since: datetime | None = None
    """Moments after it count, before a first batch is finished; None: the calendar was not looked at yet."""
    failures: int = 0
    """In a row."""
    failed_at: datetime | None = None
    told: str = ""
    """What became of the last one that ended, in words."""
    ended: tuple[BatchTold, ...] = ()
    """The newest batches that ended, the oldest first; of each its last try."""

    def follow(self, calendar: ScheduleTrigger, serves_since: datetime, now: datetime) -> BatchState:
        """From the first look on no moment is missed; of those before it the last one alone is made up for."""
        if self.since is not None or self.done_to is not None:
            return self
        last = calendar.last(now)
        before = calendar.last(last - _MINUTE) if last is not None else None
        return replace(self, since=serves_since if before is None else max(serves_since, before))

    def begin(self, stretch: Stretch, version: ModelVersion) -> BatchState:
        """The next try of what was begun, or the first of what is due."""
        return replace(self, begun=BatchOrder(stretch, version, self.failures + 1))

    def finish(self, told: str, status: BatchStatus, now: datetime) -> BatchState:
        """What was begun is finished."""
        end = self.begun.stretch.end if self.begun is not None else self.done_to
        return BatchState(done_to=end, told=told, ended=self._ended(status, now))

    def fail(self, told: str, status: BatchStatus, now: datetime) -> BatchState:
        """What was begun is tried again later."""
        return replace(
            self, failures=self.failures + 1, failed_at=now, told=told, ended=self._ended(status, now)
        )

    def _ended(self, status: BatchStatus, now: datetime) -> tuple[BatchTold, ...]:
        if self.begun is None:
            return self.ended
        others = [one for one in self.ended if one.stretch != self.begun.stretch]
        return (*others, BatchTold.of(self.begun, status, now))[-MOST_ENDED:]

    @property
    def listed(self) -> tuple[BatchTold, ...]:
        """`ended` and the one that is at work, which comes last."""
        if self.begun is None or self.has_failed:
            return self.ended
        running = BatchTold.of(self.begun, BatchStatus(RunPhase.RUNNING), None)
        return (*(one for one in self.ended if one.stretch != running.stretch), running)

    @property
    def has_failed(self) -> bool:
        """Whether the last try of what was begun has failed, and the next is not begun."""
        return self.begun is not None and self.begun.attempt <= self.failures

    @property
    def again_at(self) -> datetime | None:
        """When what has failed is tried again; None: nothing has."""
        if self.failed_at is None or not self.has_failed:
            return None
        wait: timedelta = min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(self.failures - 1, 10))
        return self.failed_at + wait


def next_batch(
    calendar: ScheduleTrigger, state: BatchState, *, since: datetime, now: datetime
) -> Stretch | None:
    """The rows of the try that is to begin now; None: nothing is due, or a try is at work.

    `since`: `state.since`. Moments up to it are not made up for. After moments that nobody was there for, one batch has
    the rows of all of them.
    """
    if state.begun is not None:
        # A clock that was put back is no reason to wait for it.
        is_early = (
            state.again_at is not None
            and state.failed_at is not None
            and state.failed_at <= now < state.again_at
        )
        return state.begun.stretch if state.has_failed and not is_early else None
    end = calendar.last(now)
    if end is None or end <= (state.done_to or since):
        return None
    start = state.done_to or calendar.last(since)
    return None if start is None else Stretch(start, end)


@dataclass(frozen=True)
class NextStep:
    """What follows for a system's batches from one look."""

    state: BatchState
    start: BatchOrder | None = None
    """To be handed to whoever makes batches."""
    ended: BatchStatus | None = None
    """Of the try that has just ended and is to be told."""
    order: BatchOrder | None = None
    """That try."""
    look_at: datetime | None = None
    """When something changes by time alone; None: nothing does."""


def plan_batch(
    calendar: ScheduleTrigger,
    state: BatchState,
    seen: BatchStatus,
    champion: ModelVersion,
    serves_since: datetime,
    *,
    now: datetime,
) -> NextStep:
    """What to do about batches now. `seen` is of `state.begun`, absent where nothing is begun."""
    state = state.follow(calendar, serves_since, now)
    ended: BatchStatus | None = None
    order = state.begun
    if order is not None and not state.has_failed:
        if seen.phase is RunPhase.SUCCEEDED:
            ended = seen
            state = state.finish(_written(order, seen), seen, now)
        elif seen.phase in (RunPhase.FAILED, RunPhase.CANCELLED):
            told = f"rows of {order.stretch}: {seen.message}"
            ended = seen if told != state.told else None
            state = state.fail(told, seen, now)
        else:
            start = order if seen.phase is RunPhase.ABSENT else None
            return NextStep(state, start)
    due = next_batch(calendar, state, since=state.since or serves_since, now=now)
    if due is not None and ended is None:
        state = state.begin(due, champion)
        return NextStep(state, state.begun)
    look_at = now if due is not None else state.again_at or calendar.next(now)
    return NextStep(state, None, ended, order if ended is not None else None, look_at)


def _written(order: BatchOrder, seen: BatchStatus) -> str:
    why = f" ({seen.reasons[0]}{', …' if len(seen.reasons) > 1 else ''})" if seen.reasons else ""
    blind = (
        f"; the monitor has not seen {seen.unwatched:,} of them: {seen.why_unwatched}"
        if seen.unwatched
        else ""
    )
    return (
        f"rows of {order.stretch}: {seen.read:,} read, {seen.written:,} written, {seen.refused:,} refused{why} "
        f"by {order.version.name}; in {seen.output}{blind}"
    )
