"""What a training pod says about its run: lines in its log while it works, and its last words when it has ended.

Kubernetes keeps at most 4,096 bytes of last words (the container's termination message). What a decision rests on, the
version and its gates, is never left out; the rest goes in the order in which it is missed least.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from dataclasses import replace

from pydantic import ValidationError

from capstan.domain.system import as_stored
from capstan.domain.training import GateOutcome, RunStatus
from capstan.ports.codec import from_json, to_json

PROGRESS = "capstan-run-status "
"""Word that begins a line of the log with the whole status as JSON."""
MOST_BYTES = 4096
_PACKED = "zlib:"
_SHORT = 160
_MOST_NAMED = 10
"""Number of failed candidates and warnings that are named when the status is too long."""


def progress_line(status: RunStatus) -> str:
    """The status as one line of a log."""
    return PROGRESS + _plain(status)


def read_progress(log: str) -> RunStatus | None:
    """The newest status in the log; None if there is none, or only the end of one."""
    for line in reversed(log.splitlines()):
        _, mark, text = line.partition(PROGRESS)
        if mark and (status := _parsed(text)) is not None:
            return status
    return None


def last_words(status: RunStatus, *, most_bytes: int = MOST_BYTES) -> bytes:
    """The status in at most so many bytes, readable if it fits, else compressed, else shortened."""
    for shorter in _shortened(status):
        for text in (_plain(shorter), _packed(shorter)):
            if len(text.encode()) <= most_bytes:
                return text.encode()
    raise AssertionError("a status without its texts fits")


def read_last_words(text: str) -> RunStatus | None:
    """The status; None for anything else, such as the end of a log."""
    if text.startswith(_PACKED):
        try:
            text = zlib.decompress(base64.b85decode(text.removeprefix(_PACKED))).decode()
        except (ValueError, zlib.error):
            return None
    return _parsed(text)


def _shortened(status: RunStatus) -> Iterator[RunStatus]:
    yield status
    status = replace(status, details={})
    yield status
    status = replace(status, candidates={})
    yield status
    status = replace(
        status,
        failed={name: _cut(reason, _SHORT) for name, reason in list(status.failed.items())[:_MOST_NAMED]},
        left_out={name: _cut(reason, _SHORT) for name, reason in status.left_out.items()},
        warnings=tuple(_cut(warning, _SHORT) for warning in status.warnings[:_MOST_NAMED]),
    )
    yield status
    status = replace(status, steps=tuple(replace(step, message="") for step in status.steps))
    yield status
    status = replace(status, steps=())
    yield status
    for length in (1000, _SHORT):
        yield _with_short_gates(replace(status, message=_cut(status.message, length)), length)
    status = replace(status, failed={}, warnings=(), left_out={})
    for length in (_SHORT, 40, 0):
        yield _with_short_gates(replace(status, message=_cut(status.message, max(length, _SHORT))), length)
    # The registry has the metrics. Of eight runners-up with thirty each they alone are too long.
    yield as_stored(_with_short_gates(replace(status, message=_cut(status.message, _SHORT)), 0))


def _with_short_gates(status: RunStatus, length: int) -> RunStatus:
    """Also those of the runners-up."""
    return replace(
        status,
        gates=_cut_gates(status.gates, length),
        runners_up=tuple(replace(one, gates=_cut_gates(one.gates, length)) for one in status.runners_up),
    )


def _cut_gates(gates: tuple[GateOutcome, ...], length: int) -> tuple[GateOutcome, ...]:
    return tuple(replace(gate, message=_cut(gate.message, length)) for gate in gates)


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _plain(status: RunStatus) -> str:
    return json.dumps(to_json(status), ensure_ascii=False, separators=(",", ":"))


def _packed(status: RunStatus) -> str:
    return _PACKED + base64.b85encode(zlib.compress(_plain(status).encode(), 9)).decode()


def _parsed(text: str) -> RunStatus | None:
    try:
        return from_json(RunStatus, json.loads(text))
    except (ValueError, ValidationError):
        return None
