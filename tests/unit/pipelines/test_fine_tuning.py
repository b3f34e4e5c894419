"""A candidate goes on with the champion beside one that learns all rows, by the real steps; or says why it does not."""

from __future__ import annotations

import json
import shutil
from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pyarrow as pa
import pytest
from unit.pipelines.test_own_metric import DOCUMENT, Trained, write_home

from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import ModelVersion, RunName, SystemName, VersionName
from capstan.errors import InvalidDataError
from capstan.training.job import Job, Places, write_job
from capstan.training.result import read_result
from capstan_pipelines.steps import choose, evaluate, extract, fit, package, parent, refit, register, split
from capstan_pipelines.steps.cases import Parted, times_of

AS_OF = datetime(2024, 4, 1, tzinfo=UTC)
EARLIER = AS_OF - timedelta(days=40)
TREES = {"iterations": 10, "leaves": 4}


def document(**changes: Any) -> dict[str, Any]:
    """Trees, and trees that go on with the champion's."""
    made = deepcopy(DOCUMENT)
    spec = made["spec"]
    spec["training"] = {
        "candidates": changes.get(
            "candidates",
            [
                {"name": "baseline", "mostFrequent": {}},
                {"name": "trees", "gradientBoosting": changes.get("trees", TREES)},
                {"name": "onward", "fineTune": {"of": "trees", "rounds": 7}},
            ],
        )
    }
    spec["training"] |= {"reweigh": changes["reweigh"]} if "reweigh" in changes else {}
    spec["data"] |= {"query": changes["query"]} if "query" in changes else {}
    spec["features"] = changes.get("features", [{"name": "delay", "numeric": {}}])
    spec["data"]["split"] = {"byTime": {"validation": "7d", "test": changes.get("test", "7d")}}
    spec["evaluation"] = {"gates": []}
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_home(tmp_path_factory.mktemp("visits") / "home")


