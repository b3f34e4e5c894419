"""What the registry keeps of a version to be read: its model card, with what is known by now, and its data report."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from capstan.domain.versions import ModelVersion, VersionName
from capstan.engine.story import lineage
from capstan.errors import NotFoundError
from capstan.evaluation.card import card_path
from capstan.evaluation.card.story import Moment, with_story
from capstan.evaluation.data_report import DATA_REPORT
from capstan.ports.store import Event

Kept = Callable[[VersionName, str], bytes | None]
"""What the registry keeps of a version's run at a path."""


def data_report_of(kept: Kept, version: ModelVersion) -> str:
    """The report of the data that the version's run read, as HTML; raises NotFoundError."""
    found = kept(version.name, DATA_REPORT)
    if found is None:
        raise NotFoundError(
            f"version {version.name}: the registry keeps no report of its data; versions that were imported have none"
        )
    return found.decode()


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
