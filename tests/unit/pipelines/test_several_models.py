"""A run of several models: each learns its own label from its own features, and one version is made of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pytest
from contract.two_models_system import two_labels, two_models_document, write_two_models

from capstan.adapters.bentoml.packager import BentoPackager
from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import ModelVersion, RunName, SystemName, VersionName
from capstan.errors import InvalidDataError, LeakageError
from capstan.features.several_models import parts_of
from capstan.monitoring.drift.reference import load_reference
from capstan.serving.manifest import read_manifest
from capstan.serving.model import Model, as_requests, load
from capstan.spec import MLSystem
from capstan.training.cases import Cases
from capstan.training.fitting import predict
from capstan.training.job import Places, write_job
from capstan_pipelines.steps import check, choose, evaluate, extract, fit, refit, split
from capstan_pipelines.steps.cases import Parted, read_table

AS_OF = datetime(2013, 3, 1, tzinfo=UTC)


class Run:
    """The steps of one run in this process."""

    def __init__(self, folder: Path, system: MLSystem, champion: ModelVersion | None = None) -> None:
        self.folder, self.system = folder, system
        document = system.model_dump(mode="json", by_alias=True, exclude_unset=True)
        trigger = Trigger(TriggerKind.INITIAL, AS_OF, "a test")
        request = TrainingRequest(RunName("run"), SystemName("two-models"), trigger, None)
        places = Places(str(system.base_dir), str(folder / "secrets"), "", "", str(folder / "bentos"))
        write_job(folder / "job", request=request, spec=document, places=places, champion=champion)
        self.job = str(folder / "job")

    def at(self, name: str) -> str:
        return str(self.folder / name.replace("/", "."))

    @property
    def names(self) -> list[str]:
        return [name for model in self.system.spec.planned_models for name in model.fit_names]

    def fit(self) -> None:
        extract.run(self.job, self.at("table"))
        check.run(self.job, self.at("table"), self.at("report"))
        split.run(self.job, self.at("table"), self.at("cases"))
        for name in self.names:
            fit.run(self.job, name, self.at("cases"), self.at(name))

    def choose(self) -> dict[str, Any]:
        choose.run(self.job, [self.at(name) for name in reversed(self.names)], self.at("choice"))
        return self.read("choice")

    def finish(self) -> None:
        evaluate.run(self.job, self.at("cases"), self.at("choice"), self.at("evaluation"))
        refit.run(self.job, *map(self.at, ("cases", "choice", "evaluation", "model", "runners_up")))

    def read(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(Path(self.at(name)).read_text())
        return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("two")
    run = Run(folder, write_two_models(folder / "home"))
    run.fit()
    run.choose()
    run.finish()
    return run


@pytest.fixture(scope="module")
def model(run: Run) -> Model:
    return load(Path(run.at("model")))


def test_candidates_of_each_model_are_fitted_under_its_name(run: Run) -> None:
    assert run.names == ["leaves/logistic", "leaves/trees", "travels/logistic"]
    choice = run.read("choice")
    assert [one["name"] for one in choice["candidates"]] == run.names
    assert [taken["model"] for taken in choice["chosen"]] == ["leaves", "travels"]
    assert choice["reason"].count("rocAuc") == 2


def test_each_model_learns_its_own_label_from_its_own_features(run: Run) -> None:
    evaluation = run.read("evaluation")
    test = run.read("evaluation")["rows"]
    assert evaluation["models"]["leaves"]["target"] == "left_late"
    assert evaluation["models"]["leaves"]["rows"] == test
    assert 0.9 * test < evaluation["models"]["travels"]["rows"] < test, (
        "rows without its own label are left out"
    )
    # Each knows half of what makes a delivery late, and its own label well.
    assert evaluation["models"]["leaves"]["metrics"]["rocAuc"] > 0.75
    assert evaluation["models"]["travels"]["metrics"]["rocAuc"] > 0.75
    assert 0.65 < evaluation["metrics"]["rocAuc"] < 0.9


def test_slices_and_gates_judge_the_combined_answer(run: Run) -> None:
    evaluation = run.read("evaluation")
    assert {part["column"] for part in evaluation["slices"]} == {"depot"}
    assert [gate["passed"] for gate in evaluation["gates"]] == [True]
    assert evaluation["standard_errors"]["rocAuc"] > 0


def test_the_manifest_pins_all_models_of_the_version(run: Run) -> None:
    manifest = json.loads((Path(run.at("model")) / "manifest.json").read_text())
    assert manifest["combine"]["rule"] == "Any"
    assert [part["name"] for part in manifest["models"]] == ["leaves", "travels"]
    assert [part["features"] for part in manifest["models"]] == [["rain", "depot"], ["traffic", "depot"]]
    assert [column["name"] for column in manifest["columns"]] == ["rain", "traffic", "depot"]
    read = read_manifest(Path(run.at("model")))
    assert read.combination is not None
    assert read.combination.models == ("leaves", "travels")
    assert read.learnt.parts["leaves"].classes == (False, True)


def test_a_request_of_one_row_takes_the_compiled_path_of_every_model(model: Model) -> None:
    assert model.fallback == ""
    row = {"rain": 4.0, "traffic": 0.1, "depot": "north"}
    leaves, travels = model.predict_row(row)
    assert leaves > 0.8
    assert travels < 0.3
    one = model.task.row_outputs(model.manifest.learnt)
    assert one is not None
    assert one((leaves, travels)) == {
        "probability": leaves,
        "leaves.probability": leaves,
        "travels.probability": travels,
    }


def test_each_model_answers_as_the_one_that_was_fitted_for_it(run: Run, model: Model) -> None:
    pipeline = model._pipeline
    parts = parts_of(pipeline)
    assert parts is not None
    table = read_table(Path(run.at("table"))).slice(0, 50)
    together = model.predict_batch(as_requests(table.select(["rain", "traffic", "depot"])))
    for index, name in enumerate(("leaves", "travels")):
        alone = parts[name].predict_proba(table)[:, 1]
        np.testing.assert_array_equal(together[:, index], alone)


def test_drift_watches_the_union_of_inputs_and_what_each_model_says(run: Run) -> None:
    reference = load_reference(Path(run.at("model")) / "detectors")
    assert [feature.name for feature in reference.features] == ["rain", "traffic", "depot"]
    assert [output.column for output in reference.outputs] == [
        "probability",
        "leaves.probability",
        "travels.probability",
    ]


def test_the_same_run_twice_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    again = Run(tmp_path, write_two_models(tmp_path / "home"))
    again.fit()
    again.choose()
    again.finish()
    for name in ("pipeline.joblib", "manifest.json"):
        assert (Path(again.at("model")) / name).read_bytes() == (Path(run.at("model")) / name).read_bytes()


def test_a_model_that_none_of_its_candidates_could_learn_ends_the_run_by_its_name(tmp_path: Path) -> None:
    table = two_labels()
    slow = pa.array([False] * table.num_rows)
    table = table.set_column(table.column_names.index("was_slow"), "was_slow", slow)
    run = Run(tmp_path, write_two_models(tmp_path / "home", table=table))
    run.fit()
    with pytest.raises(InvalidDataError) as caught:
        run.choose()
    message = str(caught.value)
    assert message.startswith("model travels: training.candidates: none can be chosen")
    assert "travels/logistic: the" in message
    assert "leaves" not in message


def test_a_model_without_any_label_of_its_own_is_told_by_name(tmp_path: Path) -> None:
    table = two_labels()
    nothing = pa.nulls(table.num_rows, pa.bool_())
    table = table.set_column(table.column_names.index("was_slow"), "was_slow", nothing)
    run = Run(tmp_path, write_two_models(tmp_path / "home", table=table))
    run.fit()
    with pytest.raises(InvalidDataError, match="has a label in 'was_slow', the target of model travels"):
        run.choose()


def test_a_feature_that_knows_the_target_of_its_model_is_a_leak(tmp_path: Path) -> None:
    table = two_labels()
    slow = table["was_slow"].to_pylist()
    wait = pa.array([2.0 + bool(one) for one in slow])
    table = table.set_column(table.column_names.index("traffic"), "traffic", wait)
    run = Run(tmp_path, write_two_models(tmp_path / "home", table=table))
    extract.run(run.job, run.at("table"))
    with pytest.raises(LeakageError, match=r"feature 'traffic' .* alone tells every label of 'was_slow'"):
        check.run(run.job, run.at("table"), run.at("report"))


def test_labels_of_single_models_are_not_known_before_the_systems_own(tmp_path: Path) -> None:
    run = Run(tmp_path, write_two_models(tmp_path / "home"))
    extract.run(run.job, run.at("table"))
    table = read_table(Path(run.at("table")))
    young = table["label_available_at"].is_null()
    assert table.filter(young)["left_late"].null_count == table.filter(young).num_rows > 0


def test_a_metric_of_a_persons_own_chooses_each_model_and_judges_what_they_say_together(
    tmp_path: Path,
) -> None:
    home = tmp_path / "home"
    own = {"name": "missed", "better": "Lower", "custom": {"factory": "mymetrics:missed"}}
    system = write_two_models(
        home,
        training={
            "candidates": two_models_document()["spec"]["training"]["candidates"],
            "choose": {"metric": "missed"},
        },
        evaluation={"metrics": [own], "gates": [{"metric": "missed", "margin": 0.02}]},
    )
    (home / "mymetrics.py").write_text(
        "import numpy as np\n"
        "def missed():\n"
        "    def measure(truth, predictions, weights):\n"
        "        said = predictions['probability'] >= 0.5\n"
        "        return np.average(truth & ~said, weights=weights)\n"
        "    return measure\n"
    )
    run = Run(tmp_path, system)
    run.fit()
    assert run.choose()["reason"].count("has missed 0.") == 2
    run.finish()
    evaluation = run.read("evaluation")
    assert 0 < evaluation["metrics"]["missed"] < 0.5
    assert evaluation["metrics"]["missed"] != evaluation["models"]["leaves"]["metrics"]["missed"]
    assert [gate["metric"] for gate in evaluation["gates"]] == ["missed"]


def shops(days: int = 60, per_day: int = 12, items: int = 6) -> pa.Table:
    """Requests of six items each: `likes` finds roughly, `price` tells the good ones apart."""
    rng = np.random.default_rng(4)
    requests = days * per_day
    rows = requests * items
    likes, price = rng.normal(0, 1, rows), rng.normal(0, 1, rows)
    relevance = np.digitize(likes - 2 * price + rng.normal(0, 0.5, rows), [0.5, 2.5]).astype(float)
    begin = datetime(2013, 1, 1, tzinfo=UTC)
    times = [begin + timedelta(days=days * (row // items) / requests) for row in range(rows)]
    instant = pa.timestamp("us", "UTC")
    return pa.table(
        {
            "order_id": [f"i{row}" for row in range(rows)],
            "request": [f"r{row // items}" for row in range(rows)],
            "ordered_at": pa.array(times, instant),
            "delivered_at": pa.array([time + timedelta(hours=1) for time in times], instant),
            "likes": likes,
            "price": price,
            "relevance": relevance,
        }
    )


def test_a_sequence_is_judged_request_by_request(tmp_path: Path) -> None:
    system = write_two_models(
        tmp_path / "home",
        table=shops(),
        objective={"task": "Ranking", "target": "relevance"},
        data={
            "sources": [
                {"name": "deliveries", "parquet": {"path": "deliveries.parquet", "timeColumn": "ordered_at"}}
            ],
            "keys": {"id": "order_id", "time": "ordered_at", "group": "request"},
            "label": {"column": "relevance", "availableAt": "delivered_at", "maximumDelay": "1d"},
            "split": {"byTime": {"validation": "5d", "test": "10d"}},
        },
        features=[{"name": "likes", "numeric": {}}, {"name": "price", "numeric": {}}],
        training={"candidates": [{"name": "line", "linearRegression": {}}]},
        models=[{"name": "finds", "features": ["likes"]}, {"name": "ranks"}],
        combine={"rule": "Sequence", "keep": 3},
        evaluation={},
    )
    run = Run(tmp_path, system)
    run.fit()
    run.choose()
    run.finish()
    evaluation = run.read("evaluation")
    each = {name: found["metrics"]["ndcgAt10"] for name, found in evaluation["models"].items()}
    # The second orders three of six items, those that the first hands on.
    assert each["finds"] < evaluation["metrics"]["ndcgAt10"] < each["ranks"]
    cases = Parted.read(Path(run.at("cases")))
    judged = Cases.of(cases.rows(cases.test), system)
    pipeline = joblib.load(Path(run.at("model")) / "pipeline.joblib")
    said = predict(judged.task, pipeline, judged.table, groups=judged.groups)
    assert judged.groups is not None
    for group in range(3):
        rows = judged.groups == group
        alone = predict(judged.task, pipeline, judged.table.filter(pa.array(rows)))
        assert said["score"][rows].tolist() == alone["score"].tolist()
    watched = load_reference(Path(run.at("model")) / "detectors").outputs
    assert [output.column for output in watched] == ["finds.score", "ranks.score"]


def test_a_champion_of_one_model_is_judged_beside_several(tmp_path: Path) -> None:
    alone = Run(tmp_path, write_two_models(tmp_path / "home", models=[], combine=None))
    alone.fit()
    alone.choose()
    alone.finish()
    tag, digest = BentoPackager(tmp_path / "bentos").package(
        SystemName("two-models"), Path(alone.at("model"))
    )
    champion = ModelVersion(
        VersionName("v1"), digest, RunName("before"), tag, as_of=datetime(2013, 1, 20, tzinfo=UTC), metrics={}
    )
    run = Run(tmp_path / "next", write_two_models(tmp_path / "home"), champion)
    (tmp_path / "next" / "bentos").symlink_to(tmp_path / "bentos")
    run.fit()
    run.choose()
    evaluate.run(run.job, run.at("cases"), run.at("choice"), run.at("evaluation"))
    evaluation = run.read("evaluation")
    before = alone.read("evaluation")
    assert evaluation["champion"] == "v1"
    assert evaluation["champion_metrics"]["rocAuc"] == pytest.approx(before["metrics"]["rocAuc"], abs=0.02)
    assert evaluation["champion_metrics"]["rocAuc"] != evaluation["metrics"]["rocAuc"]
    (gate,) = evaluation["gates"]
    assert "against v1's" in gate["message"]
    assert before["models"] == {}
