"""Which of the fitted candidates is taken: the simplest that is about as good as the best."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from capstan.errors import InvalidDataError
from capstan.spec.tasks import MetricFacts


@dataclass(frozen=True)
class Choice:
    """The candidate that is taken."""

    name: str
    reason: str
    failed: Mapping[str, str]
    """The other candidates that could not be fitted or measured, with the reason in one line."""


def choose(
    values: Mapping[str, float],
    *,
    metric: MetricFacts,
    within: float,
    failures: Mapping[str, str],
    baselines: Collection[str] = (),
    accept_baseline_alone: bool = False,
    left_out: Mapping[str, str] = MappingProxyType({}),
) -> Choice:
    """The choice among `values`, which are in the order of the file, simplest first; nan where there is no value.

    `left_out`: why others were not tried. Raises InvalidDataError with all reasons if no candidate has a value, or if
    all that have one are among `baselines` because the others failed and `accept_baseline_alone` is not set.
    """
    known = {name: value for name, value in values.items() if math.isfinite(value)}
    failed = {
        name: one_line(failures.get(name) or f"{metric.name} is not defined on the validation rows")
        for name in values
        if name not in known
    }
    listed = "".join(f"\n  {name}: {reason}" for name, reason in failed.items())
    if not known:
        listed += "".join(f"\n  {name} is left out: {reason}" for name, reason in left_out.items())
        raise InvalidDataError(f"training.candidates: none can be chosen{listed}")
    if failed and not accept_baseline_alone and all(name in baselines for name in known):
        raise InvalidDataError(
            f"training.candidates: only {' and '.join(known)} is left, a baseline, for all others failed; mend them, "
            f"or take it all the same with `choose: {{baselineAlone: Accept}}`{listed}"
        )
    sign = metric.sign
    best = max(known, key=lambda name: sign * known[name])
    chosen = next(name for name in known if sign * (known[best] - known[name]) <= within)
    reason = f"{chosen} has {metric.name} {known[chosen]:.4f}"
    if chosen == best:
        return Choice(chosen, f"{reason}, the best of {len(known)}", failed)
    return Choice(chosen, f"{reason}, within {within:g} of {best}'s {known[best]:.4f} and simpler", failed)


def runners_up(
    values: Mapping[str, float], chosen: str, most: int, *, metric: MetricFacts, within: float
) -> tuple[str, ...]:
    """The next best candidates, the best first: each is what would be taken if those before it were not there.

    `values` as in `choose`, without those that may not be one. Fewer than `most` where no more have a value.
    """
    left, found = {name: value for name, value in values.items() if name != chosen}, list[str]()
    while len(found) < most and any(map(math.isfinite, left.values())):
        found.append(choose(left, metric=metric, within=within, failures={}).name)
        del left[found[-1]]
    return tuple(found)


_LONGEST_REASON = 400


def one_line(reason: str) -> str:
    """The beginning of a reason, which may be as long as a program's output."""
    line = " ".join(reason.split())
    return line if len(line) <= _LONGEST_REASON else f"{line[:_LONGEST_REASON]}…"
