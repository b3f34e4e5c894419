"""Which rows a model learns from, is chosen on and is judged on, as pure index functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from capstan.errors import InvalidDataError

Indices = npt.NDArray[np.int64]
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Parts:
    """Row numbers, rising, of three parts that share no row."""

    training: Indices
    validation: Indices
    test: Indices


def by_time(
    times: npt.NDArray[np.datetime64],
    *,
    until: datetime,
    validation: timedelta,
    test: timedelta,
    zone: str = "UTC",
) -> Parts:
    """The last `test` before `until` judges, the `validation` before that chooses, everything earlier trains.

    `times` are UTC; a length of whole days counts days of `zone`, which may have 23 or 25 hours. `until` belongs to
    the test. Raises InvalidDataError if a part is empty.
    """
    validation_start, test_start = part_starts(until, validation=validation, test=test, zone=zone)
    at = times.astype("datetime64[us]")
    inside = at <= _utc(until)
    parts = Parts(
        training=np.flatnonzero(inside & (at < _utc(validation_start))),
        validation=np.flatnonzero(inside & (at >= _utc(validation_start)) & (at < _utc(test_start))),
        test=np.flatnonzero(inside & (at >= _utc(test_start))),
    )
    for name in ("training", "validation", "test"):
        if not len(getattr(parts, name)):
            raise InvalidDataError(
                f"data.split.byTime: the part for {name} is empty (validation from {validation_start.isoformat()}, "
                f"test from {test_start.isoformat()} until {until.isoformat()}); shorten validation or test, "
                "or train when there are more labelled rows"
            )
    return parts


def part_starts(
    until: datetime, *, validation: timedelta, test: timedelta, zone: str = "UTC"
) -> tuple[datetime, datetime]:
    """Where validation and test begin when the test ends at `until`."""
    test_start = _before(until, test, zone)
    return _before(test_start, validation, zone), test_start


def random(rows: int, *, validation: float, test: float, seed: int) -> Parts:
    """Shares of `rows` drawn without order; the same seed draws the same."""
    order = np.random.default_rng(seed).permutation(rows)
    return _cut(order, validation, test)


def of_groups(sizes: Indices, *, validation: float, test: float, seed: int) -> Parts:
    """Numbers of groups of so many rows each, in parts whose rows have about these shares.

    Groups come in a drawn order. Each goes to the part, of validation and test, that lacks most of its share, unless
    more than half of it would be too much there; else it trains.
    """
    wanted = np.array([validation, test]) * sizes.sum()
    lacking = wanted.copy()
    part_of = np.zeros(len(sizes), dtype=np.int64)
    for group in np.random.default_rng(seed).permutation(len(sizes)):
        place = int(np.argmax(lacking / wanted))
        if sizes[group] <= 2 * lacking[place]:
            part_of[group] = place + 1
            lacking[place] -= sizes[group]
    return Parts(*(np.flatnonzero(part_of == part) for part in range(3)))


def together(parts: Parts, units: Indices) -> Parts:
    """The rows of parts of units; `units` says of which unit each row is."""
    return Parts(
        *(np.flatnonzero(np.isin(units, part)) for part in (parts.training, parts.validation, parts.test))
    )


def stratified(
    labels: Sequence[object] | npt.NDArray[np.generic], *, validation: float, test: float, seed: int
) -> Parts:
    """Like `random`, with each label's share the same in all parts."""
    _, inverse = np.unique(np.asarray(labels), return_inverse=True)
    rng = np.random.default_rng(seed)
    pieces = [
        _cut(rng.permutation(np.flatnonzero(inverse == group)), validation, test)
        for group in range(inverse.max() + 1)
    ]
    return Parts(
        *(
            np.sort(np.concatenate([getattr(piece, name) for piece in pieces]))
            for name in ("training", "validation", "test")
        )
    )


def _cut(order: Indices, validation: float, test: float) -> Parts:
    if validation < 0 or test < 0 or validation + test >= 1:
        raise ValueError("validation and test are shares that leave rows for training")
    judged, chosen = round(len(order) * test), round(len(order) * validation)
    return Parts(
        training=np.sort(order[judged + chosen :]),
        validation=np.sort(order[judged : judged + chosen]),
        test=np.sort(order[:judged]),
    )


def _before(moment: datetime, length: timedelta, zone: str) -> datetime:
    if length % _DAY:
        return moment - length
    return (moment.astimezone(ZoneInfo(zone)) - length).astimezone(UTC)


def _utc(moment: datetime) -> np.datetime64:
    return np.datetime64(moment.astimezone(UTC).replace(tzinfo=None), "us")
