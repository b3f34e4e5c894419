"""A model of ONNX, PyTorch or XGBoost that is handed over, as one that answers like scikit-learn's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from capstan.errors import InvalidDataError, NotFoundError
from capstan.features.imported import as_frame
from capstan.spec import MLSystem
from capstan.tasks import Task

CHECKED_ROWS = 200
"""Rows of the sample on which what is served is compared with what was handed over."""
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
"""A program of single precision may add the same numbers in another order."""
ONNX_SUFFIX, TORCH_SUFFIX = ".onnx", ".pt2"
XGBOOST_SUFFIXES = (".ubj", ".json")
"""Of what `save_model` of XGBoost writes."""
_LIBRARIES = ("onnx", "onnxruntime", "torch", "xgboost")


def is_foreign(model: Any) -> bool:
    """Whether it is a model of ONNX, PyTorch or XGBoost, or a file of one."""
    return isinstance(model, bytes | bytearray | str | Path) or _library(model) != ""


def as_estimator(
    model: Any,
    system: MLSystem,
    task: Task,
    table: pa.Table,
    *,
    columns: Sequence[str] | None,
    classes: Sequence[object] | None,
) -> tuple[Any, str]:
    """The model with `predict` or `predict_proba`, and what it is called.

    `model`: an ONNX model as bytes, as a path or as `onnx.ModelProto`; a module of PyTorch or a program that
    `torch.export` made; a Booster or an estimator of XGBoost, or the path of what `save_model` wrote. `table`: the
    labelled rows, on which inputs and outputs are tried. `columns`, `classes`: in the model's order, where it does not
    say them.

    Raises InvalidDataError that says what does not fit, MissingExtraError, NotFoundError for a file that is not there.
    """
    if not is_foreign(model):
        if classes is not None:
            raise InvalidDataError(
                f"classes: {type(model).__name__} says its classes itself; leave `classes` out"
            )
        return model, f"imported {type(model).__name__}"
    library = _library(model)
    read = {"torch": _torch, "xgboost": _xgboost}.get(library, _onnx)
    try:
        return read(model, system, task, table, columns=columns, classes=classes)
    except InvalidDataError as error:
        name = {"torch": type(model).__name__, "xgboost": "the model of XGBoost"}.get(
            library, "the model of ONNX"
        )
        raise InvalidDataError(f"{name}: {error}") from error


def _onnx(
    model: Any,
    system: MLSystem,
    task: Task,
    table: pa.Table,
    *,
    columns: Sequence[str] | None,
    classes: Sequence[object] | None,
) -> tuple[Any, str]:
    from capstan.features.foreign.onnx import OnnxModel, columns_of, output_of, require_types, session_of

    content = _onnx_bytes(model)
    session = session_of(content)
    features = {feature.column: feature for feature in system.spec.features}
    read = columns_of(session, columns, list(features))
    _require_known(read, list(features))
    numeric = frozenset(name for name in read if features[name].reading == "numeric")
    require_types(session, read, numeric)
    output = output_of(session, task.method)
    rows = as_frame(table.slice(0, CHECKED_ROWS), read, numeric)
    if task.method != "predict_proba":
        return OnnxModel(content, read, output, None), "imported model of ONNX"
    found = OnnxModel(content, read, output, []).answers(rows)
    if isinstance(found, list):
        if classes is not None:
            raise InvalidDataError(
                "classes: the model names the class of each probability itself; leave `classes` out"
            )
        named: Sequence[object] = list(found[0])
    else:
        named = _classes(np.asarray(found), classes, task)
    return OnnxModel(content, read, output, named), "imported model of ONNX"


def _torch(
    model: Any,
    system: MLSystem,
    task: Task,
    table: pa.Table,
    *,
    columns: Sequence[str] | None,
    classes: Sequence[object] | None,
) -> tuple[Any, str]:
    from capstan.features.foreign.torch import TorchModel, exported, run

    columns = _matrix_columns(columns, system)
    rows = as_frame(table.slice(0, CHECKED_ROWS), columns, frozenset(columns))
    content, original, dtype = exported(model, rows)
    named: Sequence[object] | None = None
    said = run(original, rows.to_numpy(dtype=dtype))
    if task.method == "predict_proba":
        named = _classes(np.asarray(said), classes, task)
    made = TorchModel(content, columns, named, dtype=dtype)
    for part in (rows, rows.head(1)):
        if not np.allclose(made.answers(part), said[: len(part)], equal_nan=True, **TOLERANCE):
            raise InvalidDataError(
                f"the program that torch.export makes of it answers the sample otherwise than it does, "
                f"beyond {_bounds()}"
            )
    return made, f"imported {type(model).__name__} of PyTorch"


def _xgboost(
    model: Any,
    system: MLSystem,
    task: Task,
    table: pa.Table,
    *,
    columns: Sequence[str] | None,
    classes: Sequence[object] | None,
) -> tuple[Any, str]:
    from capstan.features.foreign.xgboost import XgboostModel, parts_of

    content, named, own, rounds = parts_of(model)
    read = _matrix_columns(named if columns is None else columns, system)
    if named is not None and columns is not None and len(columns) != len(named):
        raise InvalidDataError(f"columns: it learnt from {len(named)} columns, and {len(columns)} are named")
    if task.method != "predict_proba":
        return XgboostModel(content, read, None, rounds=rounds), "imported model of XGBoost"
    rows = as_frame(table.slice(0, CHECKED_ROWS), read, frozenset(read))
    found = XgboostModel(content, read, [], rounds=rounds).answers(rows)
    # An estimator numbers its classes, and a Booster does not know them; the person may know their names.
    said = _classes(
        np.asarray(found), own if classes is None and own is not None and len(own) > 2 else classes, task
    )
    return XgboostModel(content, read, said, rounds=rounds), "imported model of XGBoost"


def _matrix_columns(columns: Sequence[str] | None, system: MLSystem) -> list[str]:
    """The columns of a matrix of numbers; raises InvalidDataError for those that make none."""
    features = {feature.column: feature for feature in system.spec.features}
    if columns is None:
        raise InvalidDataError(
            "it does not say which columns it learnt from; name them in order by `columns`"
        )
    _require_known(columns, list(features))
    texts = next((name for name in columns if features[name].reading != "numeric"), None)
    if texts is not None:
        raise InvalidDataError(
            f"columns: {texts!r} is a category in the file, but the model reads a matrix of numbers; "
            "name columns of numbers"
        )
    return list(columns)


def _classes(found: Any, classes: Sequence[object] | None, task: Task) -> Sequence[object]:
    """The classes of an output that is an array; raises InvalidDataError where nobody says them."""
    width = found.shape[1] if found.ndim == 2 and found.shape[1] > 1 else 2
    if classes is None and width == 2 and task.label.parse(True) is True:
        return [False, True]
    if classes is None:
        raise InvalidDataError(
            f"it gives {width} probabilities and does not say of which classes; name them in order by `classes`"
        )
    if len(classes) != width:
        raise InvalidDataError(
            f"classes: it gives {width} probabilities, and {len(classes)} classes are named"
        )
    return list(classes)


def _require_known(read: Sequence[str], features: Sequence[str]) -> None:
    unknown = [name for name in read if name not in features]
    if unknown:
        raise InvalidDataError(
            f"it reads {', '.join(map(repr, unknown))}, but no feature of the file does; features read "
            f"{', '.join(features)}. Where its inputs have other names, name the columns in their order by `columns`"
        )


def _onnx_bytes(model: Any) -> bytes:
    if isinstance(model, bytes | bytearray):
        return bytes(model)
    if isinstance(model, str | Path):
        path = Path(model)
        if path.suffix.lower() != ONNX_SUFFIX:
            raise InvalidDataError(
                f"{path} does not end in {ONNX_SUFFIX}; load the model and hand it over, or use `capstan import`"
            )
        try:
            return path.read_bytes()
        except OSError as error:
            raise NotFoundError(f"{path}: cannot be read: {error.strerror}") from error
    serialise = getattr(model, "SerializeToString", None)
    if not callable(serialise):
        raise InvalidDataError(
            f"{type(model).__name__} cannot be stored as a model; give the file's path, its bytes or an "
            "onnx.ModelProto"
        )
    content: bytes = serialise()
    return content


def _library(model: Any) -> str:
    """Of the nearest class that belongs to one of them: a module of PyTorch is of a class of its maker.

    A pipeline of scikit-learn that ends in XGBoost is of scikit-learn, and is kept as it is.
    """
    if isinstance(model, str | Path) and Path(model).suffix.lower() in XGBOOST_SUFFIXES:
        return "xgboost"
    tops = (one.__module__.partition(".")[0] for one in type(model).__mro__)
    return next((top for top in tops if top in _LIBRARIES), "")


def _bounds() -> str:
    return f"{TOLERANCE['rtol']:g} of a value and {TOLERANCE['atol']:g}"


def require_same(served: Any, said: Any) -> None:
    """Raises InvalidDataError where the packaged model does not answer the sample as the one that was handed over.

    `served`, `said`: predictions of the same rows.
    """
    for name, column in said.columns.items():
        if column.dtype.kind != "f":
            continue
        found = served[name]
        equal = np.isclose(found, column, equal_nan=True, **TOLERANCE)
        if not equal.all():
            row = int(np.argmin(equal))
            raise InvalidDataError(
                f"the packaged model answers {name} {found[row]:.9g} for row {row + 1} of the sample, where the model "
                f"that was handed over answers {column[row]:.9g}: they differ by more than {_bounds()}"
            )
