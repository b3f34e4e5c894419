"""Replays recorded rows as live traffic in event time.

Event time moves from boundary to boundary: the ends of ticks, the moments at which charged work becomes visible, and
the moments at which the engine asked to be called again. Between two boundaries only requests flow; at a boundary event
time stands still until labels are in, windows are decided, alerts have settled and the engine has nothing left to do.
So the decisions depend on the data alone, however fast the machine is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

import numpy as np
import orjson
from numpy.typing import NDArray

from capstan.embedded.clocks import ReplayClock
from capstan.embedded.replay.client import Answered, Prediction
from capstan.embedded.replay.fixed_durations import FixedDurations
from capstan.embedded.replay.recorded_rows import RecordedTraffic
from capstan.files import write_whole


class Reacting(Protocol):
    """Users who do something with their answers."""

    def between(self, start: datetime, end: datetime) -> list[dict[str, object]]:
        """Events that happen in (start, end], as a client posts them."""
        ...


@dataclass(frozen=True)
class Requests:
    """Some of the recorded requests, in their order."""

    traffic: RecordedTraffic
    numbers: Sequence[int]

    def __iter__(self) -> Iterator[Prediction]:
        """Each as a client sends it."""
        traffic = self.traffic
        for request in self.numbers:
            yield Prediction(
                body=traffic.bodies[request],
                key=traffic.keys[request],
                event_time=_rfc3339(int(traffic.event_times[request])),
                request_id=traffic.request_id(request),
            )


@dataclass(frozen=True)
class Labels:
    """Labels of some of the recorded cases."""

    traffic: RecordedTraffic
    cases: NDArray[np.int64]

    def __iter__(self) -> Iterator[dict[str, object]]:
        """Each as a client posts it."""
        traffic = self.traffic
        for case in self.cases.tolist():
            label: dict[str, object] = {
                "id": traffic.entity_ids[case],
                "availableAt": _rfc3339(int(traffic.label_times[case])),
            }
            if traffic.labels[case] is None:
                label["noLabel"] = True
            else:
                label["label"] = traffic.labels[case]
            yield label


class Sending(Protocol):
    """Who answers the requests."""

    def send(self, predictions: Requests, *, stop: Callable[[], bool] = lambda: False) -> Answered:
        """Send them all and wait for every answer; `stop` ends early."""
        ...


class Settling(Protocol):
    """What happens while event time stands still."""

    def post_labels(self, labels: Labels) -> None: ...

    def post_events(self, events: list[dict[str, object]]) -> None: ...

    def store_answers(self) -> None:
        """All that was answered is stored on return."""
        ...

    def answered_since(self, moment: datetime) -> set[str]:
        """Entity ids whose predictions at or after the moment are stored already."""
        ...

    def settle(self) -> timedelta | None:
        """Decide windows, settle alerts, reconcile until quiet; returns after what time to look again, if at all."""
        ...


@dataclass
class Journal:
    """Where a replay stands; written at every boundary, so that a killed replay goes on where it was."""

    position: datetime
    """Event time up to which everything is settled."""
    answered: Answered = field(default_factory=Answered)
    wake: datetime | None = None
    settling: datetime | None = None
    """Boundary up to which everything was sent and which is being settled; None between two boundaries."""
    share: float | None = None
    """Share of the recorded cases that is sent; None before the first of them."""

    @property
    def now(self) -> datetime:
        """Event time: it never runs back, not even for a replay that was killed while it settled a boundary."""
        return self.settling or self.position

    def save(self, path: Path | None, charges: FixedDurations) -> None:
        """None: nobody goes on with it."""
        if path is None:
            return
        document = {
            "position": self.position,
            "wake": self.wake,
            "settling": self.settling,
            "share": self.share,
            "sent": self.answered.sent,
            "failed": self.answered.failed,
            "failures": self.answered.failures,
            "charges": charges.dump(),
        }
        write_whole(path, orjson.dumps(document, option=orjson.OPT_INDENT_2))


def load_journal(path: Path, start: datetime) -> tuple[Journal, FixedDurations]:
    """The stored journal, or a new one at `start`."""
    if not path.exists():
        return Journal(position=start), FixedDurations()
    document = orjson.loads(path.read_bytes())
    journal = Journal(
        position=datetime.fromisoformat(document["position"]),
        answered=Answered(sent=document["sent"], failed=document["failed"], failures=document["failures"]),
        wake=datetime.fromisoformat(document["wake"]) if document["wake"] else None,
        settling=datetime.fromisoformat(document["settling"]) if document.get("settling") else None,
        share=document.get("share"),
    )
    return journal, FixedDurations(
        {work: datetime.fromisoformat(due) for work, due in document["charges"].items()}
    )


def local_midnight(day: datetime, zone: ZoneInfo) -> datetime:
    """The midnight, in the system's zone, that begins the day of an aware moment."""
    return datetime.combine(day.astimezone(zone).date(), time(), tzinfo=zone).astimezone(UTC)


