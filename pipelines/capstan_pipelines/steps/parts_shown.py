"""The parts of a run as its report shows them: their rows, their times, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from capstan.evaluation.tables import Cell, table

if TYPE_CHECKING:
    from capstan.data.parts import PartedCases


def parts_table(parted: PartedCases) -> dict[str, Any]:
    """A row for each part; shared are rows that the training rows have too."""
    shared = {one.part: one for one in parted.crossings.parts}
    columns = list(parted.crossings.parts[0].of_groups)
    cells: list[list[Cell]] = []
    for part in (parted.training, parted.validation, parted.test):
        times = [None if moment is None else f"{moment:%Y-%m-%d %H:%M}" for moment in (part.start, part.end)]
        mine = shared.get(part.name)
        common = [None] * (1 + len(columns)) if mine is None else [mine.alike, *mine.of_groups.values()]
        cells.append([part.rows, *times, part.labels.words, *common])
    return table(
        "Parts",
        ("part", "what it has, and has in common with training"),
        ["training", "validation", "test"],
        ["rows", "from", "until", "labels", "alike", *(f"same {name}" for name in columns)],
        cells,
        notes=["alike: rows with the features and the label of a training row."],
        whose="the labelled rows",
    )
