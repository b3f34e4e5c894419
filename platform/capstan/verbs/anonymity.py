"""How many people are alike in the stored answers of one system."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from capstan.data.anonymity import Alike
from capstan.domain.versions import SystemName
from capstan.embedded.layout import StateDir
from capstan.errors import InvalidDataError, NotFoundError
from capstan.recording.reading import PayloadReader
from capstan.recording.segments import payload_days
from capstan.recording.stored_anonymity import stored_alike
from capstan.spec import MLSystem
from capstan.tasks import task_of


@dataclass(frozen=True)
class StoredAnonymity:
    """What was found, and of which time."""

    start: datetime
    """Beginning of the oldest day that was read (UTC)."""
    end: datetime
    alike: Alike


def stored_anonymity(
    system: MLSystem, state: StateDir, *, days: int | None, now: datetime
) -> StoredAnonymity:
    """Of the answers of the last `days` days, None: of all that are stored.

    Raises InvalidDataError for a file that asks for none, NotFoundError where no answer is stored, UnavailableError.
    """
    asked, data = system.spec.data.privacy.anonymity, system.spec.data
    if asked is None:
        raise InvalidDataError(
            "data.privacy.anonymity: the file does not say what others may know of a person; write for example "
            "`data: {privacy: {anonymity: {by: [age, zip], k: 5}}}`"
        )
    folder = state.system(SystemName(system.metadata.name))
    stored = payload_days(folder / "payloads")
    # In a replay the days of requests lie in the past, so days are counted back from the newest one.
    if not stored:
        raise NotFoundError(f"{state.root}: no answer of {system.metadata.name!r} is stored here")
    newest, oldest = (
        datetime.fromisoformat(day.removeprefix("day=")).replace(tzinfo=UTC)
        for day in (stored[0], stored[-1])
    )
    end = newest + timedelta(days=1)
    start = oldest if days is None else max(oldest, end - timedelta(days=days))
    reader = PayloadReader(folder)
    try:
        found = stored_alike(
            reader,
            asked,
            task_of(system.spec),
            label=data.label.column,
            start=start,
            end=end,
            as_of=max(now, end),
            by_person=data.keys.sticky_by is not None,
        )
    finally:
        reader.close()
    if not found.rows:
        raise NotFoundError(
            f"{state.root}: no sound answer of {system.metadata.name!r} is stored of these days"
        )
    return StoredAnonymity(start, end, found)
