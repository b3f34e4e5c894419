"""A metric of a person's own chooses the candidate and gates the challenger, by the real steps of a training."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from capstan.artifacts.content import content_digest
from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import ModelVersion, RunName, SystemName, VersionName
from capstan.errors import InvalidDataError
from capstan.spec import parse
from capstan.spec.presence import missing_files
from capstan.training.job import Places, write_job
from capstan_pipelines.steps import check, choose, evaluate, extract, fit, package, refit, split

AS_OF = datetime(2024, 4, 1, tzinfo=UTC)
EARLIER = AS_OF - timedelta(days=14)
ROWS = 3000
METRIC = """
import numpy as np
from prices import ALARM

def cost(miss=10):
    def of_a_visit(truth, predictions, weights):
        alarm = predictions["probability"] >= 0.5
        return np.average(np.where(truth & ~alarm, miss, 0) + ALARM * (alarm & ~truth), weights=weights)
    return of_a_visit

def broken():
    return lambda truth, predictions: 1 / 0
"""
MODELS = """
from sklearn.dummy import DummyClassifier

def wary():
    return DummyClassifier(strategy="constant", constant=True)
"""
DOCUMENT: dict[str, Any] = {
    "apiVersion": "capstan.dev/v1alpha1",
    "kind": "MLSystem",
    "metadata": {"name": "visits"},
    "spec": {
        "objective": {"task": "BinaryClassification", "target": "late"},
        "data": {
            "sources": [{"name": "rows", "csv": {"path": "rows.csv", "timeColumn": "at"}}],
            "keys": {"id": "id", "time": "at"},
            "label": {"column": "late", "availableAt": "known_at"},
        },
        "features": [{"name": "delay", "numeric": {}}],
        "training": {
            "candidates": [
                {"name": "baseline", "mostFrequent": {}},
                {"name": "linear", "logisticRegression": {}},
                {"name": "wary", "custom": {"factory": "mymodels:wary"}},
            ],
            "choose": {"metric": "cost"},
        },
        "evaluation": {
            "metrics": [
                {
                    "name": "cost",
                    "title": "cost of a visit",
                    "better": "Lower",
                    "custom": {"factory": "mymetrics:cost", "parameters": {"miss": 10}},
                }
            ],
            "gates": [{"metric": "cost", "margin": 0.05}, {"metric": "rocAuc", "margin": 0.01}],
            "slices": ["side"],
        },
    },
}


def document(**changes: Any) -> dict[str, Any]:
    """The file with other parts of `training.choose` or of its own metric."""
    made = deepcopy(DOCUMENT)
    made["spec"]["training"]["choose"] = changes.get("choose", {"metric": "cost"})
    made["spec"]["evaluation"]["metrics"][0]["custom"] = changes.get(
        "custom", {"factory": "mymetrics:cost", "parameters": {"miss": 10}}
    )
    return made


def write_home(home: Path, *, alarm: float = 1.0) -> Path:
    """Visits of which a third are late: whoever misses one pays ten times, so it is cheapest to expect all late."""
    home.mkdir()
    (home / "mymetrics.py").write_text(METRIC)
    (home / "prices.py").write_text(f"ALARM = {alarm}\n")
    (home / "mymodels.py").write_text(MODELS)
    rng = np.random.default_rng(5)
    lines = ["id,at,known_at,delay,side,late"]
    for index in range(ROWS):
        moment = AS_OF - timedelta(minutes=30) * (ROWS - index) - timedelta(days=4)
        delay = rng.normal()
        late = rng.random() < 1 / (1 + np.exp(1 - 1.5 * delay))
        side = rng.choice(["left", "right"])
        known = moment + timedelta(hours=1)
        lines.append(f"v{index},{moment.isoformat()},{known.isoformat()},{delay:.3f},{side},{late}")
    (home / "rows.csv").write_text("\n".join(lines) + "\n")
    return home


class Trained:
    """The folder of one run of the real steps."""

    def __init__(
        self,
        folder: Path,
        home: Path,
        spec: dict[str, Any],
        *,
        as_of: datetime = AS_OF,
        champion: ModelVersion | None = None,
        against: VersionName | None = None,
        artifacts: str = "",
    ) -> None:
        """`against` is the champion by name alone: no gate asks for its bytes."""
        self.folder = folder
        job = folder / "job"
        request = TrainingRequest(
            RunName("run"), SystemName("visits"), Trigger(TriggerKind.INITIAL, as_of, "a test"), against
        )
        places = Places(str(home), str(folder / "secrets"), "", "", str(home.parent / "bentos"), artifacts)
        write_job(job, request=request, spec=spec, places=places, champion=champion)
        at = {
            name: str(folder / name)
            for name in ("table", "report", "cases", "choice", "evaluation", "runners_up")
        }
        extract.run(str(job), at["table"])
        check.run(str(job), at["table"], at["report"])
        split.run(str(job), at["table"], at["cases"])
        names = [candidate["name"] for candidate in spec["spec"]["training"]["candidates"]]
        for name in names:
            fit.run(str(job), name, at["cases"], str(folder / name))
        choose.run(str(job), [str(folder / name) for name in names], at["choice"])
        evaluate.run(str(job), at["cases"], at["choice"], at["evaluation"])
        refit.run(
            str(job), at["cases"], at["choice"], at["evaluation"], str(folder / "model"), at["runners_up"]
        )

    @property
    def choice(self) -> dict[str, Any]:
        return self.read("choice")

    @property
    def evaluation(self) -> dict[str, Any]:
        return self.read("evaluation")

    @property
    def model(self) -> Path:
        return self.folder / "model"

    def read(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / name).read_text())
        return found

    def packaged(self) -> ModelVersion:
        """As the registry would know it."""
        package.run(
            str(self.folder / "job"),
            str(self.model),
            str(self.folder / "runners_up"),
            str(self.folder / "package"),
        )
        found = self.read("package")
        return ModelVersion(
            name=VersionName("v1"),
            digest=found["digest"],
            run=RunName("run"),
            as_of=EARLIER,
            bento_tag=found["tag"],
        )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_home(tmp_path_factory.mktemp("visits") / "home")


@pytest.fixture(scope="module")
def by_cost(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("cost"), home, document(), as_of=EARLIER)


@pytest.fixture(scope="module")
def challenger(home: Path, by_cost: Trained, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """Chosen by the task's own metric, against the champion that was chosen by cost."""
    champion = by_cost.packaged()
    # A module beside the file changed since: the champion carries the former one.
    (home / "prices.py").write_text("ALARM = 2.0\n")
    return Trained(
        tmp_path_factory.mktemp("auc"), home, document(choose={"metric": "rocAuc"}), champion=champion
    )


