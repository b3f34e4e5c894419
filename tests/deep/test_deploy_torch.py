"""A module of PyTorch becomes a version that answers as it does, or is refused with the reason."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from shop_frame import shop
from typer.testing import CliRunner

import capstan
from capstan.cli.main import app
from capstan.errors import InvalidDataError, MissingExtraError, UntrustedArtifactError

NUMBERS = ["weight", "size"]
Make = Callable[[str], capstan.System]


FRAME = shop(240)


class Net(torch.nn.Module):
    """Of this test alone: a program of it needs no code."""

    def __init__(self, outputs: int, last: torch.nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.hidden = torch.nn.Linear(2, 8)
        self.dropout = torch.nn.Dropout(0.5)
        self.out = torch.nn.Linear(8, outputs)
        self.last = last

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        found = self.out(self.dropout(torch.relu(self.hidden(rows))))
        return found if self.last is None else self.last(found)


def said(module: torch.nn.Module, frame: pd.DataFrame) -> Any:
    module.eval()
    with torch.inference_mode():
        return module(torch.tensor(frame[NUMBERS].to_numpy(dtype=np.float32))).numpy()


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def system(target: str) -> capstan.System:
        return capstan.System.from_dataframe(
            FRAME[["weight", "size", "shop", target]],
            target,
            name="orders",
            folder=tmp_path / "orders",
            state=tmp_path / "state",
        )

    return system


def test_a_module_of_the_notebook_answers_numbers_and_goes_on_training(make: Make) -> None:
    system, module = make("price"), Net(1).train()
    made = system.deploy(module, columns=NUMBERS, sample=FRAME)
    assert (made.version, made.model) == ("v1", "imported Net of PyTorch")
    assert module.training
    found = system.predict(FRAME.head(9))["value"]
    assert list(found) == pytest.approx(said(module, FRAME.head(9)).reshape(-1).tolist(), rel=1e-5)
    (kept,) = (system.state / "bentos").rglob("pipeline.joblib")
    kept.chmod(0o600)
    kept.write_bytes(kept.read_bytes() + b"x")
    with pytest.raises(UntrustedArtifactError):
        system.predict(FRAME.head(2))


def test_one_probability_is_that_of_the_positive_class(make: Make) -> None:
    system, module = make("back"), Net(1, torch.nn.Sigmoid())
    system.deploy(module, columns=NUMBERS)
    found = system.predict(FRAME.head(5))["probability"]
    assert list(found) == pytest.approx(said(module, FRAME.head(5)).reshape(-1).tolist(), rel=1e-5)


def test_a_program_of_a_file_is_read_on_purpose_and_answers_the_classes_that_are_said(
    make: Make, tmp_path: Path
) -> None:
    system, module = make("kind"), Net(3, torch.nn.Softmax(dim=1)).eval()
    shapes = ({0: torch.export.Dim("rows")},)
    program = torch.export.export(module, (torch.zeros(3, 2),), dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "model.pt2")
    words = ["import", str(system.file), str(tmp_path / "model.pt2"), "--state", str(system.state)]
    words += ["--columns", "weight,size"]
    refused = CliRunner().invoke(app, words, input="n\n")
    assert (refused.exit_code, "runs whatever code" in refused.stderr) == (1, True)
    unnamed = CliRunner().invoke(app, [*words, "--yes"])
    assert "does not say of which classes; name them in order by `classes`" in unnamed.stderr
    done = CliRunner().invoke(app, [*words, "--yes", "--classes", "a,b,c"])
    assert done.exit_code == 0, done.output
    found = system.predict(FRAME.head(5))[[f"probabilities.{name}" for name in "abc"]].to_numpy()
    assert found == pytest.approx(said(module, FRAME.head(5)), abs=1e-6)


class OfTwo(torch.nn.Module):
    def forward(self, weight: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        return weight + size


class Locked(Net):
    """Holds what cannot be copied."""

    def __init__(self) -> None:
        super().__init__(1)
        self.lock = threading.Lock()


@pytest.mark.parametrize(
    ("target", "module", "columns", "reason"),
    [
        pytest.param(
            "price", Net(1), None, "Net: it does not say which columns .* by `columns`", id="columns"
        ),
        pytest.param("price", Net(1), ["weight", "shop"], "'shop' is a category in the file", id="text"),
        pytest.param(
            "price", Net(1), ["weight"], "Net: it can't be exported: .* take one matrix", id="width"
        ),
        pytest.param("price", OfTwo(), NUMBERS, "OfTwo: it can't be exported", id="two_inputs"),
        pytest.param("price", Locked(), NUMBERS, "Locked: it can't be exported: TypeError", id="no_copy"),
        pytest.param("price", Net(2), NUMBERS, "must be one number a row", id="two_numbers"),
        pytest.param("back", Net(2), NUMBERS, "are no probabilities; let it end with a sigmoid", id="logits"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_way_out(
    make: Make, target: str, module: torch.nn.Module, columns: list[str] | None, reason: str
) -> None:
    system = make(target)
    with pytest.raises(InvalidDataError, match=f"(?s){reason}"):
        system.deploy(module, columns=columns)
    assert system.versions.empty


def test_without_the_extra_it_is_named(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capstan.features.foreign.torch.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"a model of PyTorch needs the extra 'deep': pip install"):
        make("price").deploy(Net(1), columns=NUMBERS)
