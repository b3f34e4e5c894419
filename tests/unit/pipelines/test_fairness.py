"""Real flights: a model that warns about some carriers alone is kept out, and one of reweighed rows comes through."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName
from capstan.errors import MissingExtraError
from capstan.spec import load
from capstan.training.job import Places, write_job
from capstan_pipelines.steps import check, choose, evaluate, extract, fit, split

EXAMPLE = Path(__file__).parents[3] / "examples" / "flight-delays"
AS_OF = datetime(2013, 4, 1, 5, tzinfo=UTC)
TREES = {"name": "trees", "gradientBoosting": {"learningRate": 0.1, "iterations": 60, "leaves": 15}}
FAIR = {
    "by": ["carrier"],
    "metric": "DemographicParity",
    "maxDifference": 0.1,
    "minRows": 300,
    "onFewRows": "LeaveOut",
}


class Home:
    """A folder with the flights of the first quarter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        subprocess.run([sys.executable, str(EXAMPLE / "prepare.py")], check=True, capture_output=True)
        (folder / "data").mkdir()
        for name in ("weather.parquet", "planes.csv"):
            (folder / "data" / name).symlink_to(EXAMPLE / "data" / name)
        flights = pl.read_parquet(EXAMPLE / "data" / "flights.parquet")
        flights.filter(pl.col("scheduled_departure") < AS_OF).write_parquet(
            folder / "data" / "flights.parquet"
        )

    def job(self, folder: Path, **training: Any) -> Path:
        document = load(EXAMPLE / "system.yaml").model_dump(mode="json", by_alias=True, exclude_unset=True)
        spec = document["spec"]
        spec["training"] |= {"candidates": [TREES], **training}
        spec["evaluation"] = {"slices": [], "gates": [], "fairness": [FAIR]}
        request = TrainingRequest(
            RunName("run"), SystemName("flight-delays"), Trigger(TriggerKind.INITIAL, AS_OF, "a test"), None
        )
        places = Places(str(self.folder), str(folder / "secrets"), "", "", str(folder / "bentos"))
        write_job(folder / "job", request=request, spec=document, places=places, champion=None)
        return folder / "job"

    def evaluated(self, folder: Path, **training: Any) -> dict[str, Any]:
        """What the steps find of the model that they fit."""
        job = str(self.job(folder, **training))
        at = {name: str(folder / name) for name in ("table", "report", "cases", "trees", "choice", "found")}
        extract.run(job, at["table"])
        check.run(job, at["table"], at["report"])
        split.run(job, at["table"], at["cases"])
        fit.run(job, "trees", at["cases"], at["trees"])
        choose.run(job, [at["trees"]], at["choice"])
        evaluate.run(job, at["cases"], at["choice"], at["found"])
        found: dict[str, Any] = json.loads(Path(at["found"]).read_text())
        return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return Home(tmp_path_factory.mktemp("flights"))


@pytest.fixture(scope="module")
def biased(home: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return home.evaluated(tmp_path_factory.mktemp("biased"))


@pytest.fixture(scope="module")
def mitigated(home: Home, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return home.evaluated(tmp_path_factory.mktemp("mitigated"), reweigh={"by": ["carrier"]})


def table(found: dict[str, Any]) -> dict[str, Any]:
    (one,) = (
        table
        for table in found["details"]["tables"]
        if table["title"] == "Fairness: DemographicParity by carrier"
    )
    return dict(one)


def selection(found: dict[str, Any]) -> dict[str, float]:
    """The share of flights that is warned about, of each carrier that is judged."""
    shown = table(found)
    return {
        name: row[1] for name, row in zip(shown["rows"], shown["cells"], strict=True) if row[-1] == "judged"
    }


def test_a_model_that_warns_about_some_carriers_alone_is_kept_out(biased: dict[str, Any]) -> None:
    (gate,) = biased["gates"]
    assert (gate["metric"], gate["passed"]) == ("DemographicParity", False)
    assert "DemographicParity by carrier: largest difference 0.1" in gate["message"]
    assert "between EV (selection rate 0.1" in gate["message"]
    assert "left out, for want of evidence: " in gate["message"]
    rates = selection(biased)
    assert len(rates) >= 8
    assert max(rates.values()) - min(rates.values()) > 0.1


def test_reweighing_by_carrier_makes_the_same_file_fair(
    biased: dict[str, Any], mitigated: dict[str, Any]
) -> None:
    (gate,) = mitigated["gates"]
    assert gate["passed"] is True, gate["message"]
    before, after = selection(biased), selection(mitigated)
    spread = [max(rates.values()) - min(rates.values()) for rates in (before, after)]
    assert spread[1] < spread[0] / 2
    # What it costs is told, and no warning is given up altogether.
    assert biased["metrics"]["rocAuc"] - 0.05 < mitigated["metrics"]["rocAuc"] < biased["metrics"]["rocAuc"]
    assert min(after.values()) > min(before.values())


def test_rows_and_rates_of_all_carriers_are_in_the_table(biased: dict[str, Any]) -> None:
    shown = table(biased)
    assert shown["columns"][:4] == ["rows", "selection rate", "true positive rate", "false positive rate"]
    assert sum(row[0] for row in shown["cells"]) == biased["rows"]
    (confusion,) = (one for one in biased["details"]["tables"] if one["title"] == "Confusion matrix")
    warned = sum(row[1] for row in confusion["cells"])
    assert warned == pytest.approx(sum(row[0] * row[1] for row in shown["cells"]), abs=1)


def test_without_the_extra_the_run_ends_before_anything_is_learnt(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("capstan.evaluation.fairness.find_spec", lambda name: None)
    job = str(home.job(tmp_path))
    with pytest.raises(MissingExtraError, match=r"capstan-mlops\[fair\]"):
        check.run(job, str(tmp_path / "no-table"), str(tmp_path / "report"))
