"""A run tells how many rows are alike, and learns nothing from a table that breaks the file's bounds."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from unit.pipelines.test_own_metric import Trained, document, write_home

from capstan.data.inspection import inspect_data
from capstan.errors import InvalidDataError
from capstan.spec import parse


def made(**anonymity: Any) -> dict[str, Any]:
    found = document(choose={"metric": "rocAuc"})
    found["spec"]["training"] |= {"candidates": [{"name": "line", "logisticRegression": {}}]}
    found["spec"]["evaluation"] |= {"gates": []}
    found["spec"]["data"]["privacy"] = {"anonymity": anonymity}
    return found


def test_a_run_tells_k_and_l_of_the_rows_that_were_read(tmp_path: Path) -> None:
    asked = {"by": ["side"], "k": 2, "sensitive": ["late"], "l": 2}
    trained = Trained(tmp_path / "run", write_home(tmp_path / "home"), made(**asked))
    tables = json.loads((trained.folder / "evaluation").read_text())["details"]["tables"]
    (found,) = (one for one in tables if one["title"] == "Anonymity")
    assert found["columns"] == ["groups", "fewest rows (k)", "fewest values of late (l)"]
    ((groups, fewest, values),) = found["cells"]
    assert (groups, values) == (2, 2)
    assert fewest > 100
    assert found["notes"][0] == "Asked for: k of at least 2 and l of at least 2."


def test_nothing_is_learnt_where_too_few_are_alike(tmp_path: Path) -> None:
    with pytest.raises(
        InvalidDataError, match=r"data.privacy.anonymity: .* rows have fewer than 100000 alike in side"
    ):
        Trained(tmp_path / "run", write_home(tmp_path / "home"), made(by=["side"], k=100_000))
    assert not (tmp_path / "run" / "cases").exists()


def test_a_file_is_told_beforehand(tmp_path: Path) -> None:
    system = parse(made(by=["side"], k=100_000), base_dir=write_home(tmp_path / "home"))
    problems = inspect_data(system, now=datetime(2030, 1, 1, tzinfo=UTC)).problems
    assert any(one.startswith("data.privacy.anonymity: ") and "alike in side" in one for one in problems)
