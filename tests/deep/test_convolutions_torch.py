"""A network that looks at the pixels of images learns by PyTorch and is served by numpy."""

from __future__ import annotations

import base64
import io
import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_limits
from torch import nn
from torch.nn import functional

from capstan.errors import InvalidDataError
from capstan.features.kinds import unfitted
from capstan.features.rowwise import compile_predict
from capstan.features.transform import FeatureTransform
from capstan.spec.families import Candidate
from capstan.spec.features import Feature
from capstan.training.families import fit_model
from capstan.training.fitted.network import Convolutions
from capstan.training.lesson import Lesson

ROWS = 900
SMALL: dict[str, Any] = {"layers": [32], "epochs": 12, "batchRows": 64, "learningRate": 0.01, "device": "CPU"}
LOOKS: dict[str, Any] = {"feature": "picture", "channels": [8, 16]}


def text(pixels: Any) -> str:
    content = io.BytesIO()
    Image.fromarray((pixels * 15.9).astype(np.uint8)).save(content, "PNG")
    return base64.b64encode(content.getvalue()).decode()


@pytest.fixture(scope="module")
def table() -> pa.Table:
    """Digits and, behind them, one number that says nothing."""
    pictures = [text(image) for image in load_digits().images[: ROWS + 200]]
    return pa.table({"x": np.random.default_rng(3).normal(size=len(pictures)), "picture": pictures})


@pytest.fixture(scope="module")
def transform(table: pa.Table) -> FeatureTransform:
    features = [
        {"name": "x", "numeric": {}},
        {"name": "picture", "image": {"width": 8, "height": 8}},
    ]
    settings = tuple(unfitted(Feature.model_validate(one)) for one in features)
    return FeatureTransform(settings).fit(table.slice(0, ROWS))


@pytest.fixture(scope="module")
def given(table: pa.Table, transform: FeatureTransform) -> Lesson:
    digits = np.array([f"d{one}" for one in load_digits().target[:ROWS]])
    matrix = transform.transform(table.slice(0, ROWS))
    return Lesson(matrix, digits, label="Category", images=transform.images_, seed=3)


def net(lesson: Lesson, **settings: Any) -> Any:
    candidate = Candidate.model_validate({"name": "net", "neuralNetwork": {**SMALL, **settings}})
    with threadpool_limits(1):
        return fit_model(candidate, {}, lesson)


@pytest.fixture(scope="module")
def model(given: Lesson) -> Any:
    return net(given, convolve=LOOKS)


def test_digits_that_were_not_learnt_are_told_by_convolutions(
    model: Any, table: pa.Table, transform: FeatureTransform
) -> None:
    later = table.slice(ROWS)
    found = model.predict(transform.transform(later))
    wanted = [f"d{one}" for one in load_digits().target[ROWS : ROWS + 200]]
    assert np.mean(found == wanted) > 0.9
    assert model.network.convolutions is not None
    assert [kernel.shape for kernel in model.network.convolutions.kernels] == [(8, 1, 3, 3), (16, 8, 3, 3)]
    assert model.network.weights[0].shape[0] == 16 * 2 * 2 + 2


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("pool", [1, 2, 3])
def test_numpy_convolves_and_pools_as_pytorch_does(kernel: int, pool: int) -> None:
    rng = np.random.default_rng(1)
    kernels = [rng.normal(size=(4, 3, kernel, kernel)), rng.normal(size=(2, 4, kernel, kernel))]
    biases = [rng.normal(size=4), rng.normal(size=2)]
    pixels = rng.normal(size=(5, 3, 11, 10))
    values = torch.from_numpy(pixels)
    for one, bias in zip(kernels, biases, strict=True):
        made = functional.conv2d(values, torch.from_numpy(one), torch.from_numpy(bias), padding=kernel // 2)
        values = functional.max_pool2d(torch.tanh(made), pool)
    found = Convolutions((3, 11, 10), kernels, biases, pool).maps(pixels.reshape(5, -1), np.tanh)
    np.testing.assert_allclose(found, nn.Flatten()(values).numpy(), rtol=1e-12, atol=1e-12)


def test_a_row_is_answered_as_in_a_table_and_without_pytorch(
    model: Any, table: pa.Table, transform: FeatureTransform
) -> None:
    pipeline = Pipeline([("transform", transform), ("model", model)])
    predict = compile_predict(pipeline)
    rows = table.slice(ROWS, 20)
    wanted = model.predict_proba(transform.transform(rows))
    np.testing.assert_allclose([predict(row) for row in rows.to_pylist()], wanted, rtol=1e-9, atol=1e-12)
    code = (
        "import pickle, sys, numpy as np; model = pickle.loads(sys.stdin.buffer.read())\n"
        "print(repr(model.answer_one(np.linspace(0, 1, 66))[1]))\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(model), capture_output=True, check=True
    )
    assert float(done.stdout) == model.answer_one(np.linspace(0, 1, 66))[1]


def test_the_same_seed_gives_the_same_bytes_and_each_setting_another_model(given: Lesson, model: Any) -> None:
    quick = {"epochs": 1}
    first = pickle.dumps(net(given, convolve=LOOKS, **quick))
    assert pickle.dumps(net(given, convolve=LOOKS, **quick)) == first
    others = [{"kernel": 5}, {"pool": 1}, {"channels": [8]}]
    assert (
        len({first, *(pickle.dumps(net(given, convolve={**LOOKS, **one}, **quick)) for one in others)}) == 4
    )


def test_dropout_schedules_and_processes_go_with_convolutions(given: Lesson) -> None:
    found = net(
        given, convolve=LOOKS, dropout="20%", schedule="Cosine", optimizer="AdamW", clipNorm=1, epochs=2
    )
    assert np.isfinite(found.predict_proba(given.matrix[:5])).all()
    shared = net(given, convolve=LOOKS, processes=2, epochs=2)
    assert shared.network.convolutions is not None
    assert np.isfinite(shared.predict_proba(given.matrix[:5])).all()


def test_what_convolutions_cannot_look_at_is_refused_with_the_way_out(given: Lesson) -> None:
    with pytest.raises(InvalidDataError, match=r"'x' gives no pixels; name an `image` feature.*picture"):
        net(given, convolve={"feature": "x"})
    with pytest.raises(InvalidDataError, match=r"after 4 times `pool: 2` nothing is left of 8 by 8 pixels"):
        net(given, convolve={"feature": "picture", "channels": [4, 4, 4, 4]})
