"""Sends planned traffic through the gateway of a running system, and hands its labels and events in."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np

from capstan.embedded.replay.client import Answer, GatewayClient
from capstan.embedded.traffic.plan import PlannedRequest
from capstan.embedded.traffic.reports import EventRate, Report, events_after, labels_after
from capstan.embedded.traffic.tally import Tally
from capstan.errors import CapstanError
from capstan.tasks.labels import LABELS, Label

HAND_IN_SECONDS = 0.5
"""Seconds between two deliveries of what is due."""
LABEL = "label"


class Desk(Protocol):
    """Where labels and events are handed in."""

    def post_labels(self, labels: Sequence[dict[str, object]], *, system: str | None = None) -> int: ...

    def post_events(self, events: Sequence[dict[str, object]], *, system: str | None = None) -> int: ...


@dataclass(frozen=True)
class Reporting:
    """What users report."""

    label_delay: timedelta | None = None
    """None: labels are kept to themselves."""
    events: tuple[EventRate, ...] = ()
    label: Label = LABELS["Boolean"]
    """How an answer's label is read, to know whether it is right."""


@dataclass
class Outbox:
    """Reports that wait for their time."""

    desk: Desk
    system: str
    tally: Tally
    now: Callable[[], datetime]
    _waiting: list[tuple[datetime, int, Report]] = field(default_factory=list)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def put(self, reports: Iterable[Report]) -> None:
        with self._lock:
            for report in reports:
                heapq.heappush(self._waiting, (report.due, next(self._numbers), report))

    def __len__(self) -> int:
        return len(self._waiting)

    def hand_in(self) -> None:
        """Post what is due; what the collector does not take is counted, and not tried again."""
        now, due = self.now(), []
        with self._lock:
            while self._waiting and self._waiting[0][0] <= now:
                due.append(heapq.heappop(self._waiting)[2])
        labels = [dict(report.body) for report in due if report.kind == LABEL]
        events = [report for report in due if report.kind != LABEL]
        try:
            if labels:
                self.desk.post_labels(labels, system=self.system)
                without = sum("noLabel" in label for label in labels)
                self.tally.labels += len(labels) - without
                self.tally.without_label += without
                labels = []
            if events:
                self.desk.post_events([dict(report.body) for report in events], system=self.system)
                self.tally.events += Counter(report.kind for report in events)
                events = []
        except CapstanError as error:
            self.tally.not_taken += len(labels) + len(events)
            self.tally.why_not_taken = str(error)


def send_traffic(
    planned: Iterable[PlannedRequest],
    *,
    client: GatewayClient,
    desk: Desk,
    system: str,
    reporting: Reporting,
    rng: np.random.Generator,
    now: Callable[[], datetime],
    stop: Callable[[], bool],
    progress: Callable[[Tally], None],
) -> Tally:
    """Send it all, wait for the labels whose delay has begun, and count; `stop` ends both early.

    `rng` decides which answers events follow. `progress` is called every half second, from another thread. What it
    or the desk raises there ends the sending, and is raised here.
    """
    tally = Tally()
    outbox = Outbox(desk, system, tally, now)
    ended = threading.Event()
    broken: list[BaseException] = []

    def tell(request: PlannedRequest, answer: Answer, seconds: float) -> None:
        tally.add(answer, seconds)
        if answer.problem is not None:
            return
        at = now()
        if reporting.label_delay is not None:
            outbox.put(labels_after(request, answer, answered_at=at, delay=reporting.label_delay))
        outbox.put(events_after(request, answer, reporting.events, reporting.label, answered_at=at, rng=rng))

    def look_after() -> None:
        try:
            while not ended.wait(HAND_IN_SECONDS):
                outbox.hand_in()
                progress(tally)
        except BaseException as error:
            # Nobody else would hand labels in, and the sender would wait for them for ever.
            broken.append(error)

    def is_over() -> bool:
        return bool(broken) or stop()

    looking = threading.Thread(target=look_after)
    looking.start()
    try:
        client.send_when_due(planned, tell, stop=is_over)
        while len(outbox) and not is_over():
            ended.wait(HAND_IN_SECONDS)
    finally:
        ended.set()
        looking.join()
    if broken:
        raise broken[0]
    outbox.hand_in()
    tally.labels_left = len(outbox)
    progress(tally)
    return tally