def test_it_chooses_another_candidate_than_the_metric_of_the_task(
    by_cost: Trained, challenger: Trained
) -> None:
    assert by_cost.choice["chosen"][0]["name"] == "wary"
    assert challenger.choice["chosen"][0]["name"] == "linear"
    assert "cost" in by_cost.choice["reason"]
    values = {one["name"]: one["metrics"]["cost"] for one in by_cost.choice["candidates"]}
    assert values["wary"] < values["linear"] < values["baseline"]


def test_it_is_told_beside_the_metrics_of_the_task_of_every_candidate_slice_and_version(
    by_cost: Trained,
) -> None:
    metrics = by_cost.evaluation["metrics"]
    assert list(json.loads((by_cost.model / "manifest.json").read_text())["metrics"]) == list(metrics)
    assert {"rocAuc", "logLoss", "cost"} <= set(metrics)
    late = by_cost.evaluation["labels"]["true"] / by_cost.evaluation["rows"]
    assert metrics["cost"] == pytest.approx(1 - late), "whoever expects all late pays for each that is not"
    slices = {one["value"]: one["metrics"]["cost"] for one in by_cost.evaluation["slices"]}
    assert set(slices) == {"left", "right"}
    assert all(0.4 < cost < 0.9 for cost in slices.values())


def test_its_gate_refuses_a_challenger_that_the_metric_of_the_task_lets_through(challenger: Trained) -> None:
    gates = {gate["metric"]: gate for gate in challenger.evaluation["gates"]}
    assert gates["rocAuc"]["passed"] is True
    assert gates["cost"]["passed"] is False
    assert "days that v1 has not learnt from" in gates["cost"]["message"]


def test_the_champion_is_judged_by_the_metric_of_the_file_not_by_the_one_that_it_carries(
    by_cost: Trained, challenger: Trained
) -> None:
    assert (by_cost.model / "factories" / "prices.py").read_text() == "ALARM = 1.0\n"
    labels = challenger.evaluation["labels"]
    assert challenger.evaluation["champion_metrics"]["cost"] == pytest.approx(
        2 * labels["false"] / challenger.evaluation["rows"]
    )


def test_its_code_travels_with_the_model_and_the_digest_is_another_when_what_it_imports_changes(
    by_cost: Trained, challenger: Trained, home: Path, tmp_path: Path
) -> None:
    carried = {path.name for path in (by_cost.model / "factories").iterdir()}
    assert carried == {"mymetrics.py", "prices.py", "mymodels.py"}
    (home / "prices.py").write_text("ALARM = 1.0  # dollars\n")
    again = Trained(tmp_path, home, document(), as_of=EARLIER)
    names = {
        name
        for name in {path.relative_to(by_cost.model) for path in by_cost.model.rglob("*") if path.is_file()}
        if (by_cost.model / name).read_bytes() != (again.model / name).read_bytes()
    }
    assert names == {Path("factories/prices.py")}
    assert content_digest(by_cost.model) != content_digest(again.model)


def test_a_metric_that_fails_stops_the_training_with_its_factory_and_its_words(
    home: Path, tmp_path: Path
) -> None:
    with pytest.raises(InvalidDataError, match=r"mymetrics:broken, asked about .* rows: ZeroDivisionError"):
        Trained(tmp_path, home, document(custom={"factory": "mymetrics:broken"}))


def test_validate_says_where_its_module_should_lie(tmp_path: Path) -> None:
    system = parse(document(), base_dir=write_home(tmp_path / "home"))
    assert missing_files(system) == []
    (tmp_path / "home" / "mymetrics.py").unlink()
    (finding,) = missing_files(system)
    assert finding.location == ("spec", "evaluation", "metrics", 0, "custom", "factory")
    assert "module 'mymetrics' is not beside the file" in finding.message
