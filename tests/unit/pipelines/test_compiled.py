"""The YAML that a KFP server gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from capstan_pipelines.compile import compile_pipeline


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("compiled") / "train.yaml"
    compile_pipeline(path)
    found: dict[str, Any] = next(yaml.safe_load_all(path.read_text()))
    return found


def test_the_graph_shows_the_steps_in_their_order(compiled: dict[str, Any]) -> None:
    tasks = compiled["root"]["dag"]["tasks"]
    depends = {name: sorted(task.get("dependentTasks", [])) for name, task in tasks.items()}
    assert set(depends["check"]) == {"extract", "importer"}
    assert "check" in depends["split"]
    assert "split" in depends["for-loop-1"] or "split" in depends["candidates"]
    loop = next(name for name in tasks if "iterator" in str(tasks[name]).lower())
    assert loop in depends["choose"]
    assert "choose" in depends["evaluate"]
    assert {"choose", "evaluate"} <= set(depends["refit"])
    assert "refit" in depends["package"]
    assert {"check", "choose", "evaluate", "package", "refit"} <= set(depends["register"])


def test_steps_install_nothing_cache_nothing_and_share_one_image(compiled: dict[str, Any]) -> None:
    executors = compiled["deploymentSpec"]["executors"]
    containers = [executor["container"] for executor in executors.values() if "container" in executor]
    assert len(containers) == 9
    assert len({container["image"] for container in containers}) == 1
    for container in containers:
        text = " ".join([*container["command"], *container.get("args", [])])
        assert "pip install" not in text
        assert len(text) < 2000, "logic belongs into capstan_pipelines.steps"
    loops = [c["dag"]["tasks"] for c in compiled["components"].values() if "dag" in c]
    tasks = [*compiled["root"]["dag"]["tasks"].items(), *(item for loop in loops for item in loop.items())]
    work = [
        (name, task) for name, task in tasks if "iterator" not in str(task).lower() and name != "importer"
    ]
    assert all(not task.get("cachingOptions", {}).get("enableCache") for _, task in work), work


def test_it_takes_a_folder_and_names_and_gives_the_result(compiled: dict[str, Any]) -> None:
    inputs = compiled["root"]["inputDefinitions"]["parameters"]
    assert {name: value["parameterType"] for name, value in inputs.items()} == {
        "candidates": "LIST",
        "job": "STRING",
    }
    assert "artifacts" in compiled["root"]["outputDefinitions"]


def test_compiling_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    compile_pipeline(tmp_path / "a.yaml")
    compile_pipeline(tmp_path / "b.yaml")
    assert (tmp_path / "a.yaml").read_bytes() == (tmp_path / "b.yaml").read_bytes()
