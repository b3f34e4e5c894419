"""`capstan diff` tells how two versions differ, by what their trainings left."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from simulation.world import SYSTEM

from capstan.domain.versions import SystemName
from capstan.engine.records import training_request, training_state
from capstan.ports.store import Kind
from capstan.training.job import Places, write_job

COLUMN = {"name": "distance", "type": "Number", "kind": "numeric", "trained_min": 10, "trained_max": 900}
PLAN = {"name": "plan", "type": "Text", "kind": "categorical", "allowed": ["pro", "basic"]}


def leave(machine, version: str, **changes: Any) -> None:
    """What the run that made the version leaves in its folder."""
    (record,) = [
        record
        for record in machine.world.store.list(Kind.RUN)
        if (result := training_state(record).result) and result.version and result.version.name == version
    ]
    request = training_request(record)
    folder = machine.state.runs(SystemName(SYSTEM)) / request.run
    spec = copy.deepcopy(machine.document)
    spec["spec"]["retraining"]["cooldown"] = changes.get("cooldown", "14d")
    places = Places(str(folder), "", "", "", "")
    write_job(folder, request=request, spec=spec, places=places, champion=None)
    documents = {
        "evaluate/evaluation": {
            "metrics": {"rocAuc": changes.get("auc", 0.7), "f1": None},
            "standard_errors": {"rocAuc": 0.01},
            "champion_metrics": {"rocAuc": 0.69} if request.champion else None,
            "labels": {"true": 40, "false": changes.get("negative", 60)},
            "rows": 100,
        },
        "check/report": {"rows": changes.get("rows", 1000), "missing": {}, "newest": None},
        "choose/choice": {
            "chosen": [{"model": "", "name": "trees", "settings": {"learningRate": changes.get("rate", 0.1)}}]
        },
        "refit/model/manifest.json": {"rows": 900, "columns": changes.get("columns", [COLUMN])},
    }
    for name, document in documents.items():
        file = folder / "artifacts/once" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document))
    for name, text in changes.get("code", {}).items():
        (folder / "factories").mkdir(exist_ok=True)
        (folder / "factories" / name).write_text(text)


@pytest.fixture
def two(rolling):
    leave(rolling, "v1", code={"mine.py": "a = 1\nb = 2\n"})
    leave(
        rolling,
        "v2",
        cooldown="7d",
        auc=0.75,
        negative=80,
        rows=1200,
        rate=0.05,
        columns=[{**COLUMN, "trained_max": 950}, PLAN],
        code={"mine.py": "a = 1\nb = 3\nc = 4\n"},
    )
    return rolling


def test_everything_that_differs_is_told_with_both_values(two) -> None:
    result = two.run("diff", "v1", "v2")
    assert result.exit_code == 0, result.output
    for line in (
        "~ rows read: 1000 -> 1200",
        "~ label false in the test window: 60 -> 80",
        "~ retraining.cooldown: 14d -> 7d",
        "~ learningRate: 0.1 -> 0.05",
        '~ distance: {"type":"Number","as":"numeric","range":[10,900]} -> ',
        '+ plan: {"type":"Text","as":"categorical","allowed":["basic","pro"]}',
        "mine.py: 2 lines added, 1 removed",
        "rocAuc  0.7000 [0.6804, 0.7196]  0.7500 [0.7304, 0.7696]",
        "rocAuc  0.6900  0.7500 [0.7304, 0.7696]",
        "gate: rocAuc 0.7 against v1: passed",
    ):
        assert line in result.output, result.output


def test_each_version_tells_where_it_came_from(two) -> None:
    output = two.run("diff", "v1", "v2").output
    assert "Initial: the first model" in output
    assert "Alert: DriftDetected" in output
    _, _, story = output.partition("what v2 came from and led to")
    assert "DriftDetected" in story
    assert "StepStarted" in story


def test_the_same_version_differs_in_nothing(two) -> None:
    output = two.run("diff", "v1", "v1").output
    for title in ("data", "settings", "candidate", "features", "code"):
        assert f"{title}: the same" in output
    assert "same rows" not in output


def test_an_older_version_against_a_newer_one_has_no_rows_in_common(two) -> None:
    output = two.run("diff", "v2", "v1").output
    assert "~ rows read: 1200 -> 1000" in output
    assert "- plan: " in output
    assert "same rows" not in output


def test_machines_get_all_of_it(two) -> None:
    document = json.loads(two.run("diff", "v1", "v2", "--json").stdout)
    assert (document["system"], document["old"], document["new"]) == (SYSTEM, "v1", "v2")
    assert {"path": "retraining.cooldown", "old": "14d", "new": "7d"} in document["settings"]
    assert document["code"] == [
        {"file": "mine.py", "lines": ["@@ -1,2 +1,3 @@", " a = 1", "-b = 2", "+b = 3", "+c = 4"]}
    ]
    (auc,) = document["metrics"]
    assert auc["old"] == {"value": 0.7, "low": pytest.approx(0.6804), "high": pytest.approx(0.7196)}
    assert document["versions"]["v2"]["against"] == "v1"
    assert document["versions"]["v2"]["story"]


def test_a_version_that_nobody_made_here_is_told_with_those_there_are(two) -> None:
    result = two.run("diff", "v1", "v9", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["message"] == (
        "version 'v9': no training here made it; versions of flights: v1, v2"
    )


def test_what_a_run_no_longer_has_is_said_and_not_invented(rolling) -> None:
    leave(rolling, "v1")
    output = rolling.run("diff", "v1", "v2").output
    assert "not compared: the file that v2 was trained by can't be read any more" in output
    assert "of v2 measured is gone" in output
    assert "rocAuc  0.7000 [0.6804, 0.7196]  -" in output


def test_where_nothing_was_trained_the_way_is_told(machine) -> None:
    result = machine.run("diff", "v1", "v2")
    assert result.exit_code == 1
    assert "systems with trainings: none yet; train first" in result.output
