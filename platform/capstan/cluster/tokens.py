"""Tokens of a system, derived and never stored by the operator: it may create Secrets and can read none.

A right to patch or to delete Secrets would be one to read them: the API server answers both with the whole object,
also where nothing is changed (`dryRun=All`). So a Secret is created once and never changed. Its name ends in a mark of
its content: other tokens or keys are in another Secret, to which pods then refer.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path

from capstan.errors import InvalidSpecError, Mistake

_MARK_LENGTH = 8
SHORTEST_KEY = 32
"""Least bytes of the master key: a guessed one would open every system."""


class TokenSource:
    """The tokens of every system, from one master key; the same uid and purpose always give the same token."""

    def __init__(self, key: bytes) -> None:
        """Raises InvalidSpecError for a key that is too short."""
        if len(key) < SHORTEST_KEY:
            rule = f"{len(key)} bytes are fewer than {SHORTEST_KEY}; make one with `openssl rand -hex 32`"
            raise InvalidSpecError([Mistake("master_key", rule)])
        self._key = key

    @classmethod
    def read(cls, file: Path | None) -> TokenSource:
        """From a mounted file. None: a key of this process alone, after which other processes know no token.

        Raises InvalidSpecError.
        """
        if file is None:
            return cls(secrets.token_bytes(SHORTEST_KEY))
        try:
            return cls(file.read_bytes().strip())
        except OSError as error:
            mistake = Mistake("master_key", f"{file} cannot be read: {error.strerror}")
            raise InvalidSpecError([mistake]) from error

    def token(self, uid: str, purpose: str) -> str:
        """uid: of the MLSystem, so that one that is made anew under the same name has other tokens."""
        return hmac.new(self._key, f"{uid}/{purpose}".encode(), hashlib.sha256).hexdigest()

    def tokens(self, uid: str, purposes: Sequence[str]) -> Mapping[str, str]:
        return {purpose: self.token(uid, purpose) for purpose in purposes}

    def mark(self, uid: str, content: Mapping[str, str]) -> str:
        """What the name of the Secret with this content ends in; without the master key it tells nothing of it."""
        text = json.dumps([uid, sorted(content.items())])
        return hmac.new(self._key, f"mark/{text}".encode(), hashlib.sha256).hexdigest()[:_MARK_LENGTH]


def read_token(file: Path | None, field: str) -> str:
    """The token in a mounted file; empty for None. Raises InvalidSpecError that names the field of the settings."""
    if file is None:
        return ""
    try:
        return file.read_text().strip()
    except OSError as error:
        raise InvalidSpecError([Mistake(field, f"{file} cannot be read: {error.strerror}")]) from error
