"""What somebody types to get a prediction and, later, to hand its label in."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    from capstan.spec import MLSystem
    from capstan.spec.online import OnlineMetric
    from capstan.tasks.labels import Label

EXAMPLE_ID = "example-1"
"""Id of the case that an example row stands for, so that a label can be joined to it."""
_JSON = "-H 'content-type: application/json'"


def predict_line(url: str, body: Mapping[str, Any] | None) -> str:
    """None: nothing is known of its columns."""
    text = shlex.quote(orjson.dumps(body).decode()) if body else "'{\"column\": value, ...}'"
    return f"  curl {url} {_JSON} -d {text}"


def feedback_lines(url: str, token: str, body: Mapping[str, Any] | None, label: Label) -> list[str]:
    """`token`: what the shell puts in its place; `body`: what was asked, whose label is of this kind."""
    several = (body or {}).get("rows")
    rows = several if isinstance(several, list) else [body or {}]
    identified = any(EXAMPLE_ID in row.values() for row in rows)
    if not identified and not label.is_of_request:
        return ["rows that carry their id can be labelled later"]
    case = {"id": EXAMPLE_ID} if identified else {"requestId": "REQUEST_ID"}
    document = shlex.quote(json.dumps({"labels": [{**case, "label": label.example}]}))
    return [
        f"and tell later what was true, by {'the id of the row' if identified else 'the request_id of the answer'}:",
        f'  curl {url} {_JSON} -H "authorization: Bearer {token}" -d {document}',
    ]


def event_lines(url: str, token: str, metrics: Sequence[OnlineMetric]) -> list[str]:
    """None where no online metric reads events; `token` as for feedback."""
    if not metrics:
        return []
    metric = next((one for one in metrics if one.needs_value), metrics[0])
    value = {"value": 12.5} if metric.needs_value else {}
    event = {"eventId": "event-1", "event": metric.event, "id": EXAMPLE_ID, **value}
    document = shlex.quote(json.dumps({"events": [event]}))
    return [
        "and what a user did with the answer:",
        f'  curl {url} {_JSON} -H "authorization: Bearer {token}" -d {document}',
    ]


def body_of(system: MLSystem) -> dict[str, Any]:
    """A request with all columns that the file names; null where somebody puts a value of theirs.

    With EXAMPLE_ID, but where features read the id's column. A request of a group has two rows.
    """
    row = row_of(system)
    if system.spec.data.keys.group is None:
        return row
    named = system.spec.data.keys.id
    return {"rows": [row, row if named is None else {**row, named: f"{EXAMPLE_ID}-too"}]}


def row_of(system: MLSystem) -> dict[str, Any]:
    """One row of such a request."""
    columns = dict.fromkeys(feature.column for feature in system.spec.features)
    named = system.spec.data.keys.id
    return columns if named is None else {named: EXAMPLE_ID, **columns}


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
