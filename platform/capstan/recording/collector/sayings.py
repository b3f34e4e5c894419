"""What was said last of each case, so that the same said again is a duplicate and anything else a correction."""

from __future__ import annotations

import base64
from collections import OrderedDict
from collections.abc import Iterable
from hashlib import blake2b

MOST_CASES = 50_000
"""Cases that are remembered, the latest ones; what is repeated later than that is stored twice and read once."""


class Sayings:
    """The latest word on each of the latest cases; both are kept as hashes."""

    def __init__(self) -> None:
        self._said: OrderedDict[bytes, bytes] = OrderedDict()

    def repeated(self, sayings: Iterable[tuple[str, str]]) -> frozenset[int]:
        """Positions of the sayings, each a case and what is said of it, that say nothing new."""
        found = []
        for position, (about, word) in enumerate(sayings):
            case, said = short(about), short(word)
            if self._said.get(case) == said:
                found.append(position)
                continue
            self._said[case] = said
            self._said.move_to_end(case)
            if len(self._said) > MOST_CASES:
                self._said.popitem(last=False)
        return frozenset(found)

    def forget(self, cases: Iterable[str]) -> None:
        """As if nothing had been said of them."""
        for case in cases:
            self._said.pop(short(case), None)

    def dump(self) -> str:
        """Everything as text, for `restore_sayings`."""
        return base64.b64encode(b"".join(case + said for case, said in self._said.items())).decode()


def restore_sayings(text: str) -> Sayings:
    """The sayings that `dump` wrote."""
    sayings, data = Sayings(), base64.b64decode(text)
    for at in range(0, len(data), 16):
        sayings._said[data[at : at + 8]] = data[at + 8 : at + 16]
    return sayings


def short(text: str) -> bytes:
    """Eight bytes that stand for the text."""
    return blake2b(text.encode(), digest_size=8).digest()