def next_tick(moment: datetime, tick: timedelta, zone: ZoneInfo) -> datetime:
    """The end of the tick that contains the moment; whole days end at local midnight, through changes of clock."""
    if tick % timedelta(days=1) == timedelta(0):
        date = moment.astimezone(zone).date() + tick
        return datetime.combine(date, time(), tzinfo=zone).astimezone(UTC)
    midnight = local_midnight(moment, zone)
    return midnight + ((moment - midnight) // tick + 1) * tick


class Replay:
    """One pass over recorded traffic."""

    def __init__(
        self,
        traffic: RecordedTraffic,
        *,
        client: Sending,
        clock: ReplayClock,
        charges: FixedDurations,
        settling: Settling,
        journal: Journal,
        journal_path: Path | None,
        end: datetime,
        tick: timedelta,
        zone: ZoneInfo,
        stop: Callable[[], bool],
        progress: Callable[[Journal], None],
        reactions: Reacting | None = None,
    ) -> None:
        self._traffic = traffic
        self._client = client
        self._clock = clock
        self._charges = charges
        self._settling = settling
        self._journal = journal
        self._journal_path = journal_path
        self._end = end
        self._tick = tick
        self._zone = zone
        self._stop = stop
        self._progress = progress
        self._reactions = reactions

    def run(self) -> Answered:
        """Send everything up to the end, or until told to stop; returns what became of the requests."""
        journal = self._journal
        self._clock.advance_to(journal.now)
        # The fixed duration is noted before its work begins; after a kill nobody could tell when the work began.
        self._charges.keep = lambda: journal.save(self._journal_path, self._charges)
        resent = self._traffic.requests_of(self._settling.answered_since(journal.now))
        self._settle(journal.position, journal.now)
        journal.answered.sent += len(resent)
        while journal.position < self._end and not self._stop():
            boundary = self._next_boundary(journal.position)
            answered = self._client.send(self._requests(journal.position, boundary, resent), stop=self._stop)
            journal.answered.add(answered)
            if self._stop():
                break
            resent = set()
            self._clock.advance_to(boundary)
            self._settle(journal.position, boundary)
            self._progress(journal)
        return journal.answered

    def _next_boundary(self, position: datetime) -> datetime:
        candidates = [next_tick(position, self._tick, self._zone), self._end]
        due = self._charges.next_due(position)
        if due is not None:
            candidates.append(due)
        if self._journal.wake is not None and self._journal.wake > position:
            candidates.append(self._journal.wake)
        return min(candidates)

    def _settle(self, previous: datetime, boundary: datetime) -> None:
        self._journal.settling = boundary
        self._journal.save(self._journal_path, self._charges)
        cases = self._traffic.labels_between(previous, boundary)
        if len(cases):
            self._settling.post_labels(Labels(self._traffic, cases))
        if self._reactions is not None and boundary > previous:
            self._settling.store_answers()
            self._settling.post_events(self._reactions.between(previous, boundary))
        requeue_after = self._settling.settle()
        self._journal.position, self._journal.settling = boundary, None
        self._journal.wake = boundary + requeue_after if requeue_after else None
        self._journal.save(self._journal_path, self._charges)

    def _requests(self, start: datetime, end: datetime, skip: set[int]) -> Requests:
        numbers: Sequence[int] = self._traffic.requests_between(start, end)
        return Requests(self._traffic, [one for one in numbers if one not in skip] if skip else numbers)


def _rfc3339(moment_microseconds: int) -> str:
    return datetime.fromtimestamp(moment_microseconds / 1e6, tz=UTC).isoformat().replace("+00:00", "Z")
