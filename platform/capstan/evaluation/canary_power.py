"""How likely the requests of a canary show that it fails too often or answers too slowly, by the guardrails' own rule.

Requests go bad independently of each other, so chances are binomial and exact: nothing is drawn. The counters are
looked at after every request. A loop that looks less often stops the same canary a little later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy.special import bdtrc

from capstan.domain.verdicts.guardrails import BadRequests

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Guarded:
    """What one guardrail says of a true share of bad requests, after so many requests."""

    requests: int
    stopped: float
    """Chance that the canary was rolled back by then, at any look."""
    one_look: float
    """Chance that a single look, at that many requests, shows the excess."""
    held: float
    """Chance that it was not, and more than the limit are bad: it waits for more requests."""
    passes: float
    """Chance that it was not, and the guardrail holds."""


@dataclass(frozen=True)
class CanaryPower:
    """A canary of known true share of bad requests."""

    bad_share: float
    by_requests: tuple[Guarded, ...]
    """In the order asked for."""
    median_requests: int | None
    """Requests by which half are stopped; None: not within the requests that were asked for."""


def canary_power(
    bad_share: float, guardrail: BadRequests, log_e_needed: float, requests: Sequence[int]
) -> CanaryPower:
    """Chances after each of `requests`, of a `guardrail` whose counts do not matter, only its limit and burst.

    `log_e_needed`: of the policy, which divides alpha between its guardrails. A minimum of requests is no part of it:
    ask for no fewer than that, since a canary passes with fewer never.
    """
    most = max(requests)
    bounds = _bounds(guardrail, log_e_needed, most)
    # Chances of each count of bad requests, of canaries that were not stopped before.
    alive: Floats = np.zeros(int(bounds[-1]) + 2)
    alive[0] = 1.0
    stopped, median = 0.0, None
    found = {}
    asked = set(requests)
    for total in range(1, most + 1):
        alive[1:] = alive[1:] * (1 - bad_share) + alive[:-1] * bad_share
        alive[0] *= 1 - bad_share
        bound = int(bounds[total])
        stopped += float(alive[bound:].sum())
        alive[bound:] = 0.0
        if median is None and stopped >= 0.5:
            median = total
        if total in asked:
            counts = np.arange(len(alive))
            above = counts > guardrail.limit * total
            found[total] = Guarded(
                total,
                stopped=min(stopped, 1.0),
                one_look=_at_least(bound, total, bad_share),
                held=float(alive[above].sum()),
                passes=float(alive[~above].sum()),
            )
    return CanaryPower(bad_share, tuple(found[total] for total in requests), median)


def _bounds(guardrail: BadRequests, log_e_needed: float, most: int) -> npt.NDArray[np.int64]:
    """By number of requests: the fewest bad ones that stop the canary; more than all of them where none do."""
    bounds = np.zeros(most + 1, dtype=np.int64)
    least = 1
    for total in range(1, most + 1):
        # More requests never need fewer bad ones, so the search goes on where it ended.
        while least <= total and not replace(guardrail, bad=least, total=total).is_shown_above(log_e_needed):
            least += 1
        bounds[total] = least
    return bounds


def _at_least(bad: int, total: int, share: float) -> float:
    """Chance of so many bad requests of `total`, or more."""
    return float(bdtrc(bad - 1, total, share)) if bad <= total else 0.0
