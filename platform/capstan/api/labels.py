"""Labels of a data frame, handed in to the running system."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from capstan.api.frames import in_a_file
from capstan.embedded.layout import StateDir
from capstan.embedded.wiring import collector_behind, collector_of
from capstan.errors import InvalidDataError, NotAllowedError
from capstan.spec import MLSystem
from capstan.verbs.elsewhere import FROM_ENVIRONMENT, address_written
from capstan.verbs.labelling import Tally, hand_in, label_entries

if TYPE_CHECKING:
    from capstan.adapters.own.collector import CollectorClient
    from capstan.api.frames import Frame

MOST_NAMED = 20
"""Refused rows that an error names."""


def hand_in_frame(
    system: MLSystem,
    state: StateDir,
    frame: Frame,
    *,
    mark: bool,
    url: str | None = None,
    token: str | None = None,
) -> Tally:
    """What came of the labels; without `mark` a refused row raises InvalidDataError, and no label is handed in.

    `url`: the gateway of a system elsewhere, which lets labels in by the token, or by that of the environment. Raises
    NotFoundError, NotAllowedError.
    """
    tally, name = Tally(), system.metadata.name
    with in_a_file(frame) as file, _collector(state, url, token) as collector:
        entries = list(label_entries(system, file, tally))
        if tally.refused_rows and not mark:
            raise InvalidDataError(_refusal(tally))
        hand_in(iter(entries), tally, lambda part: collector.match_labels(part, system=name))
    return tally


def _collector(
    state: StateDir, url: str | None, token: str | None
) -> AbstractContextManager[CollectorClient]:
    if url is None:
        return collector_of(state)
    # A file of a token ends with a line break, which no header may hold.
    token = (token or os.environ.get(FROM_ENVIRONMENT, "")).strip()
    if not token:
        raise NotAllowedError(
            f"url: labels need the system's token for feedback: `token` or ${FROM_ENVIRONMENT} gives it"
        )
    return collector_behind(address_written(url, "url"), token)


def _refusal(tally: Tally) -> str:
    lines = [
        f"row {one['row']}, {one['field']}: {one['value']!r} {one['rule']}"
        for one in tally.refused[:MOST_NAMED]
    ]
    more = tally.refused_rows - len(lines)
    lines += [f"{more:,} rows more"] if more else []
    head = f"{tally.refused_rows:,} rows are refused, so no label was handed in; `refused='mark'` hands the others in:"
    return "\n".join([head, *lines])
