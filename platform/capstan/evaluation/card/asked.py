"""What a file asks of its versions and expects of the world, in words for a card."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import datetime, timedelta

from capstan.spec.objective import Requirements, Scale
from capstan.spec.units import format_duration

_MONTH = timedelta(days=365.25 / 12)


def asked_of(requirements: Requirements, as_of: datetime) -> Iterator[tuple[str, str]]:
    """Name and words of each bound, and of the scale, which grows from `as_of` on."""
    if requirements.latency_p99 is not None:
        yield "99 of 100 answers within", format_duration(requirements.latency_p99)
    if requirements.model_size is not None:
        yield "model at most", f"{float(requirements.model_size) / 2**20:,.4g} MiB"
    if requirements.throughput is not None:
        yield "rows a second of one core at least", f"{requirements.throughput:,.10g}"
    if requirements.place == "OnDevice":
        yield "place", "a device: a graph of ONNX must answer alike"
    if requirements.training_time is not None:
        yield "a training takes at most", format_duration(requirements.training_time)
    if requirements.training_cost is not None:
        cost = requirements.training_cost
        yield "a training costs at most", f"{cost.most:g} {cost.currency or ''}".rstrip()
    expected = scale_in_words(requirements.scale, as_of)
    if expected:
        yield "made for", expected


def scale_in_words(scale: Scale, as_of: datetime) -> str:
    """Empty where the file names nothing."""
    parts = []
    if scale.users is not None:
        parts.append(f"{scale.users:,} users")
    if scale.items is not None:
        parts.append(f"{scale.items:,} items")
    if scale.requests_per_day is not None:
        parts.append(f"{scale.requests_per_day:,.10g} requests a day")
    if scale.growth_per_month:
        months = math.log(2) / math.log1p(scale.growth_per_month)
        twice = as_of + months * _MONTH
        parts.append(f"{100 * scale.growth_per_month:.3g}% more each month, twice as many by {twice:%Y-%m}")
    return ", ".join(parts)
