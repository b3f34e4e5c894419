"""`requirements.place: OnDevice` lets only those versions pass that a graph of ONNX answers for."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from unit.pipelines.test_own_metric import Trained, document, write_home

from capstan.errors import MissingExtraError
from capstan_pipelines.steps import package
from capstan_pipelines.steps.documents import read_document


def packaged(folder: Path, family: str, place: str = "OnDevice") -> dict[str, Any]:
    made = document(choose={"metric": "rocAuc"})
    made["spec"]["training"] |= {"candidates": [{"name": "one", family: {}}]}
    made["spec"]["evaluation"] |= {"gates": []}
    made["spec"]["requirements"] = {"place": place}
    trained = Trained(folder / "run", write_home(folder / "home"), made)
    places = {name: str(trained.folder / name) for name in ("job", "model", "runners_up", "package")}
    package.run(*places.values())
    found: dict[str, Any] = read_document(places["package"])
    return found


def test_a_line_leaves_for_a_device(tmp_path: Path) -> None:
    (gate,) = packaged(tmp_path, "logisticRegression")["gates"]
    assert (gate["metric"], gate["passed"]) == ("place", True)
    assert "example rows as the model does" in gate["message"]


def test_a_model_without_a_graph_does_not_pass(tmp_path: Path) -> None:
    (gate,) = packaged(tmp_path, "nearestNeighbors")["gates"]
    assert gate["passed"] is False
    assert "there is no graph of ONNX: nearestNeighbors can't be exported to ONNX" in gate["message"]


def test_a_place_that_is_a_cloud_asks_for_nothing(tmp_path: Path) -> None:
    assert packaged(tmp_path, "nearestNeighbors", "Cloud")["gates"] == []


def test_without_the_extra_nothing_is_learnt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "capstan.exporting.proving.find_spec", lambda name: None if name == "onnx" else sys.modules[__name__]
    )
    with pytest.raises(MissingExtraError, match=r"requirements\.place: OnDevice.*capstan-mlops\[onnx\]"):
        packaged(tmp_path, "logisticRegression")
    assert not (tmp_path / "run" / "report").exists()