@pytest.fixture(scope="module")
def first(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """What the champion was trained by: there was nothing to go on with."""
    return Trained(tmp_path_factory.mktemp("first"), home, document(), as_of=EARLIER)


@pytest.fixture(scope="module")
def champion(first: Trained) -> ModelVersion:
    return replace(first.packaged(), as_of=EARLIER)


@pytest.fixture(scope="module")
def second(home: Path, champion: ModelVersion, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return Trained(tmp_path_factory.mktemp("second"), home, document(), champion=champion)


def fitted(trained: Trained, name: str = "onward") -> dict[str, Any]:
    return trained.read(name)


def trees_of(trained: Trained) -> int:
    return len(joblib.load(trained.model / "pipeline.joblib").steps[-1][1]._predictors)


def test_without_a_version_it_is_left_out_in_words_and_the_run_takes_another(first: Trained) -> None:
    why = "there is no version yet to go on with; it is tried from the next training on"
    assert (fitted(first)["left_out"], fitted(first)["failure"]) == (why, "")
    assert first.choice["chosen"][0]["name"] == "trees"
    assert first.choice["failed"] == {}


def test_it_learns_only_the_rows_that_came_since_and_stands_beside_all_rows(
    first: Trained, second: Trained
) -> None:
    until = datetime.fromisoformat(json.loads((first.model / "manifest.json").read_text())["learnt_until"])
    cases = Parted.read(second.folder / "cases")
    times = times_of(cases.table, "at")
    newer = times[cases.training] > np.datetime64(until.replace(tzinfo=None))
    assert 0 < newer.sum() < len(cases.training)
    assert fitted(second)["parent"] == {
        "version": "v1",
        "rows": int(newer.sum()),
        "since": until.isoformat(),
    }
    assert {"rocAuc"} <= fitted(second)["metrics"].keys() & fitted(second, "trees")["metrics"].keys()
    assert fitted(second)["metrics"] != fitted(second, "trees")["metrics"]


@pytest.fixture(scope="module")
def taken(home: Path, champion: ModelVersion, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """A run whose choice is the one that goes on, whatever it is worth."""
    made = document()
    made["spec"]["training"]["choose"] = {"metric": "rocAuc"}
    folder = tmp_path_factory.mktemp("taken")

    before = fit.run

    def run(job: str, name: str, cases: str, file: str) -> None:
        before(job, name, cases, file)
        if name == "onward":
            found = json.loads(Path(file).read_text())
            found["metrics"]["rocAuc"] = 0.999
            Path(file).write_text(json.dumps(found))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit, "run", run)
        trained = Trained(folder, home, made, champion=champion)
    trained.packaged()
    return trained


def test_the_model_that_is_served_is_the_champions_with_more_trees_of_newer_rows(
    first: Trained, taken: Trained
) -> None:
    assert taken.choice["chosen"][0]["name"] == "onward"
    assert (trees_of(first), trees_of(taken)) == (10, 17)
    before, after = (joblib.load(one.model / "pipeline.joblib") for one in (first, taken))
    table = pa.table({"delay": [-1.0, 0.0, 1.0]})
    assert not np.allclose(before.predict_proba(table), after.predict_proba(table))
    told = json.loads((taken.model / "manifest.json").read_text())
    assert (told["parent"], told["candidate"]) == ("v1", "onward")
    assert told["learnt_until"] > json.loads((first.model / "manifest.json").read_text())["learnt_until"]
    assert json.loads((first.model / "manifest.json").read_text())["parent"] is None


def test_its_parent_stands_in_the_ladder_in_the_tags_and_in_the_card(taken: Trained) -> None:
    at = {name: str(taken.folder / name) for name in ("job", "runners_up", "report", "choice", "evaluation")}
    register.unregistered(*at.values(), str(taken.folder / "package"), str(taken.folder / "result"))
    result = read_result((taken.folder / "result").read_bytes())
    (ladder,) = (one for one in result.details["tables"] if one["title"] == "Ladder")
    assert ladder["rows"] == ["baseline", "trees", "onward"]
    assert any(note.startswith("onward goes on with v1: it learnt ") for note in ladder["notes"])
    made = register.Made(
        Job(taken.folder / "job"),
        *(taken.read(name) for name in ("report", "choice", "evaluation", "package")),
        manifests={0: json.loads((taken.model / "manifest.json").read_text())},
    )
    assert made.tags["parent"] == "v1"
    assert "the model of v1" in register.card_html(made.card(VersionName("v2")))


def test_the_same_run_twice_gives_the_same_bytes(
    home: Path, champion: ModelVersion, second: Trained, tmp_path: Path
) -> None:
    again = Trained(tmp_path, home, document(), champion=champion)
    assert fitted(again)["metrics"] == fitted(second)["metrics"]
    one, two = ((run.model / "pipeline.joblib").read_bytes() for run in (again, second))
    assert one == two


OTHERS = [
    {"name": "baseline", "mostFrequent": {}},
    {"name": "trees", "randomForest": {"trees": 5}},
    {"name": "onward", "fineTune": {"of": "trees"}},
]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        (
            {"trees": {**TREES, "learningRate": 0.3}},
            "settings of 'trees' have changed since v1: learningRate",
        ),
        ({"candidates": OTHERS}, "v1 is 'trees', of gradientBoosting, and 'trees' is of randomForest"),
        (
            {"features": [{"name": "delay", "numeric": {"scale": "ZScore"}}]},
            "features have changed since v1: delay",
        ),
        ({"reweigh": {"by": ["delay"]}}, "`training.reweigh` has changed since v1"),
        ({"query": "select * from rows where true"}, "`data.query` has changed since v1"),
        (
            {"test": "35d"},
            "v1 has learnt rows up to 2024-02-18 00:00 UTC, and the validation window begins at",
        ),
    ],
    ids=["settings", "family", "features", "weights", "query", "rows-that-it-knows"],
)
def test_a_champion_that_it_can_not_go_on_with_leaves_it_out_in_words(
    changes: dict[str, Any], why: str, home: Path, champion: ModelVersion, tmp_path: Path
) -> None:
    trained = Trained(tmp_path, home, document(**changes), champion=champion)
    assert fitted(trained)["left_out"].startswith(why)
    assert (fitted(trained)["metrics"], fitted(trained)["failure"]) == ({}, "")
    assert trained.choice["chosen"][0]["name"] == "trees"
    assert trained.choice["failed"] == {}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"learnt_until": None}, "v1 does not say up to when it learnt, for an earlier Capstan made it"),
        (
            {"candidate": "imported Pipeline"},
            "v1 was made by 'imported Pipeline', which its file does not name",
        ),
    ],
    ids=["no-moment", "imported"],
)
def test_a_champion_that_does_not_say_what_it_is_leaves_it_out(
    changes: dict[str, Any],
    why: str,
    first: Trained,
    second: Trained,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copytree(first.model, tmp_path / "model")
    told = json.loads((tmp_path / "model" / "manifest.json").read_text())
    (tmp_path / "model" / "manifest.json").write_text(json.dumps({**told, **changes}))
    monkeypatch.setattr(parent, "champion_folder", lambda *_: tmp_path / "model")
    fit.run(str(second.folder / "job"), "onward", str(second.folder / "cases"), str(tmp_path / "fitted"))
    assert json.loads((tmp_path / "fitted").read_text())["left_out"].startswith(why)


def test_a_champion_whose_bytes_have_changed_is_not_gone_on_with(
    home: Path, champion: ModelVersion, second: Trained, tmp_path: Path
) -> None:
    shutil.copytree(second.folder / "job", tmp_path / "job")
    told = json.loads((tmp_path / "job" / "champion.json").read_text())
    (tmp_path / "job" / "champion.json").write_text(json.dumps({**told, "digest": f"sha256:{'0' * 64}"}))
    fit.run(str(tmp_path / "job"), "onward", str(second.folder / "cases"), str(tmp_path / "fitted"))
    failure = json.loads((tmp_path / "fitted").read_text())["failure"]
    assert "was changed after it was packaged and is not loaded" in failure


def test_the_newest_row_that_it_has_learnt_counts_as_known(second: Trained) -> None:
    cases = Parted.read(second.folder / "cases")
    newest = times_of(cases.table, "at")[cases.training].max().astype(datetime).replace(tzinfo=UTC)
    begins = times_of(cases.table, "at")[cases.validation].min().astype(datetime).replace(tzinfo=UTC)
    assert parent.Parent("v1", None, newest).knows(cases, "at") == ""
    assert "the validation window begins" in parent.Parent("v1", None, begins).knows(cases, "at")
    assert parent.Parent("v1", None, newest).since(cases.rows(cases.training), "at").num_rows == 0


class OfTwo:
    """A run of two models, of which one is to take the candidate that goes on."""

    def __init__(self, folder: Path, home: Path, as_of: datetime, champion: ModelVersion | None) -> None:
        self.folder = folder
        made = document()
        made["spec"]["models"] = [{"name": "one"}, {"name": "two", "candidates": ["trees"]}]
        made["spec"]["combine"] = {"rule": "Any"}
        trigger = Trigger(TriggerKind.INITIAL, as_of, "a test")
        request = TrainingRequest(RunName("run"), SystemName("visits"), trigger, None)
        places = Places(str(home), str(folder / "secrets"), "", "", str(home.parent / "bentos"))
        write_job(folder / "job", request=request, spec=made, places=places, champion=champion)
        at = {name: str(folder / name) for name in ("job", "table", "cases", "choice", "evaluation")}
        extract.run(at["job"], at["table"])
        split.run(at["job"], at["table"], at["cases"])
        names = [name for model in Job(at["job"]).system.spec.planned_models for name in model.fit_names]
        for name in names:
            fit.run(at["job"], name, at["cases"], str(folder / name))
        fitted = [str(folder / name) for name in names]
        choose.run(at["job"], fitted, at["choice"])
        if champion is not None:
            choice = json.loads((folder / "choice").read_text())
            choice["chosen"][0] |= {"name": "one/onward", "settings": {}}
            (folder / "choice").write_text(json.dumps(choice))
        evaluate.run(at["job"], at["cases"], at["choice"], at["evaluation"])
        runners_up = str(folder / "runners_up")
        refit.run(at["job"], at["cases"], at["choice"], at["evaluation"], str(folder / "model"), runners_up)
        package.run(at["job"], str(folder / "model"), runners_up, str(folder / "package"))

    @property
    def trees(self) -> list[int]:
        parts = joblib.load(self.folder / "model" / "pipeline.joblib").steps[-1][1].parts
        return [len(part.model._predictors) for part in parts]


def test_of_several_models_one_goes_on_with_its_own_part_of_the_champion(home: Path, tmp_path: Path) -> None:
    before = OfTwo(tmp_path / "before", home, EARLIER, None)
    made = json.loads((before.folder / "package").read_text())
    champion = ModelVersion(VersionName("v1"), made["digest"], RunName("run"), made["tag"], EARLIER)
    after = OfTwo(tmp_path / "after", home, AS_OF, champion)
    assert (before.trees, after.trees) == ([10, 10], [17, 10])
    assert json.loads((after.folder / "model" / "manifest.json").read_text())["parent"] == "v1"


def test_a_champion_that_has_learnt_balanced_rows_leaves_it_out(
    first: Trained, second: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(first.model, tmp_path / "model")
    spec = json.loads((tmp_path / "model" / "spec.json").read_text())
    spec["spec"]["training"]["balance"] = {"method": "Oversample"}
    spec["spec"]["training"]["candidates"].pop()
    (tmp_path / "model" / "spec.json").write_text(json.dumps(spec))
    monkeypatch.setattr(parent, "champion_folder", lambda *_: tmp_path / "model")
    fit.run(str(second.folder / "job"), "onward", str(second.folder / "cases"), str(tmp_path / "fitted"))
    assert json.loads((tmp_path / "fitted").read_text())["left_out"].startswith("v1 has learnt balanced rows")


def test_a_run_in_which_nothing_can_be_chosen_tells_what_was_left_out(first: Trained, tmp_path: Path) -> None:
    (tmp_path / "onward").write_text(json.dumps(fitted(first)))
    with pytest.raises(InvalidDataError, match="onward is left out: there is no version yet to go on with"):
        choose.run(str(first.folder / "job"), [str(tmp_path / "onward")], str(tmp_path / "choice"))
