"""A set of whole numbers that mostly come in runs, in memory that grows with its gaps only."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

MOST_GAPS = 50_000


class Intervals:
    """Numbers seen so far; beyond `MOST_GAPS` gaps the oldest are forgotten as if they had been seen."""

    def __init__(self, bounds: Iterable[tuple[int, int]] = ()) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in bounds:
            self._starts.append(start)
            self._ends.append(end)

    def add(self, number: int) -> bool:
        """Whether the number is new; it is in the set afterwards."""
        starts, ends = self._starts, self._ends
        if ends and number == ends[-1] + 1:
            ends[-1] = number
            return True
        at = bisect_right(starts, number) - 1
        if at >= 0 and number <= ends[at]:
            return False
        joins_left = at >= 0 and ends[at] + 1 == number
        joins_right = at + 1 < len(starts) and starts[at + 1] == number + 1
        if joins_left and joins_right:
            ends[at] = ends[at + 1]
            del starts[at + 1], ends[at + 1]
        elif joins_left:
            ends[at] = number
        elif joins_right:
            starts[at + 1] = number
        else:
            starts.insert(at + 1, number)
            ends.insert(at + 1, number)
            if len(starts) > MOST_GAPS:
                ends[0] = ends[1]
                del starts[1], ends[1]
        return True

    def add_run(self, numbers: range) -> bool:
        """Whether all numbers of the run, which follow each other, are new and were added at once; else none was."""
        ends = self._ends
        if ends and numbers[0] <= ends[-1]:
            return False
        if ends and numbers[0] == ends[-1] + 1:
            ends[-1] = numbers[-1]
            return True
        self.add(numbers[0])
        ends[-1] = numbers[-1]
        return True

    def bounds(self) -> list[tuple[int, int]]:
        """First and last number of each run, in order."""
        return list(zip(self._starts, self._ends, strict=True))
