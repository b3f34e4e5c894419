"""Real flights through the real pipeline: a biased model is refused by its gate, and a mitigated one passes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from embedded.scenario import capstan, write_variant
from embedded.task_cases import EXPLAINED

# Two trainings, each at low priority on whatever machine this is.
pytestmark = [pytest.mark.real, pytest.mark.slow, pytest.mark.timeout(1200)]
FAIR = {"by": ["carrier"], "maxDifference": 0.06, "minRows": 200, "onFewRows": "LeaveOut"}
CHANGES: dict[str, Any] = {
    "data": {"split": {"byTime": {"validation": "3d", "test": "14d"}}},
    "training": {"candidates": [{"name": "trees", "gradientBoosting": {"iterations": 40, "leaves": 15}}]},
    "evaluation": {
        "gates": [
            {"metric": "rocAuc", "against": "Champion"},
            {"metric": "rocAuc", "against": "Baseline", "decide": "Better", "minimumEffect": 0.02},
            {"metric": "rocAuc", "min": 0.5, "slices": ["origin"], "only": ["EWR", "JFK", "LGA"]},
        ],
        "slices": ["origin"],
        "fairness": [FAIR],
    },
}


def trained(folder: Path, world: Path, **training: Any) -> tuple[dict[str, Any], str]:
    """What `capstan runs` tells of a training of the changed file: its document, and as people read it."""
    file = write_variant(folder / "home", world, CHANGES, {"training": training})
    state = folder / ".capstan"
    done = capstan("train", file, "--state", state, "--as-of", "2013-03-01", "--json")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    run = json.loads(done.stdout)["run"]
    told = json.loads(capstan("runs", run, "--state", state, "--json").stdout)
    return told, capstan("runs", run, "--state", state).stdout


def test_a_biased_model_is_refused_and_a_reweighed_one_of_the_same_file_passes(
    world: Path, tmp_path: Path
) -> None:
    biased, shown = trained(tmp_path / "biased", world)
    mitigated, _ = trained(tmp_path / "mitigated", world, reweigh={"by": ["carrier"]})
    gates = {one["version"]: one["status"]["gates"] for one in (biased, mitigated)}
    assert list(gates) == ["v1"]
    assert (biased["gates_passed"], mitigated["gates_passed"]) == (False, True), gates
    passed = [gate["passed"] for gate in biased["status"]["gates"]]
    assert passed == [True, True, True, False, True], (
        "fairness alone keeps it out; the last is the model's size"
    )
    assert "DemographicParity by carrier: largest difference" in biased["status"]["gates"][3]["message"]

    titles = [table["title"] for table in biased["status"]["details"]["tables"]]
    assert titles == [
        "Confusion matrix",
        "Slices by origin",
        "Gate: ROC-AUC by origin",
        "Fairness: DemographicParity by carrier",
        *EXPLAINED,
        "Parts",
        "Lineage",
        "Groups in the data: origin",
        "Groups in the data: carrier",
        "Ladder",
    ]
    for title in titles[:-5]:
        assert f"{title} of the test window" in shown
    assert "Parts of the labelled rows" in shown
    assert "Groups in the data: carrier of the rows before the test" in shown
    assert "Ladder of the validation rows" in shown
    assert "gate DemographicParity not passed" in shown
