"""The model card of a version, as the registry keeps it, with what is known of the version by now."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from capstan.domain.versions import ModelVersion, VersionName
from capstan.engine.story import lineage
from capstan.errors import NotFoundError
from capstan.evaluation.card import card_path
from capstan.evaluation.card.story import Moment, with_story
from capstan.ports.store import Event

Kept = Callable[[VersionName, str], bytes | None]
"""What the registry keeps of a version's run at a path."""


def card_of(kept: Kept, version: ModelVersion, events: Sequence[Event]) -> str:
    """Its story goes from what the training came from to what the version led to; raises NotFoundError."""
    found = kept(version.name, card_path(version.rank))
    if found is None:
        raise NotFoundError(
            f"version {version.name}: the registry keeps no card of it; versions that were imported, or trained by an "
            "earlier release, have none"
        )
    story = [
        Moment(event.at, event.reason, " ".join(event.message.split()))
        for event in lineage(events, "run", version.run)
    ]
    return with_story(found.decode(), story) if story else found.decode()
