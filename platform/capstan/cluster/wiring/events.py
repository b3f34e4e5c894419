"""Whether a system's events can be looked up in a cluster."""

from __future__ import annotations

from capstan.errors import InvalidSpecError, Mistake
from capstan.spec.system import MLSystem


def require_no_store(system: MLSystem) -> None:
    """Raises InvalidSpecError for a store of events that no version in a cluster would ask."""
    mistakes = [
        Mistake(
            f"spec.data.events[{index}].online",
            "is for `capstan up` without --context in this version: in a cluster no events are looked up, and requests "
            "carry the features; drop it",
        )
        for index, events in enumerate(system.spec.data.events)
        if events.online is not None
    ]
    if mistakes:
        raise InvalidSpecError(mistakes)
