"""Takes payloads, labels and events durably, and turns them into Parquet in the background.

An append to the write-ahead log comes before every acknowledgement; a flush is a pure function of one log file, so a
crash at any point repeats it with the same result. In memory are the log's bytes, the ledger's counts and the ids of
recent requests.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from capstan.errors import CapstanError, InvalidRequestError
from capstan.files import write_whole
from capstan.recording.blocks import Judged, Refusal, Rows, accepted, count_of, judge, parse_blocks
from capstan.recording.collector.boots import Heading
from capstan.recording.collector.declarations import Declarations
from capstan.recording.collector.ledger import Judgement, Ledger, restore
from capstan.recording.collector.recent_requests import RecentRequests
from capstan.recording.collector.write_ahead_log import WriteAheadLog
from capstan.recording.events import EVENTS, Event
from capstan.recording.labels import FEEDBACK
from capstan.recording.payloads import columns_of
from capstan.recording.posted import Entry, Form
from capstan.recording.segments import (
    clear_unfinished,
    dated_segment,
    merge_small,
    payload_segment,
    write_segment,
)

LOG_BYTES = 8 * 2**20
"""A log file is flushed when it has grown to this, whatever the timer says: bounds memory and the time of a flush."""
KEPT_BYTES = 2 * LOG_BYTES
"""Bytes of bodies whose payloads are kept as they were read, so that a flush need not read them again; of more, where
flushes fail for a while, the log alone is left. In memory they take up to eight times as much, of short numbers.
"""


_FORMS = {form.name: form for form in (FEEDBACK, EVENTS)}


class Taken(NamedTuple):
    """Entries of one body, which are durable."""

    form: Form
    system: str
    entries: list[Entry]
    known: frozenset[int]
    """Positions of those that say nothing new."""
    match: bool
    """Whether the sender wants to hear which requests they are about."""


class Intake:
    """One per machine; `receive`, `feedback` and `events` on one thread, `flush` on any."""

    def __init__(
        self, directory: Path, systems: Path, *, sync: bool = False, secrets: Path | None = None
    ) -> None:
        """Recover what an earlier process took. `systems` holds one folder per system, `secrets` files NAME/KEY."""
        self._secrets = secrets
        self._directory = directory
        self._systems = systems
        self._flushing = threading.Lock()
        self._declarations = Declarations(systems)
        state = directory / "state.json"
        stored = orjson.loads(state.read_bytes()) if state.exists() else None
        self.ledger = restore(stored["ledger"]) if stored else Ledger()
        self.recent = RecentRequests()
        self._flushed = stored["flushed"] if stored else 0
        self._log = WriteAheadLog(directory / "wal", after=self._flushed, sync=sync)
        self._sealed: dict[int, dict[str, Any]] = {}
        """Number of each file that waits for its flush -> the ledger at its end."""
        self._skips: dict[int, dict[int, frozenset[int]]] = defaultdict(dict)
        """File -> record -> positions not taken; empty but for duplicates and poison."""
        self._kept: dict[int, dict[int, list[Rows]]] = defaultdict(dict)
        """File -> record -> what was taken of it."""
        self._kept_bytes: dict[int, int] = defaultdict(int)
        """File -> bytes of the bodies of those."""
        self._records = 0
        self._began = datetime.now(UTC)
        self._heard: dict[str, datetime] = {}
        """When each boot last spoke to this process; others may have spoken to the one before."""
        for folder in self._known_systems():
            clear_unfinished([folder / "payloads", *(folder / name for name in _FORMS)])
        for number in self._log.numbers():
            if number <= self._flushed:
                self._log.remove(number)
                continue
            self._recover(number)

    @property
    def is_full(self) -> bool:
        """Whether the log should be flushed now."""
        return self._log.size >= LOG_BYTES

    @property
    def waiting(self) -> int:
        """Bytes taken but not yet in Parquet."""
        return self._log.size

    def receive(self, heading: Heading | None, body: bytes, received: datetime) -> Judgement:
        """Take a batch of payloads; what is taken is durable on return.

        Raises InvalidRequestError if nothing in it can be taken, DiskFullError with nothing taken.
        """
        judged = self._judge(body)
        if heading is not None:
            if heading.system is not None and not (self._systems / heading.system).is_dir():
                heading = heading._replace(system=None)
            self._heard[heading.boot] = received
            if not judged and not self.ledger.is_news(heading):
                return Judgement(0, 0, [], frozenset())
        if judged and all(block.rows is None for block in judged):
            self.ledger.refused += sum(block.size for block in judged)
            first = judged[0].refused[0]
            raise InvalidRequestError(first.field, first.id, first.rule)
        self._append(
            {"kind": "payloads", "heading": heading and list(heading), "received": received.isoformat()}, body
        )
        judgement = self.ledger.book(heading, judged, received)
        taken = _without(judged, judgement.skipped)
        self._remember(self._log.number, taken)
        if sum([*self._kept_bytes.values()]) + len(body) <= KEPT_BYTES:
            self._kept[self._log.number][self._records] = taken
            self._kept_bytes[self._log.number] += len(body)
        self._skip(judgement.skipped)
        return judgement

    def notice_silence(self, now: datetime, longest: timedelta) -> int:
        """Book as missing what boots have numbered and not handed in that said no last word and nothing for so long.

        Returns how many payloads that are; raises DiskFullError with nothing booked.
        """
        names = [
            name for name in self.ledger.unfinished() if now - self._heard.get(name, self._began) > longest
        ]
        if not names:
            return 0
        self._append({"kind": "silence", "received": now.isoformat()}, orjson.dumps(names))
        self._skip(frozenset())
        for name in names:
            self._heard.pop(name, None)
        return self.ledger.book_silence(names, now)

    def feedback(self, body: bytes, received: datetime, *, system: str | None) -> Taken:
        """Take labels, all or none; raises InvalidRequestError, UnavailableError, DiskFullError."""
        return self._take(FEEDBACK, self._declarations.label_read_as, body, received, system)

    def events(self, body: bytes, received: datetime, *, system: str | None) -> Taken:
        """Take business events, all or none; raises InvalidRequestError, UnavailableError, DiskFullError."""
        return self._take(EVENTS, self._declarations.valued_events, body, received, system)

    def unread(self, taken: Taken) -> list[str]:
        """Names of the taken events that nothing in the system's file reads."""
        if taken.form is not EVENTS:
            return []
        names = {entry.event for entry in taken.entries if isinstance(entry, Event)}
        return sorted(names - self._declarations.read_events(taken.system))

    def _take(
        self,
        form: Form,
        read_as: Callable[[str], object],
        body: bytes,
        received: datetime,
        system: str | None,
    ) -> Taken:
        named, posted, match = form.parse(body)
        owner = self._owner(named or system)
        # Kept with the body: what the file says may be something else when the log is read again.
        said = read_as(owner)
        entries = form.read(posted, said)
        sent = len(entries)
        if (ids := self._declarations.of(owner).ids).secrets:
            # No raw id is written, not even to the log.
            posted = ids.treated(posted, self._secrets)
            entries, body = form.read(posted, said), orjson.dumps({form.name: posted})
        meta = {
            "kind": form.name,
            "system": owner,
            "read_as": said,
            "received": received.isoformat(),
            "sent": sent,
        }
        self._append(meta, body)
        known = self._book(form, owner, entries, sent)
        self._skip(known)
        return Taken(form, owner, entries[:sent], frozenset(at for at in known if at < sent), match)

    def _book(self, form: Form, system: str, entries: list[Any], sent: int) -> frozenset[int]:
        book = self.ledger.book_labels if form is FEEDBACK else self.ledger.book_events
        return book(system, entries, sent)

    def seal(self) -> None:
        """End the current log file, on the takers' thread; `flush_sealed` may then run on any."""
        if self._log.size:
            self._sealed[self._log.number] = self.ledger.dump()
            self._log.rotate()
            self._records = 0

    def flush_sealed(self) -> None:
        """Everything in sealed files is in Parquet on return; raises DiskFullError, losing nothing."""
        with self._flushing:
            for number in sorted(self._sealed):
                self._flush_file(number)

    def flush(self) -> None:
        """Everything taken before the call is in Parquet on return; raises DiskFullError, losing nothing."""
        self.seal()
        self.flush_sealed()

    def forget(self, system: str, cases: Collection[str]) -> None:
        """Keep no trace of what was said of these cases, once everything is flushed; raises DiskFullError."""
        self.ledger.forget(system, cases)
        state = self._directory / "state.json"
        if state.exists():
            stored = orjson.loads(state.read_bytes())
            write_whole(state, orjson.dumps({**stored, "ledger": self.ledger.dump()}))

    def close(self) -> None:
        self.flush()
        self._log.close()

    def _flush_file(self, number: int) -> None:
        skips, kept = self._skips.get(number, {}), self._kept.get(number, {})
        payloads: dict[tuple[str, date], list[tuple[Rows, datetime]]] = defaultdict(list)
        posted: dict[tuple[str, str], list[tuple[Entry, datetime]]] = defaultdict(list)
        for index, record in enumerate(self._log.read(number)):
            meta = orjson.loads(record.meta)
            received = datetime.fromisoformat(meta["received"])
            skipped = skips.get(index, frozenset())
            if meta["kind"] == "silence":
                continue
            if meta["kind"] in _FORMS:
                posted[meta["system"], meta["kind"]].extend(
                    (entry, received)
                    for position, entry in enumerate(_entries(meta, record.body))
                    if position not in skipped
                )
                continue
            for rows in kept[index] if index in kept else _taken(record.body, skipped):
                for day, part in rows.by_day():
                    payloads[rows.system, day].append((part, received))
        touched: set[Path] = set()
        for (system, day), parts in sorted(payloads.items(), key=lambda one: one[0]):
            path = payload_segment(self._systems / system / "payloads", day, number)
            write_segment(
                path, columns_of(parts, self._declarations.of(system).kinds, self._declarations.task(system))
            )
            touched.add(path.parent)
        for (system, name), entries in sorted(posted.items()):
            if entries:
                directory = self._systems / system / name
                table = _FORMS[name].table(entries)
                write_segment(dated_segment(directory, number, table), table)
                touched.add(directory)
        self._record_flush(number)
        for folder in sorted(touched):
            merge_small(folder)

    def _record_flush(self, number: int) -> None:
        dump = self._sealed[number]
        for system, losses in self._losses(dump).items():
            write_whole(self._systems / system / "payloads" / "losses.json", orjson.dumps(losses))
        write_whole(self._directory / "state.json", orjson.dumps({"flushed": number, "ledger": dump}))
        self.recent.move_to_stored(number)
        self._log.remove(number)
        del self._sealed[number]
        self._skips.pop(number, None)
        self._kept.pop(number, None)
        self._kept_bytes.pop(number, None)

    def _losses(self, dump: Mapping[str, Any]) -> dict[str, dict[str, dict[str, int]]]:
        """Losses by system. A boot of which nothing was ever stored has named no system; one alone is meant."""
        losses: dict[str, dict[str, dict[str, int]]] = dict(dump["losses"])
        nameless = losses.pop("", {})
        known = self._known_systems()
        if nameless and len(known) == 1:
            own = {version: dict(days) for version, days in losses.get(known[0].name, {}).items()}
            for version, days in nameless.items():
                for day, payloads in days.items():
                    own.setdefault(version, {})[day] = own.get(version, {}).get(day, 0) + payloads
            losses[known[0].name] = own
        return losses

    def _remember(self, number: int, taken: list[Rows]) -> None:
        for rows in taken:
            self.recent.add(number, rows)

    def _skip(self, positions: frozenset[int]) -> None:
        if positions:
            self._skips[self._log.number][self._records] = positions
        self._records += 1

    def _append(self, meta: dict[str, object], body: bytes) -> None:
        number = self._log.number
        try:
            self._log.append(orjson.dumps(meta), body)
        except CapstanError:
            if self._log.number != number:
                self._sealed[number] = self.ledger.dump()
                self._records = 0
            raise

    def _judge(self, body: bytes) -> list[Judged]:
        known: dict[str, bool] = {}
        judged: list[Judged] = []
        sent = parse_blocks(body)
        for block in sent.blocks:
            found = judge(block, strict=sent.strict)
            rows = found.rows
            if rows is not None:
                if rows.system not in known:
                    known[rows.system] = (self._systems / rows.system).is_dir()
                if not known[rows.system]:
                    rule = "names a system that is not here"
                    refused = {
                        at: Refusal(f"{rows.boot}-{number}", "system", rule)
                        for at, number in enumerate(rows.sequences)
                    }
                    found = Judged(None, found.size, refused)
            judged.append(found)
        return judged

    def _owner(self, system: str | None) -> str:
        known = [folder.name for folder in self._known_systems()]
        if system is None and len(known) == 1:
            return known[0]
        if system not in known:
            raise InvalidRequestError(
                "system", system, f"must be one of {', '.join(known) or '(no system yet)'}"
            )
        return system

    def _known_systems(self) -> list[Path]:
        return sorted(path for path in self._systems.glob("*") if path.is_dir())

    def _recover(self, number: int) -> None:
        """Fold a file that an earlier process left into the ledger, deciding again as it did."""
        for index, record in enumerate(self._log.read(number)):
            meta = orjson.loads(record.meta)
            received = datetime.fromisoformat(meta["received"])
            skipped: frozenset[int] = frozenset()
            if meta["kind"] == "silence":
                self.ledger.book_silence(orjson.loads(record.body), received)
            elif meta["kind"] in _FORMS:
                entries = _entries(meta, record.body)
                skipped = self._book(_FORMS[meta["kind"]], meta["system"], entries, meta["sent"])
            else:
                heading = Heading(*meta["heading"]) if meta["heading"] else None
                judged = self._judge(record.body)
                skipped = self.ledger.book(heading, judged, received).skipped
                self._remember(number, _without(judged, skipped))
            if skipped:
                self._skips[number][index] = skipped
        self._sealed[number] = self.ledger.dump()


def _entries(meta: Mapping[str, Any], body: bytes) -> list[Any]:
    form = _FORMS[meta["kind"]]
    return form.read(form.parse(body).entries, meta["read_as"])


def _without(judged: list[Judged], skipped: frozenset[int]) -> list[Rows]:
    """The payloads of blocks, without those at the positions."""
    found, first = [], 0
    for block in judged:
        rows = block.rows
        if rows is not None and skipped:
            rows = rows.take([at for at in range(block.size) if first + at not in skipped])
        if rows is not None and len(rows):
            found.append(rows)
        first += block.size
    return found


def _taken(body: bytes, skipped: frozenset[int]) -> Iterator[Rows]:
    """The payloads of a body that was judged before, without those at the positions."""
    first = 0
    for block in parse_blocks(body).blocks:
        count = count_of(block)
        # A block of which nothing was taken may be none that can be read.
        bad = {at - first for at in skipped if first <= at < first + count}
        if len(bad) < count:
            rows = accepted(block, bad)
            yield rows.take([at for at in range(count) if at not in bad]) if bad else rows
        first += count
