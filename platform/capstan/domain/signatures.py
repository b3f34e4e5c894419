"""Signatures of posted messages by Standard Webhooks 1.0.0 (https://www.standardwebhooks.com): HMAC-SHA256, version v1.

What is signed is `ID.TIMESTAMP.BODY`, so that neither the id nor the time of a message can be changed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
TOLERANCE = timedelta(minutes=5)
"""How far the time of a message may be from that of its reader, in both directions."""
LONGEST_ID = 128
_PREFIX = "whsec_"
_KEY_BYTES = (24, 64)
_MOST_SIGNATURES = 20


@dataclass(frozen=True)
class Unsigned:
    """Why a message is not taken."""

    header: str
    rule: str


def key_of(secret: str) -> bytes | None:
    """The key in a secret: base64 of 24 to 64 bytes, with `whsec_` before it or without; None: it is none."""
    try:
        key = base64.b64decode(secret.strip().removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if _KEY_BYTES[0] <= len(key) <= _KEY_BYTES[1] else None


def signed(key: bytes, message_id: str, at: datetime, body: bytes) -> dict[str, str]:
    """The three headers of a message."""
    seconds = str(int(at.timestamp()))
    return {ID: message_id, TIMESTAMP: seconds, SIGNATURE: _signature(key, message_id, seconds, body)}


def fault_of(headers: Mapping[str, str], body: bytes, key: bytes, now: datetime) -> Unsigned | None:
    """What is wrong with a message whose header names are in lower case; None: its sender knows the key.

    Of several signatures, as a sender writes them while it changes its key, one is enough. They are compared in
    constant time, and nothing of the body is read.
    """
    message_id, seconds = headers.get(ID, ""), headers.get(TIMESTAMP, "")
    is_plain = message_id.isascii() and message_id.isprintable()
    # A dot would let what is signed be parted in another way.
    if not 0 < len(message_id) <= LONGEST_ID or not is_plain or "." in message_id:
        return Unsigned(ID, f"must be 1 to {LONGEST_ID} printable ASCII characters without a dot")
    if not seconds.isascii() or not seconds.isdigit() or len(seconds) > 12:
        return Unsigned(TIMESTAMP, "must be whole seconds since 1970")
    expected = _signature(key, message_id, seconds, body).encode()
    given = headers.get(SIGNATURE, "").split(" ")[:_MOST_SIGNATURES]
    # All are compared, so that the time it takes tells nothing.
    matches = [hmac.compare_digest(one.encode("utf-8", "replace"), expected) for one in given]
    if not any(matches):
        return Unsigned(SIGNATURE, "is not that of this message; sign ID.TIMESTAMP.BODY with the secret")
    if abs(now.timestamp() - int(seconds)) > TOLERANCE.total_seconds():
        minutes = int(TOLERANCE.total_seconds()) // 60
        return Unsigned(
            TIMESTAMP, f"is more than {minutes} minutes from now; sign it anew for each try, or set the clock"
        )
    return None


def _signature(key: bytes, message_id: str, seconds: str, body: bytes) -> str:
    content = b".".join((message_id.encode(), seconds.encode(), body))
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
