"""The gates of a file, each against what it names: a champion on days it never saw, the baseline, a bound."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.tasks import Predictions
from capstan.training.cases import Cases
from capstan.training.job import Job, Places, write_job
from capstan_pipelines.steps.cases import Parted
from capstan_pipelines.steps.gating import judge_gates

BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
ROWS, TRAINING = 6000, 4000
RNG = np.random.default_rng(2)
SCORE = RNG.normal(size=ROWS)
LATE = RNG.random(ROWS) < 1 / (1 + np.exp(1 - 2 * SCORE))
GOOD = Predictions({"probability": (1 / (1 + np.exp(1 - 2 * SCORE)))[TRAINING:]})
BLIND = Predictions({"probability": np.full(ROWS - TRAINING, 0.3)})
AS_OF = BEGIN + timedelta(hours=ROWS // 5)
TABLE = pa.table(
    {
        "id": [str(row) for row in range(ROWS)],
        "at": pa.array(
            [BEGIN + timedelta(minutes=12) * row for row in range(ROWS)], pa.timestamp("us", "UTC")
        ),
        "late": LATE,
        "carrier": np.array(["AA", "UA"])[RNG.integers(0, 2, ROWS)],
    }
)


def outcomes(
    folder: Path,
    gates: list[dict[str, Any]],
    *,
    champion: Predictions | None = None,
    learnt: datetime = BEGIN,
) -> tuple[list[Any], list[dict[str, Any]]]:
    spec = {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": "visits"},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "late"},
            "data": {
                "sources": [{"name": "rows", "csv": {"path": "rows.csv"}}],
                "keys": {"id": "id", "time": "at"},
                "label": {"column": "late", "availableAt": "at", "maximumDelay": "1d"},
            },
            "features": [{"name": "carrier", "categorical": {}}],
            "evaluation": {"gates": gates},
        },
    }
    version = ModelVersion(
        VersionName("v1"), Digest("sha256:0"), RunName("run"), as_of=learnt, bento_tag="visits:1"
    )
    write_job(
        folder,
        request=TrainingRequest(
            RunName("run"), SystemName("visits"), Trigger(TriggerKind.INITIAL, AS_OF, "a test"), None
        ),
        spec=spec,
        places=Places(str(folder), "", "", "", ""),
        champion=None if champion is None else version,
    )
    job = Job(folder)
    cases = Parted(
        TABLE, np.arange(TRAINING - 500), np.arange(TRAINING - 500, TRAINING), np.arange(TRAINING, ROWS)
    )
    return judge_gates(job, cases, Cases.of(cases.rows(cases.test), job.system), GOOD, champion)


def test_a_first_version_passes_where_only_the_champion_asks_and_is_held_to_bound_and_baseline(
    tmp_path: Path,
) -> None:
    (champion, baseline, bound, unreached), tables = outcomes(
        tmp_path,
        [
            {"metric": "rocAuc", "against": "Champion"},
            {"metric": "logLoss", "against": "Baseline", "decide": "Better", "minimumEffect": 0.1},
            {"metric": "rocAuc", "min": 0.8},
            {"metric": "rocAuc", "min": 0.95},
        ],
    )
    assert (champion.passed, champion.message) == (
        True,
        "rocAuc: the first version has no champion to be compared with",
    )
    assert baseline.passed is True
    share = LATE[:TRAINING].mean()
    expected = -np.mean(np.where(LATE[TRAINING:], np.log(share), np.log(1 - share)))
    assert f"against the baseline's {expected:.4f} on 2,000 rows of 17 days" in baseline.message
    assert bound.passed is True
    assert unreached.passed is False
    assert "the lower bound must be at least 0.95" in unreached.message
    assert tables == []


def test_without_a_rival_or_a_bound_the_champion_is_meant(tmp_path: Path) -> None:
    (gate,), _ = outcomes(tmp_path, [{"metric": "rocAuc"}], champion=BLIND)
    assert gate.passed is True
    assert "against v1's 0.5000 on 2,000 rows of 17 days that v1 has not learnt from" in gate.message


def test_the_champion_is_compared_on_the_days_it_has_not_learnt_from_and_the_bound_on_all(
    tmp_path: Path,
) -> None:
    learnt = TABLE["at"][TRAINING].as_py() + timedelta(days=11)
    (against, bound), _ = outcomes(
        tmp_path, [{"metric": "rocAuc"}, {"metric": "rocAuc", "min": 0.5}], champion=BLIND, learnt=learnt
    )
    # Labels of its last day were not yet known to it.
    assert "on 799 rows of 7 days that v1 has not learnt from" in against.message
    assert "on 2,000 rows of 17 days" in bound.message


def test_nothing_is_passed_against_a_champion_that_has_learnt_from_the_whole_window(tmp_path: Path) -> None:
    gates = [{"metric": "rocAuc"}, {"metric": "rocAuc", "slices": ["carrier"]}]
    found, _ = outcomes(tmp_path, gates, champion=BLIND, learnt=AS_OF + timedelta(days=2))
    assert [gate.passed for gate in found] == [None, None]


def test_a_gate_of_two_columns_is_judged_by_each_and_shows_a_table_of_each(tmp_path: Path) -> None:
    gates = [{"metric": "rocAuc", "min": 0.7, "slices": ["carrier", "id"], "onFewRows": "LeaveOut"}]
    (carrier, single), tables = outcomes(tmp_path, gates)
    assert carrier.passed is True
    assert carrier.message == "rocAuc by carrier: 2 of 2 groups passed"
    assert single.passed is None, "a group of one row says nothing"
    assert [table["title"] for table in tables] == ["Gate: ROC-AUC by carrier", "Gate: ROC-AUC by id"]
    assert {row[-1] for row in tables[0]["cells"]} == {"passed"}


@pytest.mark.parametrize(("against", "name"), [("Champion", "v1"), ("Baseline", "the baseline")])
def test_slices_are_compared_with_champion_or_baseline(tmp_path: Path, against: str, name: str) -> None:
    gates = [{"metric": "logLoss", "against": against, "decide": "Better", "slices": ["carrier"]}]
    (gate,), (table,) = outcomes(tmp_path, gates, champion=BLIND)
    assert gate.passed is True
    assert table["columns"] == ["rows", "log loss", name, "low", "high", "gate"]
    assert all(row[4] < 0 for row in table["cells"]), "its loss is smaller, shown by the upper bound"
