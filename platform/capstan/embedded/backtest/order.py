"""Which policy is begun next: policies that run at once should share few trainings.

Two that ask for the same training at the same time take no less time than one after the other: the second waits for it.
Begun later, it finds all its trainings done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Values = Mapping[str, str]
"""Path -> value, as a policy of a grid has them."""


def next_of(waiting: Sequence[Values], running: Sequence[Values]) -> int:
    """The place of the one that differs in most values from each that runs; the first of several."""

    def differences(one: Values) -> int:
        return min((sum(one.get(path) != other[path] for path in other) for other in running), default=0)

    return max(range(len(waiting)), key=lambda place: (differences(waiting[place]), -place))
