"""Pseudonyms: a keyed hash that stands for a value, and the keys that make it.

HMAC-SHA256 (RFC 2104), of which 128 bits are kept. The number of the key stands in each pseudonym.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from capstan.errors import InvalidDataError

PSEUDONYM = re.compile(r"p([0-9]{1,6})-[0-9a-f]{32}")
"""Number of the key, and half of the hash. A value that is written so is a pseudonym already."""
SHORTEST_KEY = 16
_LINE = re.compile(r"(?:([0-9]{1,6})[ \t]+)?(\S+)")
_MADE_BY = "`openssl rand -base64 32` makes a key"


@dataclass(frozen=True)
class PseudonymKeys:
    """The keys of a secret by their numbers."""

    keys: Mapping[int, bytes]

    @property
    def current(self) -> int:
        """Number of the key by which new tables are pseudonymised."""
        return max(self.keys)

    def pseudonym(self, text: str, number: int) -> str:
        """What stands for the text under that key; a pseudonym stays as it is."""
        if PSEUDONYM.fullmatch(text):
            return text
        return f"p{number}-{hmac.digest(self.keys[number], text.encode(), 'sha256').hex()[:32]}"

    def every(self, text: str) -> list[str]:
        """The pseudonyms of the text under all keys, that of the current one first."""
        found = [self.pseudonym(text, number) for number in sorted(self.keys, reverse=True)]
        return list(dict.fromkeys(found))


def read_pseudonym_keys(secrets: Path, name: str, key: str) -> PseudonymKeys:
    """The keys in the file NAME/KEY of the folder of secrets; raises InvalidDataError, which tells none of them."""
    path = secrets / name / key
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "is no text"
        raise InvalidDataError(
            f"data.privacy: the secret {name}/{key} cannot be read ({path}: {why}); {_MADE_BY}, write it there"
        ) from None
    found: dict[int, bytes] = {}
    for at, line in enumerate(lines, 1):
        if not line.strip():
            continue
        read = _LINE.fullmatch(line.strip())
        if read is None or len(read[2]) < SHORTEST_KEY:
            raise InvalidDataError(
                f"data.privacy: line {at} of the secret {name}/{key} is no number and key of {SHORTEST_KEY} characters "
                f"or more; {_MADE_BY}"
            )
        number = int(read[1] or 1)
        if number in found:
            raise InvalidDataError(
                f"data.privacy: line {at} of the secret {name}/{key} has number {number} again; give each key its own"
            )
        found[number] = read[2].encode()
    if not found:
        raise InvalidDataError(f"data.privacy: the secret {name}/{key} is empty; {_MADE_BY}")
    return PseudonymKeys(found)
