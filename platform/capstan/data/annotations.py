"""The tables of annotations of a file: what annotators agree on, and what they dispute."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from capstan.data.agreement import Agreement
from capstan.data.lineage import Uses
from capstan.data.memory import table_memory
from capstan.data.query import SourceTables
from capstan.data.sources import Reading
from capstan.data.text_types import quote
from capstan.data.workspace import workspace
from capstan.spec.system import MLSystem


def agreements(system: MLSystem, *, as_of: datetime | None, secrets: Path) -> tuple[Agreement, ...]:
    """Of each source with `annotations`, of the labels given by `as_of` (None: all), however small agreement is.

    Raises InvalidDataError.
    """
    data = system.spec.data
    memory = table_memory(system.spec.training.resources)
    found: list[Agreement] = []
    with workspace(threads=1, memory=memory, zone=data.time_zone) as connection:
        for source in data.sources:
            if source.annotations is None:
                continue
            rule = source.annotations.model_copy(update={"min_agreement": None})
            told = source.model_copy(update={"annotations": rule})
            reading = Reading(connection, told, as_of, system.base_dir, secrets, data.time_zone)
            tables = SourceTables(connection, [reading])
            tables.read(f"select * from {quote(source.name)}", None, Uses.of(system))  # noqa: S608
            found += tables.agreements
    return tuple(found)
