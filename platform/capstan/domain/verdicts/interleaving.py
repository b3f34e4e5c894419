"""One list of two rankers, and which of them a click speaks for.

Both rankers order the same items and each place of the list belongs to one of them. A user sees no difference, and
each click compares the rankers within one user and one request, which is why interleaving needs so few of them.

Team draft (Radlinski, Kurup & Joachims 2008): in each round a coin says who drafts first, and each drafts its best item
that is still free; a click counts for its drafter. Balanced (Joachims 2003): one coin for the whole list, then both
alternate from their own top; clicks count for the ranker that had more of them near its top.

Neither is free of bias. Of A = (1, 2, 3) and B = (2, 3, 1), a user who clicks at random prefers B with 2/3 under
Balanced. Under TeamDraft clicks on 3 alone speak for both alike, although B ranks it higher (Chapelle et al. 2012).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT", bound=Hashable)
Coin = Callable[[], bool]
"""True: the challenger goes first."""


class Method(StrEnum):
    """How a list is made and its clicks are credited; named as in the file."""

    TEAM_DRAFT = "TeamDraft"
    BALANCED = "Balanced"


class Ranker(StrEnum):
    CHAMPION = "champion"
    CHALLENGER = "challenger"

    @property
    def other(self) -> Ranker:
        return Ranker.CHALLENGER if self is Ranker.CHAMPION else Ranker.CHAMPION


@dataclass(frozen=True)
class InterleavedList(Generic[ItemT]):
    """The list that a user sees; place for place an item and who gave it."""

    items: tuple[ItemT, ...]
    rankers: tuple[Ranker, ...]


@dataclass(frozen=True)
class Credit:
    """Clicks of one list that speak for each ranker."""

    champion: int = 0
    challenger: int = 0

    @property
    def outcome(self) -> int:
        """1: the challenger won; -1: it lost; 0: a tie."""
        return (self.challenger > self.champion) - (self.challenger < self.champion)


def interleave(
    method: Method, champion: Sequence[ItemT], challenger: Sequence[ItemT], coin: Coin
) -> InterleavedList[ItemT]:
    """One list of both rankings, best first; raises ValueError unless they hold the same items, each once."""
    if set(champion) != set(challenger) or not len(set(champion)) == len(champion) == len(challenger):
        raise ValueError("the two rankings do not hold the same items, each once")
    drafting = team_draft if method is Method.TEAM_DRAFT else balanced
    return drafting(champion, challenger, coin)


def team_draft(champion: Sequence[ItemT], challenger: Sequence[ItemT], coin: Coin) -> InterleavedList[ItemT]:
    """Round by round; the teams' sizes differ by at most one after every place."""
    left = {Ranker.CHAMPION: iter(champion), Ranker.CHALLENGER: iter(challenger)}
    items: dict[ItemT, Ranker] = {}
    while len(items) < len(champion):
        first = _first(coin)
        for ranker in (first, first.other):
            item = next((item for item in left[ranker] if item not in items), None)
            if item is not None:
                items[item] = ranker
    return InterleavedList(tuple(items), tuple(items.values()))


def balanced(champion: Sequence[ItemT], challenger: Sequence[ItemT], coin: Coin) -> InterleavedList[ItemT]:
    """Every prefix holds the top k of one ranking and the top k or k - 1 of the other, for some k."""
    first = _first(coin)
    ranking = {Ranker.CHAMPION: champion, Ranker.CHALLENGER: challenger}
    items: dict[ItemT, Ranker] = {}
    for place in range(len(champion)):
        for ranker in (first, first.other):
            items.setdefault(ranking[ranker][place], ranker)
    return InterleavedList(tuple(items), tuple(items.values()))


def team_draft_credit(rankers: Iterable[Ranker]) -> Credit:
    """`rankers`: of each clicked item who drafted it."""
    clicked = list(rankers)
    return Credit(clicked.count(Ranker.CHAMPION), clicked.count(Ranker.CHALLENGER))


def balanced_credit(clicks: Iterable[tuple[int, int, int]]) -> Credit:
    """Clicks in the top k of each ranking, where k is the better rank of the lowest click.

    `clicks`: of each clicked item its place in the list, its rank by the champion and by the challenger, all from 1.
    """
    clicked = list(clicks)
    if not clicked:
        return Credit()
    _, *ranks = max(clicked)
    most = min(ranks)
    return Credit(sum(rank <= most for _, rank, _ in clicked), sum(rank <= most for _, _, rank in clicked))


def unit_outcome(credits_of_unit: Iterable[Credit]) -> int:
    """1, -1 or 0: who won more of the unit's lists, each list counting once however often it was clicked."""
    difference = sum(one.outcome for one in credits_of_unit)
    return (difference > 0) - (difference < 0)


def coins(salt: str, request_id: str) -> Coin:
    """Fair coins of one request: a retry, a second gateway and a replay throw the same ones."""
    bits = _bits(f"{salt}/{request_id}")
    return lambda: next(bits)


def _bits(name: str) -> Iterator[bool]:
    block = 0
    while True:
        for byte in hashlib.sha256(f"{block}/{name}".encode()).digest():
            for bit in range(8):
                yield bool(byte >> bit & 1)
        block += 1


def _first(coin: Coin) -> Ranker:
    return Ranker.CHALLENGER if coin() else Ranker.CHAMPION
