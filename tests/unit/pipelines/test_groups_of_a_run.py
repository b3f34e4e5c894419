"""A run tells who its rows are of, before and after reweighing, and `capstan runs last` prints it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unit.pipelines.test_own_metric import Trained, document, write_home

from capstan.cli.tables_shown import print_tables
from capstan_pipelines.steps.cases import Parted


def tables(folder: Path, **training: Any) -> tuple[list[dict[str, Any]], Parted]:
    made = document(choose={"metric": "rocAuc"})
    made["spec"]["training"] |= {"candidates": [{"name": "line", "logisticRegression": {}}], **training}
    made["spec"]["evaluation"] |= {"gates": [], "slices": ["side"]}
    trained = Trained(folder / "run", write_home(folder / "home"), made)
    found = json.loads((folder / "run" / "evaluation").read_text())["details"]["tables"]
    return [one for one in found if one["title"].startswith("Groups in the data")], Parted.read(
        trained.folder / "cases"
    )


def test_each_slice_is_told_with_its_rows_and_its_labels(tmp_path: Path) -> None:
    ((found,), cases) = tables(tmp_path)
    before = cases.table.take(np.sort(np.concatenate([cases.training, cases.validation])))
    side = np.array(before["side"].to_pylist())
    assert found["title"] == "Groups in the data: side"
    assert dict(zip(found["rows"], [row[0] for row in found["cells"]], strict=True)) == {
        name: int((side == name).sum()) for name in ("left", "right")
    }


def test_what_is_weighed_is_told_before_and_after_and_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ((found,), cases) = tables(tmp_path, reweigh={"by": ["side"]})
    before = cases.table.take(np.sort(np.concatenate([cases.training, cases.validation])))
    late = f"{np.mean(before['late'].to_pylist()):.1%}"
    assert found["columns"][-1] == "true reweighed"
    assert [row[-1] for row in found["cells"]] == [late, late]
    print_tables([found], "the test window")
    printed = capsys.readouterr().out
    assert "Groups in the data: side of the rows before the test" in printed
    assert late in printed
