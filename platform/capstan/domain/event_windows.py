"""What the events of a window add up to, so that any order of the same events gives the same bits.

A sum of floats depends on the order in which they are added. So numbers are added as whole multiples of 2^-64, of which
the sum is exact, and become a float once, at the end. `data.event_features` computes the same in SQL for many rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SCALE = 2.0**64
"""A number is added as a whole number of 1 / SCALE."""
LARGEST = 2.0**42
"""The largest number that may be added: two million of them fit the integers in which SQL adds."""
KEPT = 24 * 3600 * 10**6
"""Microseconds for which an online store keeps events beyond the longest window: rows may be so old."""
_LOW = 2**64 - 1


@dataclass(frozen=True, order=True)
class Event:
    """One event of an entity; moments are microseconds since 1970 (UTC)."""

    happened: int
    known: int
    values: tuple[float | str | None, ...] = ()
    """In the order of the columns that are counted; None where the event has none."""
    number: int = 0
    """Which of several events that are alike in all else."""

    def counts(self, moment: int, window: int) -> bool:
        """Whether it is in the window before the moment, and was known by then."""
        return moment - window <= self.happened < moment and self.known <= moment


def aggregated(function: str, events: Sequence[Event], place: int | None, moment: int) -> float | str | None:
    """The result of one aggregate over the events that count; `place`: of the value in `Event.values`."""
    if function == "Count":
        return float(len(events))
    if function == "SecondsSinceLast":
        return (moment - max(event.happened for event in events)) / 1e6 if events else None
    if place is None:
        raise ValueError(f"{function} is of values; name their place")
    if function == "LastValue":
        dated = [(event.happened, event.values[place]) for event in events if event.values[place] is not None]
        return max(dated)[1] if dated else None
    values = [event.values[place] for event in events if event.values[place] is not None]
    if function == "Distinct":
        return float(len(set(values)))
    numbers = [float(value) for value in values if value is not None]
    if function == "Sum":
        return exact_sum(numbers)
    if not numbers:
        return None
    if function == "Mean":
        return exact_sum(numbers) / len(numbers)
    return min(numbers) if function == "Min" else max(numbers)


def exact_sum(numbers: Sequence[float]) -> float:
    """The sum as a float, whatever the order; exact to 2^-64."""
    total = sum(int(number * SCALE) for number in numbers)
    return float(total >> 64) + float(total & _LOW) / SCALE
