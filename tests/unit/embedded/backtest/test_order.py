"""Policies that run at once share few trainings."""

from __future__ import annotations

import itertools

from capstan.embedded.backtest.order import Values, next_of

GRID: list[Values] = [
    {"cooldown": cooldown, "minEffect": effect, "maxDrop": drop}
    for cooldown, effect, drop in itertools.product(["7d", "14d", "28d"], ["0.05", "0.1"], ["0.05", "0.1"])
]


def test_the_first_begins_and_beside_it_the_first_that_differs_in_everything() -> None:
    assert next_of(GRID, []) == 0
    found = GRID[1:][next_of(GRID[1:], GRID[:1])]
    assert found == {"cooldown": "14d", "minEffect": "0.1", "maxDrop": "0.1"}


def test_it_differs_from_each_that_runs_and_not_from_one_alone() -> None:
    running = [GRID[0], GRID[7]]
    waiting = [one for one in GRID if one not in running]
    found = waiting[next_of(waiting, running)]
    assert min(sum(found[path] != one[path] for path in one) for one in running) == 2


def test_all_are_begun_once_in_any_case() -> None:
    waiting, begun = [*GRID, *GRID[:2], {}], list[Values]()
    while waiting:
        begun.append(waiting.pop(next_of(waiting, begun[-1:])))
    assert len(begun) == len(GRID) + 3
    assert all(one in begun for one in GRID)
