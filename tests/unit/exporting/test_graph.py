"""What the file holds, and rows that lie on a border to the last bit."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from unit.exporting.fitted_tables import compared, exported, fitted, later_rows, manifest_of

from capstan.errors import MissingExtraError
from capstan.exporting.graph import Graph
from capstan.exporting.trees import largest_below
from capstan.exporting.version import export_graph
from capstan.features.rowwise import compile_predict
from capstan.tasks import task_with
from capstan.tasks.binary import BinaryClassification


def thresholds(model: Any) -> list[tuple[int, float]]:
    """(column of the matrix, threshold) of each question about a number."""
    if hasattr(model, "model"):
        trees = [one.tree_ for one in getattr(model.model, "estimators_", [model.model])]
        return [
            (int(column), float(threshold))
            for tree in trees
            for column, threshold in zip(tree.feature, tree.threshold, strict=True)
            if column >= 0
        ]
    return [
        (int(node["feature_idx"]), float(node["num_threshold"]))
        for (predictor,) in model._predictors
        for node in predictor.nodes
        if not node["is_leaf"]
    ]


@pytest.mark.parametrize("family", ["decisionTree", "randomForest", "gradientBoosting"])
@pytest.mark.parametrize("scale", ["None", "ZScore", "Log"])
def test_rows_on_a_threshold_and_beside_it_fall_as_in_service(family: str, scale: str) -> None:
    features = [{"name": name, "numeric": {"scale": scale}} for name in ("x", "price")]
    pipeline = fitted(family, "Number", features=features)
    transform = pipeline.steps[0][1]
    rows: list[dict[str, object]] = []
    for column, threshold in thresholds(pipeline.steps[1][1]):
        name = ("x", "price")[column]

        def made(value: float, name: str = name, column: int = column) -> float:
            return float(transform.features_[column].transform([value])[0, 0])

        border = largest_below(lambda values: np.array([made(float(values[0]))]), threshold)
        beside = (np.nextafter(border, -np.inf), border, np.nextafter(border, np.inf))
        rows += [{"x": 0.1, "price": 1.0, name: float(value)} for value in beside]
    assert len(rows) > 90
    told = compared(pipeline, rows, task_with("Number"))
    assert told.difference < 1e-12
    predict = compile_predict(pipeline)
    assert len({predict(row) for row in rows}) > 10, "the rows fall into different leaves"


@pytest.mark.parametrize("threshold", [-3.0, -1e-90, 0.0, 1e-90, 0.1, 1e90])
def test_the_largest_number_below_is_the_last_one_that_holds(threshold: float) -> None:
    found = largest_below(np.cbrt, threshold)
    assert np.cbrt(found) <= threshold < np.cbrt(np.nextafter(found, np.inf))
    always = np.inf if threshold >= 1 else -np.inf
    assert largest_below(np.ones_like, threshold) == always


def test_a_graph_tells_what_it_is_and_the_same_version_gives_the_same_bytes() -> None:
    pipeline, task = fitted("gradientBoosting", "Category"), task_with("Category")
    first, second = exported(pipeline, task), exported(pipeline, task)
    assert first.content == second.content
    model = onnx.load_from_string(first.content)
    facts = {one.key: one.value for one in model.metadata_props}
    assert facts["capstan.version"] == "v1"
    assert (facts["capstan.task"], facts["capstan.target"]) == ("its task", "y")
    assert json.loads(facts["capstan.classes"]) == ["high", "low", "mid"]
    columns = {one["name"]: one for one in json.loads(facts["capstan.columns"])}
    assert [columns[name]["type"] for name in ("x", "vip", "kind", "day")] == [
        *("Number", "Boolean", "Text", "Time"),
    ]
    assert (columns["x"]["missing"], columns["kind"]["missing"]) == ("NaN", "an empty text")
    inputs = {one.name: one.type for one in onnxruntime.InferenceSession(first.content).get_inputs()}
    assert inputs["vip"] == inputs["rate"] == "tensor(double)"
    assert inputs["kind"] == inputs["day"] == "tensor(string)"
    # A column is called as an output is, so that the output has another name.
    assert json.loads(facts["capstan.outputs"]) == {"probabilities": "probabilities", "label": "label_"}


def test_labels_have_the_words_and_the_threshold_of_the_version() -> None:
    pipeline, rows = fitted("logisticRegression", "Boolean"), later_rows()
    for words, threshold, kind in ((None, 0.5, "tensor(bool)"), (("no", "yes"), 0.8, "tensor(string)")):
        task = BinaryClassification(words=words, threshold=threshold)
        manifest = replace(manifest_of(pipeline, task), learnt=task.learnt(pipeline.steps[1][1]))
        graph = export_graph(pipeline, manifest, task, {}, "")
        session = onnxruntime.InferenceSession(graph.content)
        chance, label = session.run(None, {one.name: one.values(rows) for one in graph.inputs})
        assert session.get_outputs()[1].type == kind
        wanted = chance >= threshold
        assert list(label) == (list(wanted) if words is None else [words[int(one)] for one in wanted])
        assert 0 < wanted.sum() < len(wanted)


def test_a_file_is_read_where_only_onnxruntime_and_numpy_are(tmp_path: Path) -> None:
    pipeline, task = fitted("randomForest", "Boolean"), task_with("Boolean")
    graph, rows = exported(pipeline, task), later_rows()[:20]
    (tmp_path / "model.onnx").write_bytes(graph.content)
    columns = {one.name: [*map(_as_json, one.values(rows).tolist())] for one in graph.inputs}
    (tmp_path / "rows.json").write_text(json.dumps(columns))
    code = """
import importlib.abc, json, sys
class Only(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("capstan", "onnx", "sklearn", "scipy", "pandas", "pyarrow", "joblib"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Only())
import numpy as np, onnxruntime
session = onnxruntime.InferenceSession("model.onnx")
columns = json.load(open("rows.json"))
kinds = {"tensor(double)": np.float64, "tensor(string)": object}
feed = {
    one.name: np.array([float("nan") if v is None else v for v in columns[one.name]], dtype=kinds[one.type])
    for one in session.get_inputs()
}
print(json.dumps(session.run(["probability"], feed)[0].tolist()))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    predict = compile_predict(pipeline)
    np.testing.assert_allclose(json.loads(done.stdout), [predict(row) for row in rows], rtol=1e-12)


def _as_json(value: object) -> object:
    return None if value != value else value


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'capstan-mlops\[onnx\]'"):
        Graph()
