"""What somebody types to get a prediction and, later, to hand its label in."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from capstan.spec import MLSystem

EXAMPLE_ID = "example-1"
"""Id of the case that an example row stands for, so that a label can be joined to it."""
_JSON = "-H 'content-type: application/json'"


def predict_line(url: str, body: Mapping[str, Any] | None) -> str:
    """None: nothing is known of its columns."""
    text = shlex.quote(orjson.dumps(body).decode()) if body else "'{\"column\": value, ...}'"
    return f"  curl {url} {_JSON} -d {text}"


def feedback_lines(url: str, token: str, *, identified: bool) -> list[str]:
    """`token`: what the shell puts in its place; `identified`: whether the row had EXAMPLE_ID."""
    case = f'"id": "{EXAMPLE_ID}"' if identified else '"requestId": "REQUEST_ID"'
    label = f'\'{{"labels": [{{{case}, "label": true}}]}}\''
    return [
        f"and tell later what was true, by {'the id of the row' if identified else 'the request_id of the answer'}:",
        f'  curl {url} {_JSON} -H "authorization: Bearer {token}" -d {label}',
    ]


def row_of(system: MLSystem) -> dict[str, str | None]:
    """A row of all columns that the file names; null where somebody puts a value of theirs.

    With EXAMPLE_ID, but where features read the id's column.
    """
    columns = dict.fromkeys(feature.column for feature in system.spec.features)
    return {system.spec.data.keys.id: EXAMPLE_ID, **columns}


def tensors_of(system: MLSystem) -> dict[str, Any]:
    """The same row as the Open Inference Protocol writes it."""
    numbers = {feature.column for feature in system.spec.features if feature.reading == "numeric"}
    tensors = [
        {
            "name": column,
            "datatype": "FP64" if column in numbers else "BYTES",
            "shape": [1],
            "data": [value],
        }
        for column, value in row_of(system).items()
    ]
    return {"inputs": tensors}
