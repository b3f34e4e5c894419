"""Sessions that any replica can open: a person's token, sealed in their cookie with a key that only the page has.

The cookie is encrypted and signed (AES-GCM), so a browser, or who finds it, reads no token; and a replica keeps nothing
that would be lost with it. Who the person is, is asked of the API server again and again, by the token.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from capstan.cluster.tokens import SHORTEST_KEY
from capstan.errors import InvalidSpecError, Mistake

CODE_SECONDS = 60.0
"""Seconds for which a code of `capstan open` lets somebody in, once."""
LONGEST_TOKEN = 12_000
_PURPOSE = b"capstan page session 1"
_NONCE_BYTES = 12
_MOST_CODES = 1000


@dataclass(frozen=True)
class Session:
    """A person who has signed in."""

    token: str
    expires_at: float
    """Seconds of wall time since 1970."""


class Sessions:
    """Seals and opens sessions."""

    def __init__(self, key: bytes, *, hours: float, clock: Callable[[], float] = time.time) -> None:
        """Raises InvalidSpecError for a key that is too short."""
        if len(key) < SHORTEST_KEY:
            rule = f"{len(key)} bytes are fewer than {SHORTEST_KEY}; make one with `openssl rand -hex 32`"
            raise InvalidSpecError([Mistake("session_key", rule)])
        self._cipher = AESGCM(hashlib.sha256(_PURPOSE + key).digest())
        self._seconds = hours * 3600
        self._clock = clock

    @classmethod
    def read(cls, file: Path | None, *, hours: float) -> Sessions:
        """With the key in a mounted file; raises InvalidSpecError. None: with a key of this process alone."""
        if file is None:
            return cls(secrets.token_bytes(SHORTEST_KEY), hours=hours)
        try:
            return cls(file.read_bytes().strip(), hours=hours)
        except OSError as error:
            raise InvalidSpecError(
                [Mistake("session_key", f"{file} cannot be read: {error.strerror}")]
            ) from error

    def begin(self, token: str) -> Session:
        """A session that ends by itself; the token may end before."""
        return Session(token, self._clock() + self._seconds)

    def seal(self, session: Session) -> str:
        """The session as text for a cookie."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        content = orjson.dumps({"token": session.token, "until": session.expires_at})
        sealed = nonce + self._cipher.encrypt(nonce, content, _PURPOSE)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def open(self, text: str) -> Session | None:
        """The session; None: it is over, was changed, or was sealed with another key."""
        try:
            sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
            content = self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _PURPOSE)
            document = orjson.loads(content)
            session = Session(str(document["token"]), float(document["until"]))
        except (InvalidTag, ValueError, KeyError, TypeError):
            return None
        return session if self._clock() < session.expires_at else None


class Codes:
    """Codes that let in once and soon, so that no token stands in an address; they hold in this process alone."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[str, tuple[str, float]] = {}

    def issue(self, token: str) -> str:
        """A code for the token."""
        code = secrets.token_urlsafe(24)
        with self._lock:
            self._forget()
            self._known[code] = (token, self._clock() + CODE_SECONDS)
        return code

    def redeem(self, code: str) -> str:
        """The token; empty: the code was used, is too old, or never was one."""
        with self._lock:
            self._forget()
            token, _ = self._known.pop(code, ("", 0.0))
        return token

    def _forget(self) -> None:
        now = self._clock()
        kept = {code: entry for code, entry in self._known.items() if entry[1] > now}
        self._known = dict(list(kept.items())[-_MOST_CODES:])
