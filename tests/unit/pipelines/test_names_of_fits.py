"""The loop of the pipeline gets the candidates of every model, on a KFP server as on one machine."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract.training_system import write_system
from contract.two_models_system import write_two_models

from capstan.adapters.kubeflow.compile import StepSettings, compile_pipeline
from capstan.adapters.kubeflow.server import KfpServerPipelines
from capstan.adapters.memory.loop import MemoryRegistry
from capstan.artifacts.store import ArtifactStore
from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName
from capstan.spec import MLSystem
from capstan.training.job import Places


class Asked:
    """What a KFP server was asked to run; it has run nothing before."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.definition: bytes | str = b""

    def experiment(self, name: str, namespace: str) -> str:
        return f"{namespace}/{name}"

    def find_run(self, run: str, experiment: str) -> None:
        return None

    def pipeline(self, name: str, namespace: str, definition: bytes, version: str) -> dict[str, str]:
        self.definition = definition
        return {"pipeline_id": name, "pipeline_version_id": version}

    def create_run(self, run: dict[str, Any], namespace: str) -> None:
        self.runs.append(run)


def started(folder: Path, system: MLSystem) -> Asked:
    asked = Asked()
    store = f"file://{folder / 'artifacts'}"
    places = Places(str(system.base_dir), str(folder / "secrets"), "", "", str(folder / "bentos"), store)
    pipelines = KfpServerPipelines(
        system,
        asked,  # type: ignore[arg-type]
        MemoryRegistry(),
        ArtifactStore(store),
        name=system.metadata.name,
        namespace="shop",
        places=places,
        address=store,
        settings=lambda _: StepSettings(image="capstan-python:test"),
        compiled=lambda settings: compile_pipeline(settings, folder),
    )
    trigger = Trigger(TriggerKind.INITIAL, datetime(2013, 3, 1, tzinfo=UTC), "a test")
    pipelines.start(TrainingRequest(RunName("run"), SystemName(system.metadata.name), trigger, None))
    return asked


@pytest.mark.parametrize(
    ("write", "names"),
    [
        (write_system, ["baseline", "broken", "own", "trees"]),
        (write_two_models, ["leaves/logistic", "leaves/trees", "travels/logistic"]),
    ],
    ids=["one model", "two models"],
)
def test_one_compiled_pipeline_loops_over_the_candidates_of_every_model(
    tmp_path: Path, write: Any, names: list[str]
) -> None:
    asked = started(tmp_path, write(tmp_path / "home"))
    (run,) = asked.runs
    assert run["runtime_config"]["parameters"]["candidates"] == names
    compiled = next(yaml.safe_load_all(asked.definition))
    loops = [
        task
        for task in compiled["root"]["dag"]["tasks"].values()
        if "parameterIterator" in task or "iterator" in str(task).lower()
    ]
    assert len(loops) == 1, "one loop, however many models"
