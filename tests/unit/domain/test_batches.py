"""Claims about a batch: what finished still holds, and that rows add up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from capstan.domain.batches import (
    MOST_EXAMPLES,
    MOST_REASONS,
    OTHER,
    PartitionInputs,
    Reconciled,
    why_anew,
)

INPUTS = PartitionInputs("v1", "sha256:a", "packages", "rows")


def test_reasons_are_bounded_over_all_partitions() -> None:
    whole = Reconciled()
    for part in range(4):
        one = Reconciled(read=40)
        for row in range(40):
            one.refuse(row, f"{part}/{row}", [])
        whole.add(one)
    assert len(whole.refused) == MOST_REASONS + 1
    assert whole.refused_rows == 160


def test_a_partition_of_the_same_inputs_holds() -> None:
    assert why_anew(INPUTS, replace(INPUTS)) == ""


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"version": "v2", "model": "sha256:b"}, "v1 made it, now v2 predicts"),
        ({"model": "sha256:b"}, "the model of v1 is another one"),
        ({"rows": "others"}, "the rows of the source have changed"),
        ({"made_by": "others"}, "the installed packages have changed"),
    ],
    ids=["version", "model", "rows", "packages"],
)
def test_any_other_input_makes_it_anew_and_says_which(changed: dict[str, str], told: str) -> None:
    assert why_anew(INPUTS, replace(INPUTS, **changed)) == told


def test_each_refused_row_counts_once_however_many_reasons_there_are() -> None:
    rows = Reconciled(read=200)
    for number in range(200):
        rows.refuse(number, f"field {number}: rule", [])
    assert rows.adds_up
    assert len(rows.refused) == MOST_REASONS + 1
    assert rows.refused[OTHER] == 200 - MOST_REASONS
    assert len(rows.examples) == MOST_EXAMPLES


def test_a_row_that_is_neither_written_nor_refused_does_not_add_up() -> None:
    assert not Reconciled(read=2, written=1).adds_up


def test_partitions_add_up_to_the_batch() -> None:
    rows = Reconciled()
    for _ in range(3):
        one = Reconciled(read=3, written=2)
        one.refuse("id", "why", [])
        rows.add(one)
    assert (rows.read, rows.written, rows.refused_rows, len(rows.examples)) == (9, 6, 3, 3)
