"""A model of ONNX becomes a version that answers as the graph does, or is refused with the reason."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper
from shop_frame import shop
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from typer.testing import CliRunner

import capstan
from capstan.cli.main import app
from capstan.errors import InvalidDataError, MissingExtraError, UntrustedArtifactError

NUMBERS = ["weight", "size"]
Make = Callable[..., capstan.System]


FRAME = shop(240)


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def system(target: str, features: list[str]) -> capstan.System:
        return capstan.System.from_dataframe(
            FRAME[[*features, target]],
            target,
            name="orders",
            folder=tmp_path / "orders",
            state=tmp_path / "state",
        )

    return system


def graph(model: Any, inputs: Any, **options: Any) -> Any:
    options = {id(model): options} if options else None
    return to_onnx(model, initial_types=inputs, options=options, target_opset=17)


MATRIX = [("rows", FloatTensorType([None, 2]))]


def prices() -> Any:
    return graph(LinearRegression().fit(FRAME[NUMBERS].to_numpy(), FRAME["price"]), MATRIX)


def test_a_graph_of_one_input_a_column_answers_by_their_names(make: Make) -> None:
    system = make("back", ["weight", "size", "shop"])
    encode = make_column_transformer((OneHotEncoder(), ["shop"]), remainder=StandardScaler())
    columns = ["shop", *NUMBERS]
    model = make_pipeline(encode, LogisticRegression()).fit(FRAME[columns], FRAME["back"])
    inputs = [
        ("shop", StringTensorType([None, 1])),
        *((name, FloatTensorType([None, 1])) for name in NUMBERS),
    ]
    made = system.deploy(graph(model, inputs), sample=FRAME)
    assert (made.version, made.model) == ("v1", "imported model of ONNX")
    assert made.metrics["rocAuc"] > 0.8
    expected = model.predict_proba(FRAME[columns].head(20))[:, 1]
    assert list(system.predict(FRAME.head(20))["probability"]) == pytest.approx(list(expected), abs=1e-5)
    (kept,) = (system.state / "bentos").rglob("pipeline.joblib")
    kept.chmod(0o600)
    kept.write_bytes(kept.read_bytes() + b"x")
    with pytest.raises(UntrustedArtifactError):
        system.predict(FRAME.head(2))


def test_the_command_reads_a_graph_without_asking_and_answers_numbers(make: Make, tmp_path: Path) -> None:
    system, file = make("price", NUMBERS), tmp_path / "prices.onnx"
    content = prices().SerializeToString()
    file.write_bytes(content)
    words = ["import", str(system.file), str(file), "--columns", "weight,size", "--state", str(system.state)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert "v1 (imported model of ONNX)" in done.stdout
    assert "runs whatever code" not in done.output
    for same in (file, content):
        assert system.deploy(same, columns=NUMBERS).version == "v1"
    rows = FRAME[NUMBERS].head(9).to_numpy(dtype=np.float32)
    (expected,) = onnxruntime.InferenceSession(content).run(None, {"rows": rows})
    assert list(system.predict(FRAME.head(9))["value"]) == pytest.approx(expected.reshape(-1).tolist())


@pytest.mark.parametrize("by_class", [True, False], ids=["map", "tensor"])
def test_probabilities_of_several_classes_come_by_name_or_by_the_order_that_is_said(
    make: Make, by_class: bool
) -> None:
    system = make("kind", NUMBERS)
    model = LogisticRegression().fit(FRAME[NUMBERS].to_numpy(), FRAME["kind"])
    made = graph(model, MATRIX, zipmap=by_class)
    if not by_class:
        with pytest.raises(InvalidDataError, match="3 probabilities and does not say of which classes"):
            system.deploy(made, columns=NUMBERS)
        with pytest.raises(InvalidDataError, match="3 probabilities, and 2 classes are named"):
            system.deploy(made, columns=NUMBERS, classes=["a", "b"])
    system.deploy(made, columns=NUMBERS, classes=None if by_class else ["a", "b", "c"])
    found = system.predict(FRAME.head(5))[[f"probabilities.{name}" for name in "abc"]].to_numpy()
    assert found == pytest.approx(model.predict_proba(FRAME[NUMBERS].head(5).to_numpy()), abs=1e-5)


def test_a_graph_of_one_row_is_asked_row_by_row(make: Make) -> None:
    system = make("price", NUMBERS)
    model = LinearRegression().fit(FRAME[NUMBERS].to_numpy(), FRAME["price"])
    system.deploy(graph(model, [("rows", FloatTensorType([1, 2]))]), columns=NUMBERS)
    expected = model.predict(FRAME[NUMBERS].head(4).to_numpy())
    assert list(system.predict(FRAME.head(4))["value"]) == pytest.approx(list(expected), rel=1e-5)


@pytest.fixture(scope="module")
def systems(tmp_path_factory: pytest.TempPathFactory) -> dict[str, capstan.System]:
    """One of each target, to which nothing is ever handed over."""
    folder = tmp_path_factory.mktemp("systems")
    return {
        target: capstan.System.from_dataframe(
            FRAME[["weight", "size", "shop", target]], target, folder=folder / target, state=folder / "state"
        )
        for target in ("back", "kind", "price")
    }


def numbers_of_classes() -> Any:
    return graph(
        LogisticRegression().fit(FRAME[NUMBERS].to_numpy(), FRAME["kind"]),
        MATRIX,
        raw_scores=True,
        zipmap=False,
    )


def weight_as(type_: int) -> Any:
    """A graph of one input of this type, which gives it as a float."""
    given = helper.make_tensor_value_info("weight", type_, [None, 1])
    gives = helper.make_tensor_value_info("price", TensorProto.FLOAT, [None, 1])
    cast = helper.make_node("Cast", ["weight"], ["price"], to=TensorProto.FLOAT)
    version = [helper.make_opsetid("", 17)]
    return helper.make_model(
        helper.make_graph([cast], "cast", [given], [gives]), opset_imports=version, ir_version=8
    )


@pytest.mark.parametrize(
    ("target", "given", "columns", "said"),
    [
        pytest.param("price", lambda: b"no graph", None, "cannot read it as a model of ONNX", id="no_graph"),
        pytest.param("price", lambda: "model.joblib", None, "does not end in .onnx", id="another_file"),
        pytest.param("price", prices, None, "reads one matrix, 'rows', .* by `columns`", id="no_columns"),
        pytest.param("price", prices, ["weight"], "learnt from 2 columns, and 1 are named", id="width"),
        pytest.param(
            "price",
            prices,
            ["weight", "colour"],
            "reads 'colour', but no feature of the file does",
            id="unknown",
        ),
        pytest.param(
            "price", prices, ["weight", "shop"], "'shop' is a category in the file, but its input", id="text"
        ),
        pytest.param(
            "price",
            lambda: weight_as(TensorProto.STRING),
            None,
            "'weight' is a number in the file, but its input 'weight' takes texts",
            id="number_as_text",
        ),
        pytest.param(
            "price",
            lambda: weight_as(TensorProto.INT64),
            None,
            r"'weight' is \d.*, which the model's input 'weight', tensor\(int64\), can't hold",
            id="fractions_for_whole_numbers",
        ),
        pytest.param("kind", numbers_of_classes, NUMBERS, "no probabilities; let it end with", id="logits"),
        pytest.param("back", prices, NUMBERS, "no probabilities; let it end with a sigmoid", id="regressor"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(
    systems: dict[str, capstan.System],
    target: str,
    given: Callable[[], Any],
    columns: list[str] | None,
    said: str,
) -> None:
    system = systems[target]
    classes = ["a", "b", "c"] if target == "kind" else None
    with pytest.raises(InvalidDataError, match=said):
        system.deploy(given(), columns=columns, classes=classes)
    assert system.versions.empty


def test_without_the_extra_it_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    system, given = make("price", NUMBERS), prices()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("capstan.features.foreign.onnx.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"a model of ONNX needs the extra 'onnx': pip install"):
        system.deploy(given, columns=NUMBERS)
