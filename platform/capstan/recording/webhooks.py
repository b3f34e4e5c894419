"""The signed calls that a system's collector has taken, in one small file that its readers see whole."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import orjson

from capstan.domain.signatures import key_of
from capstan.domain.triggers import WebhookCall, Webhooks
from capstan.errors import UnavailableError
from capstan.files import write_whole

FILE = "webhooks.json"
MADE_BY = "`openssl rand -base64 32` makes one; write it to {path}"
"""How a secret is made on one machine."""
KEPT = 1000
"""Newest calls that are kept. A repeat of an older one counts as new."""
MOST_A_MINUTE = 10
"""Calls of one sender that are taken within a minute; repeats are none."""
LONGEST_REASON = 200


class WebhookBook:
    """The file of one system, written by its collector alone."""

    def __init__(self, folder: Path) -> None:
        """`folder` is `systems/<system>`; raises UnavailableError for a file that cannot be read."""
        self._path = folder / FILE
        self._known = read_webhooks(folder)

    def is_known(self, sender: str, call_id: str) -> bool:
        return any((call.sender, call.id) == (sender, call_id) for call in self._known.calls)

    def wait(self, sender: str, now: datetime) -> float:
        """Seconds until a call of the sender is taken again; 0: one is taken now."""
        begin = _number(now - timedelta(minutes=1))
        lately = [call.number for call in self._known.calls if call.sender == sender and call.number > begin]
        return (lately[-MOST_A_MINUTE] - begin) / 1e6 if len(lately) >= MOST_A_MINUTE else 0.0

    def take(self, sender: str, call_id: str, reason: str, now: datetime) -> None:
        """Keep it for good; raises DiskFullError with nothing kept."""
        calls = self._known.calls
        # By time, so that numbers go on rising if the file is lost.
        number = max(_number(now), calls[-1].number + 1 if calls else 0)
        self._write(
            Webhooks((*calls, WebhookCall(number, sender, call_id, reason))[-KEPT:], self._known.closed)
        )

    def note_closed(self, closed: dict[str, str]) -> None:
        """Say which senders cannot be let in, and why; raises DiskFullError."""
        if closed != self._known.closed:
            self._write(Webhooks(self._known.calls, closed))

    def _write(self, known: Webhooks) -> None:
        document = {
            "calls": [[call.number, call.sender, call.id, call.reason] for call in known.calls],
            "closed": known.closed,
        }
        write_whole(self._path, orjson.dumps(document), survives_power_cut=True)
        self._known = known


def read_webhooks(folder: Path) -> Webhooks:
    """What the file of the system in the folder says; raises UnavailableError for one that cannot be read."""
    path = folder / FILE
    try:
        document = orjson.loads(path.read_bytes())
        calls = tuple(WebhookCall(*call) for call in document["calls"])
        return Webhooks(calls, dict(document["closed"]))
    except FileNotFoundError:
        return Webhooks()
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise UnavailableError("the collector", f"{path.name} cannot be read: {error}; remove it") from error


def read_keys(path: Path) -> list[bytes] | str:
    """The keys in the file of a secret, one a line, so that one can be changed while both count; else what is wrong."""
    try:
        keys = [key_of(line) for line in path.read_text("ascii").split()]
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no ASCII text"
        return f"cannot be read ({why})"
    found = [key for key in keys if key is not None]
    if not found or len(found) < len(keys):
        return "must be base64 of 24 to 64 bytes, with whsec_ before it or without"
    return found


def reason_in(document: object) -> str:
    """What a call's body says of its reason: one line of printable characters, cut off where it is too long."""
    said = document.get("reason") if isinstance(document, dict) else None
    if not isinstance(said, str):
        return ""
    # Neither line breaks nor what turns the direction of writing reaches a story, a terminal or a page.
    line = " ".join("".join(one if one.isprintable() else " " for one in said[: 4 * LONGEST_REASON]).split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 4]} ..."


def _number(moment: datetime) -> int:
    return int(moment.timestamp() * 1e6)
