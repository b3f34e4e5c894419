"""What is stored of some people is erased from the state folder of one system, which must not run meanwhile."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from capstan.domain.reasons import Reason
from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.embedded.wiring import open_store
from capstan.errors import AlreadyRunningError, InvalidDataError, NotFoundError
from capstan.features.pseudonyms import read_pseudonym_keys
from capstan.files import write_whole
from capstan.ports.store import Event, Kind
from capstan.recording.collector.intake import Intake
from capstan.recording.forgetting import Asked, Erased, cases_of, erase
from capstan.recording.sole_process import occupy
from capstan.spec import MLSystem

BROKEN_ROWS = "checks.csv"
SHORTEST_LOOKED_FOR = 5
"""Characters of a value that is looked for in all files."""
LARGEST_LOOKED_INTO = 64 * 2**20
_PACKED = (".parquet", ".joblib", ".gz", ".npy")
"""Ends of files in which a text would not be found."""


@dataclass(frozen=True)
class Forgotten:
    """What was erased, or would be."""

    people: int
    """Values that were named."""
    answers: int
    labels: int
    events: int
    broken_rows: int
    """Lines of the lists of rows that broke a check of a training."""
    named_in: tuple[str, ...] = ()
    """Other files of the state folder in which a value stands as text, by their paths in it."""

    def in_words(self) -> str:
        """Counts, without a value."""
        counted = (
            (self.answers, "stored answer"),
            (self.labels, "label"),
            (self.events, "event"),
            (self.broken_rows, "line of broken rows"),
        )
        named = [f"{count:,} {what if count == 1 else _plural(what)}" for count, what in counted]
        return f"{', '.join(named[:-1])} and {named[-1]}"


def _plural(what: str) -> str:
    return what.replace("line ", "lines ") if what.startswith("line ") else f"{what}s"


def forget(
    system: MLSystem,
    state: StateDir,
    named: Iterable[tuple[str, str]],
    *,
    by: str,
    now: datetime,
    is_trial: bool = False,
) -> Forgotten:
    """Erase what is stored of `named`, pairs of a column and a value, and tell the story how much it was.

    The story holds counts and columns, no value. After a kill the same call erases the rest. Raises
    AlreadyRunningError while the system runs, NotFoundError where nothing of it is stored, InvalidDataError for a
    column that tells nobody apart and for keys that cannot be read, UnavailableError, DiskFullError.
    """
    name = SystemName(system.metadata.name)
    asked = asked_of(system, named, state.secrets)
    folder = state.system(name)
    if not folder.is_dir():
        raise NotFoundError(f"{state.root}: nothing of {name!r} is stored here; name its folder with --state")
    found = Forgotten(sum(len(values) for values in _by_column(named).values()), 0, 0, 0, 0)
    with ExitStack() as held:
        _hold(held, state)
        collector = state.run / "collector"
        held.callback(os.close, occupy(collector, wait_seconds=0))
        intake = Intake(collector, state.root / "systems", secrets=state.secrets)
        held.callback(intake.close)
        # What a killed collector left in its log becomes files, where it is looked for.
        intake.flush()
        for one in asked:
            cases = cases_of(folder, one)
            if not is_trial:
                intake.forget(
                    name, [*(f"i{one}" for one in cases.ids), *(f"r{one}" for one in cases.requests)]
                )
            lines = _broken_rows(state.runs(name), one, cases.ids, is_trial=is_trial)
            erased = erase(folder, one, cases, is_trial=is_trial)
            found = _with(found, erased, lines)
        if not is_trial:
            _tell(state, name, found, [one.column for one in asked], by, now)
    named_in = _files_with(state.root, {value for one in asked for value in one.values})
    return replace(found, named_in=tuple(named_in))


def asked_of(system: MLSystem, named: Iterable[tuple[str, str]], secrets: Path) -> list[Asked]:
    """What is looked for, by column; raises InvalidDataError."""
    keys, found = system.spec.data.keys, []
    privacy = system.spec.data.privacy
    pseudonymised = {
        one.name: one.pseudonymise.key_from.secret_key_ref
        for one in (() if privacy is None else privacy.columns)
        if one.pseudonymise is not None
    }
    able = list(dict.fromkeys([one for one in (keys.id, keys.sticky_by, *pseudonymised) if one is not None]))
    for column, values in _by_column(named).items():
        if column not in able:
            there = ", ".join(able) or "none: the file names no keys.id and no keys.stickyBy"
            raise InvalidDataError(
                f"{column!r} is no column that tells people apart: keys.id, keys.stickyBy or a pseudonymised one; "
                f"here: {there}"
            )
        every = set(values)
        if (secret := pseudonymised.get(column)) is not None:
            made = read_pseudonym_keys(secrets, secret.name, secret.key)
            every |= {one for value in values for one in made.every(value)}
        found.append(Asked(frozenset(every), column == keys.id, column == keys.sticky_by, column))
    return found


def _by_column(named: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for column, value in named:
        of_column = found.setdefault(column, [])
        if value not in of_column:
            of_column.append(value)
    return found


def _hold(held: ExitStack, state: StateDir) -> None:
    host = state.host
    if host is not None and (process := host.holder()) is not None:
        raise AlreadyRunningError(
            f"{state.root}: process {process} runs the system here; stop it with `capstan down`, erase, start it again"
        )
    held.enter_context(state.exclusively())


def _broken_rows(runs: Path, asked: Asked, ids: set[str], *, is_trial: bool) -> int:
    erased = 0
    for path in sorted(runs.glob(f"*/{BROKEN_ROWS}")):
        head, *lines = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline="")))
        at = {name: place for place, name in enumerate(head)}
        kept = [line for line in lines if not _is_of(line, at, asked, ids)]
        erased += len(lines) - len(kept)
        if len(kept) < len(lines) and not is_trial:
            text = io.StringIO(newline="")
            csv.writer(text).writerows([head, *kept])
            write_whole(path, text.getvalue().encode())
    return erased


def _is_of(line: list[str], at: Mapping[str, int], asked: Asked, ids: set[str]) -> bool:
    if line[at["id"]] in ids:
        return True
    return line[at["column"]] == asked.column and line[at["value"]] in asked.values


def _with(found: Forgotten, erased: Erased, lines: int) -> Forgotten:
    return replace(
        found,
        answers=found.answers + erased.answers,
        labels=found.labels + erased.labels,
        events=found.events + erased.events,
        broken_rows=found.broken_rows + lines,
    )


def _files_with(root: Path, values: set[str]) -> list[str]:
    """Files that hold one of the values as a word; short values stand in many by chance, and are not looked for."""
    long = sorted(value for value in values if len(value) >= SHORTEST_LOOKED_FOR)
    if not long:
        return []
    some = b"|".join(re.escape(value.encode()) for value in long)
    word = re.compile(rb"(?<![0-9A-Za-z])(?:" + some + rb")(?![0-9A-Za-z])")
    found = []
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file() or path.suffix in _PACKED or "secrets" in path.parts:
            continue
        with suppress(OSError):
            if path.stat().st_size <= LARGEST_LOOKED_INTO and word.search(path.read_bytes()):
                found.append(str(path.relative_to(root)))
    return found


def _tell(
    state: StateDir, name: SystemName, found: Forgotten, columns: list[str], by: str, now: datetime
) -> None:
    values = "1 value" if found.people == 1 else f"{found.people:,} values"
    message = f"{found.in_words()} erased, of {values} of {', '.join(columns)}"
    details = {"by": by, "columns": columns, "values": found.people}
    with open_store(state) as store:
        store.record_event(Event(now, Kind.SYSTEM, name, Reason.FORGOTTEN, message, details))
