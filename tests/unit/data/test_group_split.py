"""Rows drawn by groups: no group is in two parts, and what parts share all the same is told."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from capstan.data import PartedCases, extract, part_cases
from capstan.data.split import of_groups
from capstan.errors import InvalidDataError
from capstan.spec import MLSystem, parse

NOW = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = "id,customer,size,width,height,bad"


def rows(count: int = 600) -> list[str]:
    """Four rows of each customer."""
    rng = np.random.default_rng(1)
    return [
        f"r{index},c{index // 4},{rng.normal()},{rng.normal()},{rng.normal()},{str(bool(rng.random() < 0.3)).lower()}"
        for index in range(count)
    ]


def parted(folder: Path, lines: list[str], *, keys: dict[str, str] | None = None, **spec: Any) -> PartedCases:
    (folder / "table.csv").write_text("\n".join([COLUMNS, *lines]) + "\n")
    split = spec.pop("split", {"group": {"by": "customer"}})
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "table"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "bad"},
            "data": {
                "sources": [{"name": "table", "csv": {"path": "table.csv"}}],
                "label": {"column": "bad"},
                "keys": {"id": "id"} | (keys or {}),
                "split": split,
            },
            "features": [{"name": name, "numeric": {}} for name in ("size", "width", "height")],
            **spec,
        },
    }
    system: MLSystem = parse(document, base_dir=folder)
    return part_cases(extract(system, as_of=NOW, labels_as_of=NOW), system, as_of=NOW)


def customers(found: PartedCases) -> list[set[str]]:
    names = np.array(found.table["customer"].to_pylist())
    return [set(names[getattr(found.parts, part)]) for part in ("training", "validation", "test")]


def test_no_group_is_in_two_parts_and_shares_are_of_rows(tmp_path: Path) -> None:
    found = parted(tmp_path, rows())
    training, validation, test = customers(found)
    assert training.isdisjoint(validation | test)
    assert validation.isdisjoint(test)
    total = found.table.num_rows
    assert found.validation.rows / total == pytest.approx(0.15, abs=0.02)
    assert found.test.rows / total == pytest.approx(0.2, abs=0.02)
    assert found.warnings == ()


@pytest.mark.parametrize("seed", range(6))
def test_one_large_group_trains_and_the_small_ones_judge(seed: int) -> None:
    parts = of_groups(np.array([182, *[2] * 9]), validation=0.15, test=0.2, seed=seed)
    assert 0 in parts.training
    assert len(parts.validation) >= 3
    assert len(parts.test) >= 4


def test_drawn_at_random_the_same_customers_are_on_both_sides_and_that_is_told(tmp_path: Path) -> None:
    keys = {"stickyBy": "customer"}
    found = parted(tmp_path, rows(), split={"random": {}}, keys=keys)
    training, _, test = customers(found)
    shared = pc.is_in(
        found.table["customer"].take(found.parts.test),
        value_set=pc.unique(found.table["customer"].take(found.parts.training)),
    ).to_pylist()
    (told,) = [one for one in found.warnings if "for test" in one]
    assert training & test
    assert told.startswith(
        f"data.split.random: {sum(shared)} of {found.test.rows} rows for test have a 'customer'"
    )
    assert "split: {group: {by: customer}}" in told
    kept = parted(tmp_path, rows(), keys=keys)
    assert [one.of_groups for one in kept.crossings.parts] == [{"customer": 0}, {"customer": 0}]
    assert kept.warnings == ()


def test_another_seed_draws_other_groups_and_the_same_seed_the_same(tmp_path: Path) -> None:
    drawn = [
        customers(parted(tmp_path, rows(), split={"group": {"by": "customer", "seed": seed}}))[2]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_rows_without_a_group_are_each_one_and_that_is_told(tmp_path: Path) -> None:
    lines = [
        line if index % 6 else line.replace(f"c{index // 4},", ",", 1) for index, line in enumerate(rows())
    ]
    found = parted(tmp_path, lines)
    assert found.warnings == (
        "data.split.group.by: 100 of 600 rows have no 'customer', and each of them is a group of its own",
    )
    assert not customers(found)[0] & customers(found)[2] - {None}


def test_copies_of_rows_in_several_parts_are_told(tmp_path: Path) -> None:
    """With ids of their own they are drawn one by one."""
    copies = [f"copy{index}{line[line.index(',') :]}" for index, line in enumerate(rows()[:200])]
    found = parted(tmp_path, [*rows(), *copies], split={"random": {}})
    values = [
        tuple(row.values()) for row in found.table.select(["size", "width", "height", "bad"]).to_pylist()
    ]
    learnt = {values[index] for index in found.parts.training}
    alike = sum(values[index] in learnt for index in found.parts.test)
    assert found.crossings.parts[1].alike == alike > 10
    (told,) = [one for one in found.warnings if "for test" in one]
    assert told.startswith(
        f"data.split.random: {alike} of {found.test.rows} rows for test have the features and the label"
    )
    assert "drop copies in data.query" in told


def test_folds_keep_groups_together_too(tmp_path: Path) -> None:
    found = parted(tmp_path, rows(), training={"choose": {"folds": 5}})
    names = np.array(found.table["customer"].to_pylist())
    assert found.folds is not None
    assert found.folds.count == 5
    for learns, judged in found.folds:
        assert not set(names[learns]) & set(names[judged])
        assert not {*learns, *judged} & {*found.parts.test}


def test_folds_of_one_class_are_refused_with_the_way_out(tmp_path: Path) -> None:
    lines = [
        line.rsplit(",", 1)[0] + (",true" if index < 32 else ",false") for index, line in enumerate(rows())
    ]
    for split, count in (({"random": {}}, 20), ({"group": {"by": "customer"}}, 20)):
        with pytest.raises(InvalidDataError, match=r"training.choose.folds: .*write fewer folds"):
            parted(tmp_path, lines, split=split, training={"choose": {"folds": count}})
