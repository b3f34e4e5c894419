"""Trainings of equal inputs are run once, whoever asks for them; what they depend on makes another training."""

from __future__ import annotations

import itertools
import json
from datetime import UTC, date, datetime
from importlib.metadata import distributions
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from contract.training_system import write_system

from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import Digest, ModelVersion, RunName, SystemName, VersionName
from capstan.embedded.backtest import inputs
from capstan.embedded.backtest.grid import is_to_be_asked_again, tasks_of
from capstan.embedded.backtest.inputs import (
    backtest_digest,
    data_digest,
    document_of,
    rows_digest,
    training_digest,
)
from capstan.embedded.backtest.trainings import SharedTrainings
from capstan.embedded.backtest.wiring import BacktestPlaces
from capstan.embedded.replay.whole_replay import Scope
from capstan.errors import InvalidDataError
from capstan.ports.codec import to_json
from capstan.spec import MLSystem, parse
from capstan.spec.replay import Replay
from capstan.training.job import Job, Places

AT = datetime(2013, 2, 20, tzinfo=UTC)


def request(
    run: str = "run-a", at: datetime = AT, champion: str | None = None, seed: int = 0
) -> TrainingRequest:
    trigger = Trigger(TriggerKind.INITIAL, at, "because")
    name = VersionName(champion) if champion else None
    return TrainingRequest(RunName(run), SystemName("deliveries"), trigger, name, seed)


def version(name: str, digest: str = "sha256:aa") -> ModelVersion:
    return ModelVersion(VersionName(name), Digest(digest), RunName("run-0"), "deliveries:aa", AT)


class Trainer:
    """Leaves a status in the run's folder, as the steps do."""

    def __init__(self, phase: RunPhase = RunPhase.SUCCEEDED) -> None:
        self.phase = phase
        self.trained: list[str] = []
        self.folders: list[Path] = []

    def train(self, folder: Path) -> None:
        job = Job(folder)
        self.trained.append(job.request.run)
        self.folders.append(folder)
        made = ModelVersion(VersionName(""), Digest("sha256:bb"), job.request.run, "deliveries:bb", AT)
        done = RunStatus(self.phase, version=made if self.phase is RunPhase.SUCCEEDED else None)
        (folder / "status.json").write_text(json.dumps(to_json(done)))


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> MLSystem:
    return write_system(tmp_path_factory.mktemp("deliveries"))


def changed(system: MLSystem, path: str, value: Any) -> MLSystem:
    document = document_of(system)
    node = document["spec"]
    *parents, last = path.split(".")
    for name in parents:
        node = node.setdefault(name, {})
    node[last] = value
    return parse(document, base_dir=system.base_dir)


def trainings(system: MLSystem, folder: Path, trainer: Trainer, *champions: ModelVersion) -> SharedTrainings:
    known = {one.name: one for one in champions}
    places = Places(str(system.base_dir), str(folder), "", "", str(folder / "models"), is_served=False)
    return SharedTrainings(
        system,
        folder,
        data=data_digest(system),
        document=document_of(system),
        places=places,
        trainer=trainer,
        champion=known.get,
    )


def test_the_second_that_asks_gets_the_result_under_its_own_run(system: MLSystem, tmp_path: Path) -> None:
    trainer = Trainer()
    first = trainings(system, tmp_path, trainer).result(request("run-a"))
    again = trainings(changed(system, "retraining.cooldown", "3d"), tmp_path, trainer)
    second = again.result(request("run-b"))
    assert trainer.trained == ["run-a"]
    assert first.version is not None
    assert second.version is not None
    assert (first.version.run, second.version.run) == ("run-a", "run-b")
    assert first.version.digest == second.version.digest
    assert (again.asked, again.run) == (1, 0)


def test_a_training_that_failed_is_tried_again(system: MLSystem, tmp_path: Path) -> None:
    broken = Trainer(RunPhase.FAILED)
    first = trainings(system, tmp_path, broken)
    assert first.result(request()).phase is RunPhase.FAILED
    assert first.failed == 1
    mended = Trainer()
    assert trainings(system, tmp_path, mended).result(request()).phase is RunPhase.SUCCEEDED
    assert mended.trained == ["run-a"]


def test_a_policy_of_which_a_training_failed_is_asked_again(tmp_path: Path) -> None:
    kept = tmp_path / "policy.json"
    assert not is_to_be_asked_again(kept), "it was never asked"
    for failed in (0, 1):
        kept.write_text(json.dumps({"failed_trainings": failed}))
        assert is_to_be_asked_again(kept) is bool(failed)


def test_each_try_has_a_folder_of_its_own_and_that_of_the_former_goes(
    system: MLSystem, tmp_path: Path
) -> None:
    killed, next_one = Trainer(RunPhase.FAILED), Trainer()
    trainings(system, tmp_path, killed).result(request())
    trainings(system, tmp_path, next_one).result(request())
    assert killed.folders != next_one.folders
    assert [killed.folders[0].exists(), next_one.folders[0].exists()] == [False, True]


