"""What becomes of a run whose runners-up fail, or that is killed while it registers them, by the real steps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pyarrow as pa
import pytest
from unit.pipelines.test_own_metric import Trained, document, write_home

from capstan.adapters.kubernetes.run_results import recorded
from capstan.adapters.memory.loop import MemoryRegistry
from capstan.artifacts.store import ArtifactStore
from capstan.domain.training import RunStatus
from capstan.domain.versions import ModelVersion, RunName, VersionName
from capstan.errors import InvalidDataError, UnavailableError
from capstan.ports.registry import RunRecord
from capstan.training.job import Job
from capstan.training.result import read_result
from capstan_pipelines.steps import evaluate, package, refit, register
from capstan_pipelines.steps.runners_up import RunnersUp


class Registry(MemoryRegistry):
    """One that may end the process before it registers."""

    def __init__(self, *, dies_at: int = 0) -> None:
        super().__init__()
        self.calls_left = dies_at
        """0: it lives."""

    def record_run(self, version: ModelVersion, record: RunRecord) -> str:
        return "id"

    def register(
        self, version: ModelVersion, *, tags: Mapping[str, str], metrics: Mapping[str, float]
    ) -> ModelVersion:
        self.calls_left -= 1
        if self.calls_left == 0:
            raise KeyboardInterrupt
        return super().register(version, tags=tags, metrics=metrics)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_home(tmp_path_factory.mktemp("visits") / "home")


def train(folder: Path, home: Path) -> Trained:
    """A run that is asked for two runners-up; cost chooses `wary`, so they are `linear` and `steep`."""
    made = document()
    made["spec"]["training"]["candidates"].append({"name": "steep", "logisticRegression": {"l2": 100}})
    made["spec"]["rollout"] = {"steps": [{"experiment": {"weight": 20, "runnersUp": 2}}]}
    artifacts = (folder / "artifacts").as_uri()
    trained = Trained(folder, home, made, against=VersionName("v1"), artifacts=artifacts)
    trained.packaged()
    return trained


def registered(trained: Trained, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> RunStatus:
    monkeypatch.setattr(register, "registry_of", lambda _: registry)
    names = ("job", "model", "runners_up", "report", "choice", "evaluation", "package", "result")
    register.run(*(str(trained.folder / name) for name in names))
    return read_result((trained.folder / "result").read_bytes())


@pytest.mark.parametrize("step", [evaluate, refit], ids=["evaluate", "refit"])
def test_a_runner_up_that_fails_is_left_out_with_a_warning_and_the_run_goes_on(
    step: ModuleType, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit_chosen = step.fit_chosen

    def fit(job: Job, table: pa.Table, choice: Mapping[str, Any], say: Any) -> Any:
        if choice["chosen"][0]["name"] == "linear":
            raise ValueError("it does not\nconverge")
        return fit_chosen(job, table, choice, say)

    monkeypatch.setattr(step, "fit_chosen", fit)
    trained = train(tmp_path, home)
    ranks = {taken["name"]: rank for rank, taken in enumerate(trained.choice["runners_up"], 1)}
    assert ranks.keys() == {"linear", "steep"}
    places = str(trained.folder / "runners_up")
    assert RunnersUp.read(places).made == {ranks["steep"]: "steep"}
    assert not RunnersUp.folder(places, ranks["linear"]).exists()
    status = registered(trained, Registry(), monkeypatch)
    assert status.chosen == ("wary",)
    assert [(one.candidate, one.version.rank) for one in status.runners_up] == [("steep", ranks["steep"])]
    left_out = [text for text in status.warnings if "runner-up" in text]
    assert left_out == ["runner-up linear is left out: ValueError: it does not converge"]
    assert status.left_out == {"linear": "ValueError: it does not converge"}


def test_a_runner_up_that_cannot_be_packaged_is_left_out_and_the_run_goes_on(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = package._packaged

    def fail(job: Job, folder: Path, say: Any) -> dict[str, Any]:
        if json.loads((folder / "manifest.json").read_text())["candidate"] == "linear":
            raise InvalidDataError("its file is\ntoo large")
        return packaged(job, folder, say)

    monkeypatch.setattr(package, "_packaged", fail)
    trained = train(tmp_path, home)
    status = registered(trained, Registry(), monkeypatch)
    assert status.chosen == ("wary",)
    assert [one.candidate for one in status.runners_up] == ["steep"]
    assert status.left_out == {"linear": "its file is too large"}
    assert "runner-up linear is left out: its file is too large" in status.warnings


def test_an_artifact_store_that_is_away_is_no_fault_of_a_runner_up(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packaged = package._packaged

    def fail(job: Job, folder: Path, say: Any) -> dict[str, Any]:
        if json.loads((folder / "manifest.json").read_text())["candidate"] == "linear":
            raise UnavailableError("object storage", "connection refused")
        return packaged(job, folder, say)

    monkeypatch.setattr(package, "_packaged", fail)
    with pytest.raises(UnavailableError, match="connection refused"):
        train(tmp_path, home)


def test_a_run_that_is_killed_after_its_choice_is_registered_registers_the_rest_when_it_goes_on(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained, registry = train(tmp_path, home), Registry(dies_at=2)
    store = ArtifactStore((tmp_path / "artifacts").as_uri())
    with pytest.raises(KeyboardInterrupt):
        registered(trained, registry, monkeypatch)
    halfway = recorded(RunName("run"), registry, store)
    assert halfway is not None
    assert [version.name for version in halfway.made] == ["v1"], "nobody has judged what has no name"
    status = registered(trained, registry, monkeypatch)
    assert [(version.name, version.rank) for version in status.made] == [("v1", 0), ("v2", 1), ("v3", 2)]
    assert recorded(RunName("run"), registry, store) == status
    assert len(registry.versions()) == 3
    assert all(one.gates and one.version.digest != status.made[0].digest for one in status.runners_up)
