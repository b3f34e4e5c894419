"""Rows without times and ids: ids are made from what rows hold, and rows are drawn so that alike ones stay together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from capstan.data import extract, part_cases
from capstan.data.inspection import inspect_data
from capstan.spec import MLSystem, parse
from capstan.spec.data import CONTENT_ID

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def rows(count: int = 200) -> list[str]:
    rng = np.random.default_rng(1)
    return [f"{index},{'ab'[index % 2]},{str(bool(rng.random() < 0.3)).lower()}" for index in range(count)]


def system(folder: Path, lines: list[str], **data: Any) -> MLSystem:
    (folder / "table.csv").write_text("\n".join(["size,kind,bad", *lines]) + "\n")
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "table"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "bad"},
            "data": {
                "sources": [{"name": "table", "csv": {"path": "table.csv"}}],
                "label": {"column": "bad"},
                **data,
            },
            "features": [{"name": "size", "numeric": {}}, {"name": "kind", "categorical": {}}],
        },
    }
    return parse(document, base_dir=folder)


def ids(folder: Path, lines: list[str]) -> dict[float, str]:
    table = extract(system(folder, lines), as_of=NOW, labels_as_of=NOW)
    return dict(zip(table["size"].to_pylist(), table[CONTENT_ID].to_pylist(), strict=True))


def test_a_row_has_the_same_id_in_every_file_that_holds_it(tmp_path: Path) -> None:
    known = ids(tmp_path, rows())
    assert len(set(known.values())) == 200
    later = ids(tmp_path, ["7.5,a,true", *reversed(rows())])
    assert {size: later[size] for size in known} == known


def test_rows_that_are_alike_get_an_ordinal_and_are_drawn_into_one_part(tmp_path: Path) -> None:
    table = system(tmp_path, [*rows(), *rows()])
    cases = extract(table, as_of=NOW, labels_as_of=NOW)
    names = cases[CONTENT_ID].to_pylist()
    assert len(set(names)) == 400
    assert sum(name.endswith("-2") for name in names) == 200
    found = part_cases(cases, table, as_of=NOW)
    sizes = [
        set(found.table["size"].take(part).to_pylist())
        for part in (found.parts.training, found.parts.validation, found.parts.test)
    ]
    assert not sizes[0] & sizes[1]
    assert not sizes[0] & sizes[2]
    assert not sizes[1] & sizes[2]
    assert any("200 of 400 rows repeat" in told for told in found.warnings)


@pytest.mark.parametrize("kind", ["random", "stratified"])
def test_the_same_seed_draws_the_same_rows_and_another_one_others(kind: str, tmp_path: Path) -> None:
    def test_rows(seed: int) -> list[int]:
        drawn = system(tmp_path, rows(), split={kind: {"validation": "10%", "test": "30%", "seed": seed}})
        cases = extract(drawn, as_of=NOW, labels_as_of=NOW)
        found: list[int] = part_cases(cases, drawn, as_of=NOW).parts.test.tolist()
        return found

    assert len(test_rows(0)) == pytest.approx(60, abs=1)
    assert test_rows(0) == test_rows(0)
    assert test_rows(0) != test_rows(1)


def test_classes_have_the_same_share_in_all_parts(tmp_path: Path) -> None:
    table = system(tmp_path, rows())
    found = part_cases(extract(table, as_of=NOW, labels_as_of=NOW), table, as_of=NOW)
    shares = [
        pc.mean(found.table["bad"].take(part).cast("int8")).as_py()
        for part in (found.parts.training, found.parts.validation, found.parts.test)
    ]
    assert max(shares) - min(shares) < 0.03


def test_a_label_without_a_date_counts_once_its_row_is_as_old_as_a_label_may_be_late(tmp_path: Path) -> None:
    lines = [
        f"{index},{(NOW - timedelta(hours=index)).isoformat()},{str(index % 3 == 0).lower()}"
        for index in range(200)
    ]
    (tmp_path / "table.csv").write_text("\n".join(["size,seen,bad", *lines]) + "\n")
    document = system(tmp_path, []).model_dump(mode="json", by_alias=True, exclude_unset=True)
    (tmp_path / "table.csv").write_text("\n".join(["size,seen,bad", *lines]) + "\n")
    document["spec"]["features"] = document["spec"]["features"][:1]
    document["spec"]["data"] |= {
        "keys": {"time": "seen"},
        "label": {"column": "bad", "maximumDelay": "2d"},
    }
    dated = parse(document, base_dir=tmp_path)
    table = extract(dated, as_of=NOW, labels_as_of=NOW)
    known = table.filter(pc.is_valid(table["bad"]))
    assert pc.max(known["seen"]).as_py() == NOW - timedelta(days=2)
    assert table.num_rows == 200


def test_what_is_lost_is_told_in_plain_words(tmp_path: Path) -> None:
    found = inspect_data(system(tmp_path, rows()), now=NOW)
    assert not found.problems
    told = "\n".join(found.warnings)
    for words in ("nothing can be replayed", "written after the label", "request_id"):
        assert words in told
    assert found.newest is None
    assert found.columns is not None
    assert CONTENT_ID not in found.columns


def test_a_feature_that_tells_every_label_is_still_found(tmp_path: Path) -> None:
    lines = [
        line.rsplit(",", 1)[0][:-1] + ("a,true" if index % 3 else "b,false")
        for index, line in enumerate(rows())
    ]
    found = inspect_data(system(tmp_path, lines), now=NOW)
    assert any("alone tells every label" in problem for problem in found.problems)
