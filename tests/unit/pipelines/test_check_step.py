"""The step `check` alone: a feature that tells every label ends the training, unless the file allows it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from contract.training_system import deliveries, write_system

from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName
from capstan.errors import LeakageError
from capstan.training.job import Places, write_job
from capstan_pipelines.steps import check
from capstan_pipelines.steps.cases import write_table

AS_OF = datetime(2013, 3, 15, tzinfo=UTC)


def with_fee(*, wrong_every: int | None = None) -> pa.Table:
    """Deliveries with the fee that is paid for late ones; `wrong_every`: of so many one has the fee of the others."""
    table = deliveries()
    fees = [
        (late if wrong_every is None or row % wrong_every else not late) + row % 7 / 100
        for row, late in enumerate(table["late"].to_pylist())
    ]
    return table.append_column("fee", pa.array(fees, pa.float64()))


def run_check(folder: Path, table: pa.Table, *, allow: list[str] | None = None) -> dict[str, Any]:
    """What the step reports of the table; `fee` is a feature besides the system's own."""
    system = write_system(folder / "home", table=table)
    document = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
    document["spec"]["features"].append({"name": "fee", "numeric": {}})
    if allow is not None:
        document["spec"]["data"]["leaks"] = {"allow": allow}
    trigger = Trigger(TriggerKind.INITIAL, AS_OF, "a test")
    request = TrainingRequest(RunName("run"), SystemName("deliveries"), trigger, None)
    places = Places(str(folder / "home"), str(folder / "secrets"), "", "", str(folder / "bentos"))
    write_job(folder / "job", request=request, spec=document, places=places, champion=None)
    write_table(table, folder / "table.arrow")
    check.run(str(folder / "job"), str(folder / "table.arrow"), str(folder / "report.json"))
    report: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return report


def test_a_certain_leak_ends_the_step_with_the_way_out_and_leaves_no_report(tmp_path: Path) -> None:
    with pytest.raises(LeakageError) as caught:
        run_check(tmp_path, with_fee())
    message = str(caught.value)
    assert "feature 'fee' (column 'fee') alone tells every label of" in message
    assert "drop the feature" in message
    assert "`data: {leaks: {allow: [fee]}}`" in message
    assert not (tmp_path / "report.json").exists()


def test_a_leak_that_the_file_allows_is_trained_on(tmp_path: Path) -> None:
    report = run_check(tmp_path, with_fee(), allow=["fee"])
    assert report["suspicions"] == []
    assert report["rows"] == with_fee().num_rows


def test_a_leak_of_another_feature_is_not_allowed_with_it(tmp_path: Path) -> None:
    with pytest.raises(LeakageError, match="feature 'fee'"):
        run_check(tmp_path, with_fee(), allow=["rain"])


def test_a_strong_feature_is_told_with_its_number_and_trained_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run_check(tmp_path, with_fee(wrong_every=200))
    (suspicion,) = report["suspicions"]
    assert "feature 'fee' (column 'fee') alone tells the label with ROC-AUC 0.99" in suspicion
    assert "write `data: {leaks: {allow: [fee]}}`" in suspicion
    assert suspicion in capsys.readouterr().out
    assert run_check(tmp_path / "allowed", with_fee(wrong_every=200), allow=["fee"])["suspicions"] == []


def test_honest_features_raise_no_suspicion(tmp_path: Path) -> None:
    table = deliveries()
    plain = table.append_column("fee", pa.array([float(row % 11) for row in range(table.num_rows)]))
    assert run_check(tmp_path, plain)["suspicions"] == []
