"""Which of the fitted candidates is taken: the simplest that is about as good as the best."""

from __future__ import annotations

import math
from collections.abc import Mapping

from capstan.errors import InvalidDataError
from capstan.spec.metrics import better


def choose(
    values: Mapping[str, float], *, metric: str, within: float, failures: Mapping[str, str]
) -> tuple[str, str]:
    """The chosen name and why; `values` are in the order of the file, simplest first.

    Raises InvalidDataError with all reasons if no candidate has a value.
    """
    known = {name: value for name, value in values.items() if math.isfinite(value)}
    if not known:
        reasons = [f"{name}: {reason}" for name, reason in failures.items()]
        reasons += [
            f"{name}: {metric} is not defined on the validation rows"
            for name in values
            if name not in failures
        ]
        raise InvalidDataError("training.candidates: none can be chosen\n  " + "\n  ".join(reasons))
    sign = -1 if better(metric) == "Lower" else 1
    best = max(known, key=lambda name: sign * known[name])
    chosen = next(name for name in known if sign * (known[best] - known[name]) <= within)
    reason = f"{chosen} has {metric} {known[chosen]:.4f}"
    if chosen == best:
        return chosen, f"{reason}, the best of {len(known)}"
    return chosen, f"{reason}, within {within:g} of {best}'s {known[best]:.4f} and simpler"
