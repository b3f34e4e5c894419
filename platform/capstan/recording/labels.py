"""What a label is: which are taken, and how two deliveries of one are told from a correction.

Of several labels of one case that are known at a moment, the one with the latest `availableAt` counts; labels that
became known at the same instant are ordered by content, so that no order of delivery changes what is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from capstan.content_encoding import PACKED_UNTOLD, is_packed
from capstan.domain.payload_limits import id_rule, moment_rule, parse_moment
from capstan.errors import InvalidRequestError
from capstan.recording.payloads import TIMESTAMP
from capstan.spec.tasks import LabelKind
from capstan.tasks.labels import LABELS, LabelValue

MOST_LABELS = 100_000
MOST_PROBLEMS = 100
"""Bad labels that one answer lists."""
_FIELDS = ("labels", "system", "match")
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


class Feedback(NamedTuple):
    """One body of labels, which are read as soon as it is known whose they are."""

    system: str | None
    """None: the body names none."""
    entries: list[Any]
    match: bool
    """Whether the sender wants to hear which requests the labels are about."""


def parse_feedback(body: bytes) -> Feedback:
    """What a body of labels says, without the labels themselves; raises InvalidRequestError that names the field."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        if is_packed(body):
            raise InvalidRequestError("body", None, PACKED_UNTOLD) from None
        raise InvalidRequestError("body", body, f"is not JSON: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("labels"), list):
        raise InvalidRequestError(
            "labels", None, 'must be a list: {"labels": [{"id": "...", "label": true}]}'
        )
    labels = document["labels"]
    if len(labels) > MOST_LABELS:
        raise InvalidRequestError("labels", len(labels), f"holds more than {MOST_LABELS}; send fewer at once")
    unknown = min(set(document) - set(_FIELDS), default=None)
    if unknown is not None:
        raise InvalidRequestError(unknown, document[unknown], f"is unknown; known: {', '.join(_FIELDS)}")
    system, match = document.get("system"), document.get("match", True)
    if system is not None and not isinstance(system, str):
        raise InvalidRequestError("system", system, "must be the name of a system")
    if not isinstance(match, bool):
        raise InvalidRequestError("match", match, "must be true or false")
    return Feedback(system, labels, match)


def labels_of(entries: list[Any], kind: LabelKind) -> list[Label]:
    """The entries as labels of a system's task; raises InvalidRequestError that names the bad ones.

    All or none: a body with one bad label changes nothing, so the sender can mend it and send it again. Of many bad
    ones MOST_PROBLEMS are named.
    """
    labels: list[Label] = []
    problems: list[InvalidRequestError] = []
    for index, entry in enumerate(entries):
        try:
            labels.append(_label(index, entry, kind))
        except InvalidRequestError as error:
            problems.append(error)
            if len(problems) >= MOST_PROBLEMS:
                break
    raise_all(problems)
    return labels


def _label(index: int, entry: Any, kind: LabelKind) -> Label:
    where = f"labels[{index}]"
    if not isinstance(entry, dict):
        raise InvalidRequestError(where, entry, "must be an object")
    unknown = set(entry) - {"id", "requestId", "label", "availableAt", "noLabel"}
    if unknown:
        raise InvalidRequestError(
            f"{where}.{min(unknown)}",
            entry[min(unknown)],
            "is unknown; known: id, requestId, label, availableAt, noLabel",
        )
    ids = [entry.get("id"), entry.get("requestId")]
    if (ids[0] is None) == (ids[1] is None):
        raise InvalidRequestError(where, entry, "must have one of id and requestId")
    name, identity = ("id", ids[0]) if ids[0] is not None else ("requestId", ids[1])
    if isinstance(identity, int) and not isinstance(identity, bool):
        identity = str(identity)
    rule = id_rule(identity)
    if rule is not None or not isinstance(identity, str):
        raise InvalidRequestError(f"{where}.{name}", identity, rule or "must be a text")
    if name == "requestId" and not LABELS[kind].is_of_request:
        rule = "names the items of a group; label each of them by its id, which its row must have carried"
        raise InvalidRequestError(f"{where}.requestId", identity, rule)
    available_at = None
    if entry.get("availableAt") is not None:
        rule = moment_rule(entry["availableAt"])
        if rule is not None:
            raise InvalidRequestError(f"{where}.availableAt", entry["availableAt"], rule)
        available_at = parse_moment(entry["availableAt"])
    value = _value(where, entry, kind)
    return Label(
        entity_id=identity if name == "id" else None,
        request_id=identity if name == "requestId" else None,
        value=value,
        available_at=available_at,
        kind=kind,
    )


def _value(where: str, entry: dict[str, Any], kind: LabelKind) -> LabelValue | None:
    label, without = entry.get("label"), entry.get("noLabel", False)
    if not isinstance(without, bool):
        raise InvalidRequestError(f"{where}.noLabel", without, "must be true or false")
    if without:
        if label is not None:
            raise InvalidRequestError(f"{where}.label", label, "must be left out with noLabel: true")
        return None
    if label is None:
        raise InvalidRequestError(f"{where}.label", None, "is missing; noLabel: true says that there is none")
    form = LABELS[kind]
    value = form.parse(label)
    if value is not None:
        return value
    raise InvalidRequestError(
        f"{where}.label", label, f"is no label; write {form.forms}, or noLabel: true where there is none"
    )


def raise_all(problems: list[InvalidRequestError]) -> None:
    """Raise the problems as one error; nothing if there are none."""
    if problems:
        first, *others = problems[:MOST_PROBLEMS]
        raise InvalidRequestError(first.field, first.value, first.rule, others)


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
