"""What a label is: which are taken, and how two deliveries of one are told from a correction.

Of several labels of one case that are known at a moment, the one with the latest `availableAt` counts; labels that
became known at the same instant are ordered by content, so that no order of delivery changes what is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple, cast

import pyarrow as pa

from capstan.errors import InvalidRequestError
from capstan.recording.payloads import TIMESTAMP
from capstan.recording.posted import Form, moment_of, read_each, require_known, subject_of
from capstan.spec.tasks import LabelKind
from capstan.tasks.labels import LABELS, LabelValue, Words, label_of
from capstan.tasks.labels import Label as LabelForm

_FIELDS = ("id", "requestId", "label", "availableAt", "noLabel")
LABEL_COLUMNS = pa.schema(
    [
        ("entity_id", pa.string()),
        ("request_id", pa.string()),
        ("label_boolean", pa.bool_()),
        ("label_number", pa.float64()),
        ("label_text", pa.string()),
        ("no_label", pa.bool_()),
        ("available_at", TIMESTAMP),
        ("received_at", TIMESTAMP),
    ]
)
"""One of three columns holds the label, as its kind says: labels of two kinds never mix, whatever a file becomes."""


class Label(NamedTuple):
    """The truth about one case, or the word that there will never be one."""

    entity_id: str | None
    request_id: str | None
    value: LabelValue | None
    """None for a case that will never have a label."""
    available_at: datetime | None
    """None: when it was received."""
    kind: LabelKind

    @property
    def case(self) -> str:
        return f"i{self.entity_id}" if self.entity_id is not None else f"r{self.request_id}"


def read_as(kind: LabelKind, words: Words | None = None) -> list[str]:
    """What is kept beside a body, so that it is read in the same way again: the kind, and the words of the file."""
    return [kind, *(words or ())]


def labels_of(entries: list[Any], said: list[str]) -> list[Label]:
    """The entries as labels of a system's task, all or none; raises InvalidRequestError that names the bad ones.

    `said`: as `read_as` gives it.
    """
    return read_each("labels", entries, partial(_label, _kind(said), form_of(said)))


def form_of(said: list[str]) -> LabelForm:
    """How labels are read that `read_as` tells of."""
    return label_of(_kind(said), (said[1], said[2]) if len(said) > 1 else None)


def _kind(said: list[str]) -> LabelKind:
    return cast("LabelKind", said[0])


def _label(kind: LabelKind, form: LabelForm, where: str, entry: dict[str, Any]) -> Label:
    require_known(entry, _FIELDS, where)
    name, identity = subject_of(where, entry, ("id", "requestId"))
    if name == "requestId" and not form.is_of_request:
        rule = "names the items of a group; label each of them by its id, which its row must have carried"
        raise InvalidRequestError(f"{where}.requestId", identity, rule)
    return Label(
        entity_id=identity if name == "id" else None,
        request_id=identity if name == "requestId" else None,
        available_at=moment_of(where, entry, "availableAt"),
        value=_value(where, entry, form),
        kind=kind,
    )


def _value(where: str, entry: dict[str, Any], form: LabelForm) -> LabelValue | None:
    label, without = entry.get("label"), entry.get("noLabel", False)
    if not isinstance(without, bool):
        raise InvalidRequestError(f"{where}.noLabel", without, "must be true or false")
    if without:
        if label is not None:
            raise InvalidRequestError(f"{where}.label", label, "must be left out with noLabel: true")
        return None
    if label is None:
        raise InvalidRequestError(f"{where}.label", None, "is missing; noLabel: true says that there is none")
    value = form.parse(label)
    if value is not None:
        return value
    raise InvalidRequestError(
        f"{where}.label", label, f"is no label; write {form.forms}, or noLabel: true where there is none"
    )


def table_of(labels: Iterable[tuple[Label, datetime]]) -> pa.Table:
    """Labels with the moments of their receipt as one table, in the order of their `availableAt`."""
    rows = sorted(labels, key=lambda row: row[0].available_at or row[1])
    return pa.table(
        {
            "entity_id": [label.entity_id for label, _ in rows],
            "request_id": [label.request_id for label, _ in rows],
            **{
                column: [label.value if LABELS[label.kind].column == column else None for label, _ in rows]
                for column in ("label_boolean", "label_number", "label_text")
            },
            "no_label": [label.value is None for label, _ in rows],
            "available_at": [label.available_at or received for label, received in rows],
            "received_at": [received for _, received in rows],
        },
        schema=LABEL_COLUMNS,
    )


FEEDBACK = Form("labels", "label", '{"labels": [{"id": "...", "label": true}]}', labels_of, table_of)
