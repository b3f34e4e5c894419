"""Rows of a batch that are not those of the training: a table of the file, or a path, read as a request is."""

# The name goes through `quote`.
# ruff: noqa: S608

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from capstan.data.text_types import quote
from capstan.errors import InvalidSpecError, Mistake
from capstan.spec.batch import BatchInput, kind_of
from capstan.spec.data import Source
from capstan.spec.system import MLSystem

_TABLE = "batch_input"
"""Name of the table that a path is given."""


def input_of(system: MLSystem, text: str, option: str) -> BatchInput:
    """A table of the file by its name, else a path relative to here; raises InvalidSpecError for neither."""
    if text in {source.name for source in system.spec.data.sources}:
        return BatchInput(source=text)
    if kind_of(text) is None:
        known = ", ".join(source.name for source in system.spec.data.sources)
        raise InvalidSpecError(
            [
                Mistake(
                    option,
                    f"{text!r}: is no table of data.sources ({known}), and no path that ends in .csv, .jsonl, .ndjson "
                    "or .parquet; write one of these",
                )
            ]
        )
    return BatchInput(path=str(Path(text).resolve()))


def in_words(given: BatchInput | None) -> str | None:
    """What a folder holds a batch of: `source bookings`; None: rows of data.query."""
    return None if given is None else f"{given.kind} {given.chosen}"


def as_asked(system: MLSystem, given: BatchInput, columns: Collection[str]) -> MLSystem:
    """The system as if the rows were its table: without label, checks and slices, whose columns need not be there.

    `columns` are those that the version reads.
    """
    spec, name = system.spec, given.source
    data = spec.data
    sources = data.sources
    if given.path is not None:
        # A table of the file may have that name.
        name = _TABLE + "_" * sum(source.name.startswith(_TABLE) for source in sources)
        kind = kind_of(given.path)
        assert kind is not None
        settings: dict[str, Any] = {"path": given.path}
        if kind == "csv":
            # What means missing in a CSV file of the training does here too.
            texts = (text for source in sources if source.csv is not None for text in source.csv.missing)
            settings["missing"] = tuple(dict.fromkeys(texts))
        made = Source.model_validate({"name": name, kind: settings}, by_name=True)
        sources = (*sources, made)
    assert name is not None
    parted = data.split.model_copy(update={"group": None})
    read = data.model_copy(
        update={"split": parted, "sources": sources, "query": f"select * from {quote(name)}", "checks": ()}
    )
    changed = spec.model_copy(
        update={
            "data": read,
            "features": tuple(one for one in spec.features if one.column in columns),
            "evaluation": spec.evaluation.model_copy(update={"slices": ()}),
            "training": spec.training.model_copy(update={"reweigh": None, "sample": None}),
        }
    )
    return system.model_copy(update={"spec": changed})
