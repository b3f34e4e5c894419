"""How other model servers write rows, so that a client of one is told how to write them here."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import orjson

from capstan.errors import InvalidRequestError

_FORMS = {
    "instances": "the form of TensorFlow Serving and Vertex AI",
    "dataframe_split": "a form of MLflow",
    "dataframe_records": "a form of MLflow",
    "inputs": "the Open Inference Protocol, which is spoken at /v2/models/NAME/infer,",
    "data": "the form of Seldon's first protocol",
    "ndarray": "the form of Seldon's first protocol",
    "jsonData": "the form of Seldon's first protocol",
    "input_data": "the form of Azure ML",
    "features": "a form of other servers",
    "records": "a form of other servers",
}
_COLUMNS_SHOWN = 3


def foreign_form(
    body: Mapping[str, Any], known: Collection[str], columns: Collection[str]
) -> InvalidRequestError | None:
    """What to tell a body that another system's client wrote; None if it is none.

    `known` are names that a row may have; `columns` those of the model, for an example.
    """
    for name, form in _FORMS.items():
        if name in body and name not in known:
            return InvalidRequestError(name, body[name], f"is {form} here; write {example(columns)}")
    return None


def example(columns: Collection[str]) -> str:
    """A body of this model, by its first columns."""
    row = ", ".join(f"{orjson.dumps(name).decode()}: ..." for name in list(columns)[:_COLUMNS_SHOWN])
    more = ", ..." if len(columns) > _COLUMNS_SHOWN else ""
    return f'{{{row}{more}}} for one row or {{"rows": [{{...}}, {{...}}]}} for several, to /predict'
