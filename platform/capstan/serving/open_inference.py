"""The Open Inference Protocol (V2) over JSON: one tensor per column in, one per kind of answer out.

https://github.com/open-inference/open-inference-protocol
"""

from __future__ import annotations

from typing import Any

import numpy as np

from capstan.errors import InvalidRequestError
from capstan.serving.manifest import BINARY, MULTICLASS, Manifest
from capstan.serving.schema import RequestSchema, Row, shown

FLOATS = frozenset({"FP16", "FP32", "FP64"})
INTEGERS = frozenset({"INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64"})


def rows_of(body: object, schema: RequestSchema) -> list[Row]:
    """The rows that the tensors spell, all valid; raises InvalidRequestError. `null` in `data` is a missing value."""
    if type(body) is not dict:
        raise InvalidRequestError("body", shown(body), 'must be an object with "inputs"')
    inputs = body.get("inputs")
    if type(inputs) is not list or not inputs:
        raise InvalidRequestError("inputs", shown(inputs), "must be a list of tensors, one per column")
    columns: dict[str, list[Any]] = {}
    count: int | None = None
    for index, tensor in enumerate(inputs):
        name, values = _column(tensor, f"inputs[{index}]")
        if name in columns:
            raise InvalidRequestError(f"inputs[{index}].name", name, "is given twice")
        if count is not None and len(values) != count:
            raise InvalidRequestError(
                f"inputs[{index}].data", len(values), f"must hold {count} rows as the first tensor does"
            )
        count = len(values)
        columns[name] = values
    schema.check_count(count or 0)
    names = tuple(columns)
    rows: list[Row] = [
        dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]
    for index, row in enumerate(rows):
        schema.check(row, f"rows[{index}]." if len(rows) > 1 else "")
    return rows


def _column(tensor: object, where: str) -> tuple[str, list[Any]]:
    if type(tensor) is not dict:
        raise InvalidRequestError(where, shown(tensor), "must be a tensor object")
    name, datatype, data = tensor.get("name"), tensor.get("datatype"), tensor.get("data")
    if type(name) is not str:
        raise InvalidRequestError(f"{where}.name", shown(name), "must be the name of a column")
    if type(data) is not list:
        raise InvalidRequestError(
            f"{where}.data", shown(data), "must be a list of values; binary data is not taken"
        )
    if data and type(data[0]) is list:
        data = [value for part in data for value in (part if type(part) is list else (part,))]
    shape = tensor.get("shape")
    if shape not in ([len(data)], [len(data), 1]):
        raise InvalidRequestError(
            f"{where}.shape", shown(shape), f"must be [{len(data)}] or [{len(data)}, 1] as data is"
        )
    return name, _typed(data, datatype, where)


def _typed(data: list[Any], datatype: object, where: str) -> list[Any]:
    """The values, if they are of the datatype; integers stand for floats as JSON does not tell 1 from 1.0."""
    if datatype in FLOATS:
        wanted: tuple[type, ...] = (float, int)
    elif datatype in INTEGERS:
        wanted = (int,)
    elif datatype == "BOOL":
        wanted = (bool,)
    elif datatype == "BYTES":
        wanted = (str,)
    else:
        known = ", ".join(("BOOL", "BYTES", *sorted(FLOATS), *sorted(INTEGERS)))
        raise InvalidRequestError(f"{where}.datatype", shown(datatype), f"must be one of {known}")
    for index, value in enumerate(data):
        if value is not None and type(value) not in wanted:
            raise InvalidRequestError(
                f"{where}.data[{index}]", shown(value), f"is not of datatype {datatype}"
            )
    return data


def answer(
    manifest: Manifest, name: str, version: str, request_id: str, predictions: np.ndarray[Any, Any]
) -> dict[str, Any]:
    """The response body for finite predictions."""
    rows = len(predictions)
    if manifest.task == BINARY:
        labels = [
            manifest.classes[-1] if p >= manifest.threshold else manifest.classes[0]
            for p in predictions.tolist()
        ]
        outputs = [_tensor("probability", "FP64", [rows], predictions.tolist()), _labels(labels)]
    elif manifest.task == MULTICLASS:
        labels = [manifest.classes[i] for i in predictions.argmax(axis=1).tolist()]
        flat = predictions.ravel().tolist()
        outputs = [_tensor("probabilities", "FP64", [rows, predictions.shape[1]], flat), _labels(labels)]
    else:
        outputs = [_tensor("value", "FP64", [rows], predictions.tolist())]
    return {"model_name": name, "model_version": version, "id": request_id, "outputs": outputs}


def metadata(manifest: Manifest, name: str, version: str) -> dict[str, Any]:
    """`GET /v2/models/{name}`."""
    outputs: list[dict[str, Any]]
    if manifest.task == BINARY:
        outputs = [_described("probability", "FP64"), _described("label", _label_datatype(manifest.classes))]
    elif manifest.task == MULTICLASS:
        shape = [-1, len(manifest.classes)]
        outputs = [
            {"name": "probabilities", "datatype": "FP64", "shape": shape},
            _described("label", _label_datatype(manifest.classes)),
        ]
    else:
        outputs = [_described("value", "FP64")]
    inputs = [_described(column.name, "FP64" if column.numeric else "BYTES") for column in manifest.columns]
    return {
        "name": name,
        "versions": [version],
        "platform": "capstan_sklearn",
        "inputs": inputs,
        "outputs": outputs,
    }


def _tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


def _described(name: str, datatype: str) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1]}


def _labels(labels: list[object]) -> dict[str, Any]:
    datatype = _label_datatype(tuple(labels))
    return _tensor("label", datatype, [len(labels)], [str(x) if datatype == "BYTES" else x for x in labels])


def _label_datatype(classes: tuple[object, ...]) -> str:
    if all(type(value) is bool for value in classes):
        return "BOOL"
    if all(type(value) is int for value in classes):
        return "INT64"
    return "FP64" if all(type(value) in (int, float) for value in classes) else "BYTES"
