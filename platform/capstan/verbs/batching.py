"""A batch of predictions of the file's own rows: which stretch, which version, which folder."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from capstan.data.batch_input import input_of
from capstan.domain.local_times import in_zone
from capstan.domain.versions import VersionName
from capstan.embedded.batch.predicting import BatchRequest
from capstan.embedded.batch.wiring import wire_batch
from capstan.embedded.layout import StateDir
from capstan.errors import InvalidSpecError, Mistake
from capstan.spec import MLSystem
from capstan.verbs.answering import champion_name

FROM, TO, INPUT = "--from", "--to", "--input"


def batch_of(
    system: MLSystem,
    state: StateDir,
    *,
    version: str | None,
    start: str | None,
    end: str | None,
    output: Path | None,
    given: str | None = None,
) -> BatchRequest:
    """The batch that the options ask for; the champion predicts unless they name a version.

    `given` is a table of the file or a path, whose rows are predicted. Without `output` its folder is in the state
    directory. Raises InvalidSpecError, NotFoundError,
    UntrustedArtifactError.
    """
    first, last = _stretch(system, start, end)
    name = VersionName(version) if version is not None else champion_name(system, state)
    rows = input_of(system, given, INPUT) if given is not None else None
    return wire_batch(system, state, name, start=first, end=last, output=output, given=rows)


def _stretch(system: MLSystem, start: str | None, end: str | None) -> tuple[datetime | None, datetime | None]:
    mistakes: list[Mistake] = []
    if system.spec.data.keys.time is None:
        mistakes += [
            Mistake(
                option,
                f"{text}: the file names no time in data.keys.time, so no row is before or after a moment; drop "
                f"{FROM} and {TO}, and all rows are predicted",
            )
            for option, text in ((FROM, start), (TO, end))
            if text is not None
        ]
    first, last = (
        _moment(option, text, system.spec.data.time_zone, mistakes)
        for option, text in ((FROM, start), (TO, end))
    )
    if first is not None and last is not None and first >= last:
        mistakes.append(
            Mistake(FROM, f"{start}: is not before {TO} {end}; the moment of {TO} itself is left out")
        )
    if mistakes:
        raise InvalidSpecError(mistakes)
    return first, last


def _moment(option: str, text: str | None, zone: str, mistakes: list[Mistake]) -> datetime | None:
    if text is None:
        return None
    try:
        return in_zone(datetime.fromisoformat(text), zone)
    except (ValueError, OverflowError):
        rule = "is no day or moment, such as 2013-02-01 or 2013-02-01T05:00:00Z"
        mistakes.append(Mistake(option, f"{text!r} {rule}; without an offset it is of data.timeZone, {zone}"))
        return None
