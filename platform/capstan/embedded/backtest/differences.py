"""Which policy is shown to be better than another: by the difference of their gains on the same days.

Two intervals of gains may overlap although one policy is better on nearly every day, since a hard day is hard for both.
So the days are drawn once for all policies, and the difference of each draw counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from capstan.embedded.backtest.grid import Finished
from capstan.embedded.backtest.one_policy import PolicyResult
from capstan.embedded.replay.comparison import interval_of
from capstan.spec import MLSystem


@dataclass(frozen=True)
class Difference:
    """A policy's gain less that of the policy that all are compared with, with its 95 % interval."""

    value: float
    interval: tuple[float, float]

    @property
    def is_shown(self) -> bool:
        """Whether chance alone does not explain it."""
        return self.interval[0] > 0 or self.interval[1] < 0


def base_of(finished: Sequence[Finished], system: MLSystem) -> int:
    """The place of the file's own policy; the first, where it is none of them."""
    file = system.model_dump_json()
    found = [at for at, one in enumerate(finished) if one.policy.system.model_dump_json() == file]
    return found[0] if found else 0


def differences_of(finished: Sequence[Finished], base: int) -> list[Difference | None]:
    """Of each policy; None for the base itself, and where a gain is not known for the same draws.

    A row that one policy did not answer, or a month whose metric one of them does not define, makes other draws.
    """
    compared = finished[base].result
    drawn, rows = np.asarray(compared["resampled_gains"]), _judged_rows(compared)
    found: list[Difference | None] = []
    for at, one in enumerate(finished):
        mine = np.asarray(one.result["resampled_gains"])
        if (
            at == base
            or one.result["gain"] is None
            or compared["gain"] is None
            or not len(mine)
            or mine.shape != drawn.shape
            or _judged_rows(one.result) != rows
        ):
            found.append(None)
            continue
        found.append(Difference(one.result["gain"] - compared["gain"], interval_of(mine - drawn)))
    return found


def _judged_rows(result: PolicyResult) -> dict[str, tuple[int, bool]]:
    """Of each month its rows, and whether it has a gain."""
    name = result["metrics"][0]["name"]
    return {
        month: (found["rows"], found["metrics"][name]["gain"] is not None)
        for month, found in result["months"].items()
    }


def in_words(finished: Sequence[Finished], base: int) -> str:
    """One sentence about all of them."""
    title = finished[0].result["metrics"][0]["title"]
    differences = differences_of(finished, base)
    shown = [
        f"{one.policy.name} ({difference.value:+.4f} [{difference.interval[0]:+.4f}, {difference.interval[1]:+.4f}])"
        for one, difference in zip(finished, differences, strict=True)
        if difference is not None and difference.is_shown
    ]
    name = finished[base].policy.name
    if not shown:
        return f"no policy is shown to have another {title} than {name} on the same days"
    return f"on the same days another {title} than {name} is shown for: {'; '.join(shown)}"