def test_what_a_model_follows_from_makes_another_training(system: MLSystem) -> None:
    data = data_digest(system)
    plain = training_digest(system, data, request(), None)
    others = [
        training_digest(system, data, request(at=datetime(2013, 2, 21, tzinfo=UTC)), None),
        training_digest(system, data, request(seed=1), None),
        training_digest(system, "other rows", request(), None),
        training_digest(system, data, request(champion="v1"), version("v1")),
        training_digest(system, data, request(champion="v1"), version("v1", "sha256:cc")),
        training_digest(changed(system, "training.seed", 99), data, request(), None),
        training_digest(changed(system, "monitoring.drift.consecutive", 3), data, request(), None),
    ]
    assert len({plain, *others}) == 8


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("retraining.cooldown", "3d"),
        ("monitoring.drift.minEffect", 0.2),
        ("monitoring.quality.maxDrop", 0.2),
        ("rollout.progressDeadline", "9m"),
    ],
)
def test_a_policy_that_changes_no_model_shares_its_trainings_and_has_a_result_of_its_own(
    system: MLSystem, path: str, value: Any
) -> None:
    other, data = changed(system, path, value), data_digest(system)
    assert training_digest(other, data, request(), None) == training_digest(system, data, request(), None)
    assert backtest_digest(other, data, ()) != backtest_digest(system, data, ())


def test_other_rows_and_other_code_are_other_inputs_and_a_database_is_refused(tmp_path: Path) -> None:
    system = write_system(tmp_path)
    before = data_digest(system)
    assert data_digest(system) == before
    [code, *_] = sorted(tmp_path.glob("*.py"))
    code.write_text(code.read_text() + "\n# another\n")
    assert data_digest(system) != before
    document = document_of(system)
    name = document["spec"]["data"]["sources"][0]["name"]
    url = {"secretKeyRef": {"name": "db", "key": "url"}}
    document["spec"]["data"]["sources"] = [{"name": name, "database": {"table": "t", "urlFrom": url}}]
    with pytest.raises(InvalidDataError, match=r"spec.data.sources\[0\].database: .* is no file"):
        data_digest(parse(document, base_dir=tmp_path))


def test_all_that_is_carried_beside_the_code_is_an_input_and_so_is_the_folder_of_a_file(
    tmp_path: Path,
) -> None:
    system = write_system(tmp_path)
    package = tmp_path / "ownfeatures"
    package.mkdir()
    (tmp_path / "ownfeatures.py").rename(package / "__init__.py")
    words = package / "words.txt"
    words.write_text("rain")
    before = data_digest(system)
    words.write_text("snow")
    assert data_digest(system) != before
    of_months = changed(system, "data.sources", parts_of(system, "rows"))
    (tmp_path / "rows" / "month=1").mkdir(parents=True)
    (tmp_path / "deliveries.parquet").rename(tmp_path / "rows" / "month=1" / "part.parquet")
    first = rows_digest(of_months)
    (tmp_path / "rows" / "month=1").rename(tmp_path / "rows" / "month=2")
    assert rows_digest(of_months) != first


def parts_of(system: MLSystem, path: str) -> list[Any]:
    [source] = document_of(system)["spec"]["data"]["sources"]
    return [{**source, "parquet": {**source["parquet"], "path": path}}]


def test_the_code_of_each_policy_is_an_input_of_its_own(tmp_path: Path) -> None:
    system = write_system(tmp_path)
    other = tmp_path / "other.py"
    other.write_text("from own import stump\n")
    candidates = [{"name": "own", "custom": {"factory": "other:stump"}}]
    policies = [system, changed(system, "training.candidates", candidates)]
    before = tasks_of(system, policies, scope(), places(tmp_path))
    other.write_text("def stump():\n    return None\n")
    after = tasks_of(system, policies, scope(), places(tmp_path))
    assert before[0] == after[0], "whose file does not name that module"
    assert before[1].data != after[1].data
    assert before[1].kept != after[1].kept


def test_shares_that_look_alike_have_results_of_their_own(system: MLSystem, tmp_path: Path) -> None:
    one, two = (
        tasks_of(system, [system], scope(share), places(tmp_path))[0].kept
        for share in (0.12345678, 0.12345679)
    )
    assert one != two


def places(folder: Path) -> BacktestPlaces:
    return BacktestPlaces(folder / "backtests", folder)


def scope(share: float = 1.0) -> Scope:
    start = datetime(2013, 2, 1, tzinfo=UTC)
    return Scope(
        Replay(start=start.date(), end=date(2013, 3, 1)), start, datetime(2013, 3, 1, tzinfo=UTC), share
    )


def test_another_release_of_a_library_is_another_input(
    system: MLSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    def digests() -> tuple[str, str]:
        inputs.installed_digest.cache_clear()
        return training_digest(system, "rows", request(), None), backtest_digest(system, "rows", ())

    before = digests()
    assert digests() == before
    texts = {"METADATA": "Metadata-Version: 2.4\nName: scikit-learn\nVersion: 99.0\n\nName: of another\n"}
    monkeypatch.setattr(inputs, "distributions", lambda: [SimpleNamespace(read_text=texts.get)])
    after = digests()
    monkeypatch.undo()
    assert digests() == before
    assert [before[0] != after[0], before[1] != after[1]] == [True, True]


def test_what_is_installed_is_named_as_the_library_names_it() -> None:
    for one in itertools.islice(distributions(), 5):
        assert inputs._named(one) == f"{one.name}=={one.version}"
