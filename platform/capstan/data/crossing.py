"""What the parts of a split share: rows that are alike, and rows of one group, on both sides of a border."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capstan.data.memory import table_memory
from capstan.data.split import Parts
from capstan.data.text_types import quote
from capstan.data.workspace import workspace
from capstan.spec.system import MLSystem

MOSTLY_DIFFERENT = 0.5
"""Share of training rows that differ from all others, from which on a repeated row is likely a copy."""
MANY_COPIES = 0.01
"""Share of a part's rows from which on copies are worth a warning, and"""
LEAST_COPIES = 10
"""their least number, and"""
LEAST_FEATURES = 3
"""the least number of features: rows of fewer are alike by chance."""


@dataclass(frozen=True)
class Crossing:
    """What one part that judges has in common with the training rows."""

    part: str
    rows: int
    alike: int
    """Rows with the features and the label of a training row."""
    of_groups: dict[str, int]
    """Column -> rows whose value a training row has too."""


@dataclass(frozen=True)
class Crossings:
    """Of validation and test."""

    differing: float
    """Share of training rows that are the first with their values."""
    parts: tuple[Crossing, ...]


def crossings(table: pa.Table, parts: Parts, system: MLSystem) -> Crossings:
    """What validation and test share with the training rows of a table."""
    spec, keys = system.spec, system.spec.data.keys
    compared = [*(feature.column for feature in spec.features), *spec.targets]
    named = [name for name in dict.fromkeys(compared) if name in table.column_names]
    group = spec.data.split.group
    grouped = [keys.sticky_by, keys.group, None if group is None else group.by]
    of_groups = [name for name in dict.fromkeys(grouped) if name is not None]
    codes = _codes(table, [named, *([name] for name in of_groups)], system)
    known = [np.unique(one[parts.training]) for one in codes]
    # Rows without a value have none in common.
    has = [
        np.ones(table.num_rows, dtype=np.bool_),
        *(table[name].is_valid().to_numpy() for name in of_groups),
    ]
    found = []
    for name in ("validation", "test"):
        rows = getattr(parts, name)
        shared = [
            int((np.isin(one[rows], of_training) & valid[rows]).sum())
            for one, of_training, valid in zip(codes, known, has, strict=True)
        ]
        found.append(Crossing(name, len(rows), shared[0], dict(zip(of_groups, shared[1:], strict=True))))
    return Crossings(len(known[0]) / max(1, len(parts.training)), tuple(found))


def _codes(
    table: pa.Table, columns: Sequence[Sequence[str]], system: MLSystem
) -> list[npt.NDArray[np.uint64]]:
    """For each list of columns a number of each row: the same one where all their values are the same."""
    hashes = ", ".join(f"hash({', '.join(map(quote, names))}) as h{at}" for at, names in enumerate(columns))
    training = system.spec.training
    with workspace(
        threads=training.threads, memory=table_memory(training.resources), zone="UTC"
    ) as connection:
        connection.register("cases", table)
        found = connection.sql(f"select {hashes} from cases").to_arrow_table()  # noqa: S608
    return [found[f"h{at}"].to_numpy() for at in range(len(columns))]


def crossing_warnings(found: Crossings, system: MLSystem, *, field: str) -> list[str]:
    """What of it makes a measured value too good, with the way out."""
    told = []
    is_wide = len({feature.column for feature in system.spec.features}) >= LEAST_FEATURES
    sticky, is_drawn = system.spec.data.keys.sticky_by, system.spec.data.keys.time is None
    for part in found.parts:
        are_many = part.alike >= max(LEAST_COPIES, MANY_COPIES * part.rows)
        if are_many and is_wide and found.differing >= MOSTLY_DIFFERENT:
            told.append(
                f"{field}: {part.alike:,} of {part.rows:,} rows for {part.part} have the features and the label of a "
                f"training row, although {found.differing:.0%} of the training rows differ. They look like copies, and "
                "a model answers them from memory; drop copies in data.query"
            )
        if sticky is not None and is_drawn and (shared := part.of_groups[sticky]):
            told.append(
                f"{field}: {shared:,} of {part.rows:,} rows for {part.part} have a {sticky!r} (data.keys.stickyBy) "
                "that training rows have too. What is measured there holds for known ones, not for new ones; "
                f"`data: {{split: {{group: {{by: {sticky}}}}}}}` keeps each in one part"
            )
    return told
