"""What the collector has taken, refused and heard to be lost: every payload is in exactly one of these counts.

The ledger is a fold over the records of the write-ahead log: after a crash the same records give the same counts and
the same decisions about duplicates.
"""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from capstan.recording.blocks import Judged, Refusal, Rows
from capstan.recording.collector.boots import Boot, Heading, restore_boot
from capstan.recording.collector.sayings import Sayings, restore_sayings, short
from capstan.recording.events import Event
from capstan.recording.labels import Label
from capstan.recording.moments import from_microseconds

RECENT_REQUESTS = 50_000
"""Attempts of one request count once if their payloads arrive within so many requests of each other."""
MOST_BOOTS = 10_000
EXECUTOR_BOOT = "executor."
"""What the boots of Seldon's executor begin with; it counts no losses itself."""
_ACCOUNTED = ("request_id", "role", "status")
REFUSED, UNPAIRED = "refused", "unpaired"
"""Reasons of losses that the collector alone knows: a breach beside good payloads, half a prediction."""


class Judgement(NamedTuple):
    """Which payloads of a batch are taken."""

    taken: int
    duplicates: int
    refused: list[Refusal]
    skipped: frozenset[int]
    """Positions in the batch, counted through all its blocks, of the payloads that are not taken."""


@dataclass
class Ledger:
    """Counts per boot and in total; grows with boots and gaps only."""

    boots: dict[str, Boot] = field(default_factory=dict)
    stored: int = 0
    lost: int = 0
    refused: int = 0
    duplicates: int = 0
    answered: int = 0
    refused_requests: int = 0
    """Of the answered: requests that a version refused with 4xx."""
    labels: int = 0
    no_labels: int = 0
    label_duplicates: int = 0
    events: int = 0
    events_retracted: int = 0
    event_duplicates: int = 0
    lost_copies: int = 0
    """Of the lost: payloads that stand for no answer to a user, as their producers told."""
    missing: int = 0
    """Numbered by producers that fell silent, never handed in; what comes late after all is taken off again."""
    losses: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    """System -> version -> day of event time (UTC) -> lost, refused or missing payloads."""
    unknown_losses: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    """System -> version -> reason -> losses that no counter of the version itself shows."""
    _requests: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    _labels: Sayings = field(default_factory=Sayings)
    _events: Sayings = field(default_factory=Sayings)

    def book(self, heading: Heading | None, judged: list[Judged], received: datetime) -> Judgement:
        """Take what is new; a repeated batch changes nothing."""
        refused: list[Refusal] = []
        skipped: list[int] = []
        count = 0
        for block in judged:
            refused += block.refused.values()
            # What is refused beside good payloads is booked below.
            skipped += (count + at for at in block.refused)
            if block.rows is not None:
                skipped += (count + at for at in self._take(block.rows, block.refused.keys()))
            count += block.size
        duplicates = len(skipped) - len(refused)
        self.duplicates += duplicates
        if heading is not None:
            # Before its losses are booked: they belong to the version that it names.
            self._introduce(heading)
        if refused and len(refused) < count:
            self._book_refused(heading, refused, received)
        self.refused += len(refused)
        if heading is not None:
            self._hear(heading, received)
        return Judgement(count - len(skipped), duplicates, refused, frozenset(skipped))

    def book_labels(self, system: str, labels: list[Label], sent: int) -> frozenset[int]:
        """Positions of the labels that say nothing new. Of the first `sent` the others are counted.

        What comes after these is the same under older pseudonyms.
        """
        repeated = self._labels.repeated(
            (f"{system}/{label.case}", f"{label.value!r}@{label.available_at}") for label in labels
        )
        new = [label for position, label in enumerate(labels[:sent]) if position not in repeated]
        without = sum(label.value is None for label in new)
        self.no_labels += without
        self.labels += len(new) - without
        self.label_duplicates += min(sent, len(labels)) - len(new)
        return repeated

    def book_events(self, system: str, events: list[Event], sent: int) -> frozenset[int]:
        """Positions of the events that say nothing new. Of the first `sent` the others are counted, corrections too."""
        repeated = self._events.repeated((f"{system}/{event.event_id}", repr(event)) for event in events)
        new = [event for position, event in enumerate(events[:sent]) if position not in repeated]
        retracted = sum(event.retracted for event in new)
        self.events_retracted += retracted
        self.events += len(new) - retracted
        self.event_duplicates += min(sent, len(events)) - len(new)
        return repeated

    def forget(self, system: str, cases: Collection[str]) -> None:
        """Labels of these cases and what they had said are news again; no count changes."""
        self._labels.forget(f"{system}/{case}" for case in cases)

    def unfinished(self) -> list[str]:
        """Boots that have not said their last word and are not known to be silent."""
        return [name for name, boot in self.boots.items() if not boot.ended and not boot.silent]

    def is_news(self, heading: Heading) -> bool:
        """Whether the heading says anything that is not known yet."""
        boot = self.boots.get(heading.boot)
        return (
            boot is None
            or boot.silent
            or heading.ended
            or heading.produced > boot.produced
            or heading.lost > boot.lost
        )

    def book_silence(self, names: list[str], received: datetime) -> int:
        """What these boots have numbered and not handed in is missing from now on; returns how many payloads."""
        found = 0
        for name in names:
            boot = self.boots.get(name)
            if boot is None or boot.ended:
                continue
            boot.silent = True
            if gap := boot.gap:
                found += gap
                self.missing += gap
                day = self._charge(boot, gap, received)
                boot.missing[day] = boot.missing.get(day, 0) + gap
        return found

    def _find(self, boot: Boot, payloads: int) -> None:
        """Payloads that were missing have come, or their producer has told of their loss."""
        while payloads and boot.missing:
            day, missing = next(iter(boot.missing.items()))
            found = min(payloads, missing)
            payloads -= found
            self.missing -= found
            self._charge(boot, -found, None, day)
            if missing > found:
                boot.missing[day] = missing - found
            else:
                del boot.missing[day]

    def _boot(self, name: str) -> Boot:
        if name not in self.boots:
            if len(self.boots) >= MOST_BOOTS:
                # A service that was forgotten would have lost everything anew; of a file of a batch nothing is owed.
                oldest = next((one for one, boot in self.boots.items() if not boot.produced), None)
                del self.boots[oldest or next(iter(self.boots))]
            self.boots[name] = Boot()
        return self.boots[name]

    def _take(self, rows: Rows, refused: Collection[int]) -> list[int]:
        """Count what is new, but for what is refused; returns the positions of the others that are not new."""
        boot, numbers, known = self._boot(rows.boot), rows.sequences, list[int]()
        if refused or not isinstance(numbers, range) or not boot.seen.add_run(numbers):
            asked = [at for at in range(len(rows)) if at not in refused]
            known = [at for at in asked if not boot.seen.add(numbers[at])]
            rows = rows.take(sorted({*asked}.difference(known)))
        if not len(rows):
            return known
        boot.system, boot.version = rows.system, rows.version
        boot.stored += len(rows)
        self.stored += len(rows)
        if boot.missing:
            self._find(boot, len(rows))
        latest = from_microseconds(int(rows.moments.max()))
        boot.latest = latest if boot.latest is None else max(boot.latest, latest)
        self._account(rows)
        return known

    def _account(self, rows: Rows) -> None:
        """One row stands for its request, so that lost rows beside it account for no other request."""
        places = rows.of("row")
        told = [*map(rows.of, _ACCOUNTED)]
        if rows.fixed.keys().isdisjoint(_ACCOUNTED):
            # Rows of one request: only those at the first place are looked at.
            count = places.count(0)
            places, told = [0] * count, [values[:count] for values in told]
        for place, request, role, status in zip(places, *told, strict=True):
            if place == 0 and role not in ("shadow", "batch"):
                self._answer(short(f"{rows.system}/{request}"))
                self.refused_requests += 400 <= status < 500

    def _answer(self, request: bytes) -> None:
        if request in self._requests:
            self._requests.move_to_end(request)
            return
        self._requests[request] = None
        self.answered += 1
        if len(self._requests) > RECENT_REQUESTS:
            self._requests.popitem(last=False)

    def _book_refused(self, heading: Heading | None, refused: list[Refusal], received: datetime) -> None:
        """Payloads refused beside taken ones are lost, and their producer does not know; repeats count once."""
        for refusal in refused:
            name, _, number = refusal.id.rpartition("-")
            boot = self._boot(heading.boot if heading else name or "unknown")
            if number.isascii() and number.isdigit() and not boot.seen.add(int(number)):
                continue
            boot.refused += 1
            self._count_unknown(boot, REFUSED, 1)
            self._lose(boot, 1, received)

    def _introduce(self, heading: Heading) -> None:
        boot = self._boot(heading.boot)
        boot.version = boot.version or heading.version
        boot.system = boot.system or heading.system

    def _hear(self, heading: Heading, received: datetime) -> None:
        boot = self._boot(heading.boot)
        boot.produced = max(boot.produced, heading.produced)
        boot.silent = False
        boot.ended = boot.ended or heading.ended
        self.lost_copies += max(0, heading.lost_copies - boot.lost_copies)
        boot.lost_copies = max(boot.lost_copies, heading.lost_copies)
        more = heading.lost - boot.lost
        if more > 0:
            boot.lost = heading.lost
            self._find(boot, more)
            self._lose(boot, more, received)
            if heading.boot.startswith(EXECUTOR_BOOT):
                self._count_unknown(boot, UNPAIRED, more)

    def _count_unknown(self, boot: Boot, reason: str, payloads: int) -> None:
        if boot.version is not None:
            reasons = self.unknown_losses.setdefault(boot.system or "", {}).setdefault(boot.version, {})
            reasons[reason] = reasons.get(reason, 0) + payloads

    def _lose(self, boot: Boot, payloads: int, received: datetime) -> None:
        self.lost += payloads
        self._charge(boot, payloads, received)

    def _charge(self, boot: Boot, payloads: int, received: datetime | None, day: str = "") -> str:
        """Book a loss on its day, which is returned; `day` names one that a loss is taken off again."""
        if not day:
            moment = boot.latest or received
            day = moment.astimezone(UTC).date().isoformat() if moment else ""
        if boot.version is not None:
            days = self.losses.setdefault(boot.system or "", {}).setdefault(boot.version, {})
            days[day] = days.get(day, 0) + payloads
        return day

    def statistics(self) -> dict[str, Any]:
        """The counts as `GET /stats` tells them."""
        return {
            "boots": {name: boot.statistics() for name, boot in self.boots.items()},
            "stored": self.stored,
            "lost": self.lost,
            "lost_copies": self.lost_copies,
            "missing": self.missing,
            "refused": self.refused,
            "duplicates": self.duplicates,
            "labels": self.labels,
            "no_labels": self.no_labels,
            "label_duplicates": self.label_duplicates,
            "events": self.events,
            "events_retracted": self.events_retracted,
            "event_duplicates": self.event_duplicates,
            "answered": self.answered,
            "refused_requests": self.refused_requests,
        }

    def dump(self) -> dict[str, Any]:
        """Everything as JSON-able data, for `restore`."""
        counts = (
            "stored",
            "lost",
            "refused",
            "duplicates",
            "answered",
            "refused_requests",
            "labels",
            "no_labels",
            "label_duplicates",
            "events",
            "events_retracted",
            "event_duplicates",
            "missing",
            "lost_copies",
        )
        return {
            **{name: getattr(self, name) for name in counts},
            # A copy: the dump is written by another thread, while losses of the next log file are booked.
            "losses": {
                system: {version: dict(days) for version, days in versions.items()}
                for system, versions in self.losses.items()
            },
            "unknown_losses": {
                system: {version: dict(reasons) for version, reasons in versions.items()}
                for system, versions in self.unknown_losses.items()
            },
            "boots": {name: boot.dump() for name, boot in self.boots.items()},
            "requests": base64.b64encode(b"".join(self._requests)).decode(),
            "labels_said": self._labels.dump(),
            "events_said": self._events.dump(),
        }


def restore(data: dict[str, Any]) -> Ledger:
    """The ledger that `dump` wrote."""
    fields = dict(data)
    requests = base64.b64decode(fields.pop("requests"))
    labels, events = (restore_sayings(fields.pop(name)) for name in ("labels_said", "events_said"))
    fields["boots"] = {name: restore_boot(boot) for name, boot in fields["boots"].items()}
    ledger = Ledger(**fields, _labels=labels, _events=events)
    for at in range(0, len(requests), 8):
        ledger._requests[requests[at : at + 8]] = None
    return ledger
