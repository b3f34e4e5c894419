"""Rows that break a rule are left out of a training, counted in its report, and listed in the run's folder."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName
from capstan.errors import InvalidDataError
from capstan.training.job import Places, write_job
from capstan_pipelines.steps import check, extract, split
from capstan_pipelines.steps.cases import Parted
from capstan_pipelines.steps.checks_shown import CHECKS

AS_OF = datetime(2024, 4, 1, tzinfo=UTC)
ROWS = 600


def run(folder: Path, *checks: dict[str, Any]) -> Parted:
    """The first steps of a training: row 7 is 107 minutes too early, and row 8 is row 7 again."""
    lines = ["id,at,known_at,begun,ended,late"]
    for index in range(ROWS):
        at = AS_OF - timedelta(hours=2) * (ROWS - index) - timedelta(days=3)
        begun = 7 if index == 8 else index
        ended = begun - 107 if index in (7, 8) else begun + 5
        known = at + timedelta(hours=1)
        lines.append(f"r{index},{at.isoformat()},{known.isoformat()},{begun},{ended},{index % 2 == 0}")
    (folder / "rows.csv").write_text("\n".join(lines) + "\n")
    document = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "stays"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "late"},
            "data": {
                "sources": [{"name": "rows", "csv": {"path": "rows.csv", "timeColumn": "at"}}],
                "keys": {"id": "id", "time": "at"},
                "label": {"column": "late", "availableAt": "known_at"},
                "checks": list(checks),
            },
            "features": [{"name": "begun", "numeric": {}}],
        },
    }
    request = TrainingRequest(
        RunName("run"), SystemName("stays"), Trigger(TriggerKind.INITIAL, AS_OF, "a test"), None
    )
    job = folder / "job"
    places = Places(str(folder), str(folder / "secrets"), "", "", str(folder / "bentos"))
    write_job(job, request=request, spec=document, places=places, champion=None)
    extract.run(str(job), str(folder / "table"))
    check.run(str(job), str(folder / "table"), str(folder / "report"))
    split.run(str(job), str(folder / "table"), str(folder / "cases"))
    return Parted.read(folder / "cases")


def listed(folder: Path) -> list[dict[str, str]]:
    with (folder / "job" / CHECKS).open(newline="") as file:
        return list(csv.DictReader(file))


IN_ORDER = {"column": "ended", "condition": "ended >= begun"}
ONCE = {"column": "begun", "unique": True, "severity": "Warn"}


def test_rows_that_are_left_out_are_no_cases_and_are_told(tmp_path: Path) -> None:
    cases = run(tmp_path, {**IN_ORDER, "severity": "Drop"}, ONCE)
    assert not {"r7", "r8"} & set(cases.table["id"].to_pylist())
    assert cases.warnings[0].startswith(
        "data.checks: ended: 2 rows: breaks ended >= begun (r7 has -100, r8 has"
    )
    assert cases.warnings[0].endswith("such rows are left out")
    assert cases.warnings[1].endswith("(r7 has 7, r8 has 7); a warning only")
    _, shown, _ = cases.tables
    assert shown["rows"] == ["ended breaks ended >= begun", "begun is there more than once"]
    assert shown["cells"] == [["Drop", 2, "r7, r8"], ["Warn", 2, "r7, r8"]]
    assert shown["notes"][0].startswith("2 of 600 rows are left out")
    rule = {"column": "ended", "rule": "breaks ended >= begun", "severity": "Drop"}
    assert listed(tmp_path)[:2] == [
        {**rule, "id": "r7", "value": "-100"},
        {**rule, "id": "r8", "value": "-100"},
    ]
    report = json.loads((tmp_path / "report").read_text())
    assert (report["rows"], len(report["broken"])) == (ROWS - 2, 2)


def test_without_a_broken_rule_nothing_is_told(tmp_path: Path) -> None:
    cases = run(tmp_path, {"column": "begun", "min": 0, "severity": "Drop"})
    assert cases.table["id"].to_pylist().count("r7") == 1
    assert ([one["title"] for one in cases.tables], cases.warnings) == (["Parts", "Lineage"], ())
    assert not (tmp_path / "job" / CHECKS).exists()


def test_a_training_that_stops_leaves_its_rows_behind(tmp_path: Path) -> None:
    with pytest.raises(InvalidDataError, match=r"1 rule is broken:\n  ended: 2 rows: breaks ended >= begun"):
        run(tmp_path, IN_ORDER, ONCE)
    assert [(one["severity"], one["id"]) for one in listed(tmp_path)] == [
        *[("Stop", "r7"), ("Stop", "r8")],
        *[("Warn", "r7"), ("Warn", "r8")],
    ]
