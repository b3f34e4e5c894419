"""The rows that traffic is made of: the cases of the file's own sources, or those of a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import orjson

from capstan.data import extract
from capstan.data.asked_rows import asked_rows
from capstan.data.images import ImageFiles
from capstan.embedded.asking import asked_columns
from capstan.embedded.replay.recorded_rows import RecordedTraffic, record_traffic
from capstan.embedded.traffic.plan import Case, KeyColumns, RecordedRequest
from capstan.errors import InvalidDataError
from capstan.features.values import ColumnType
from capstan.serving.manifest import Manifest
from capstan.spec import MLSystem
from capstan.tasks import task_of


def key_columns(manifest: Manifest) -> KeyColumns:
    """Those that a request to the model carries."""
    keys = manifest.keys
    return KeyColumns(keys.get("id"), keys.get("time"), keys.get("group"))


def rows_of_file(
    system: MLSystem, manifest: Manifest, secrets: Path | None = None
) -> tuple[RecordedRequest, ...]:
    """All cases of the file's sources with their labels, as a training reads them; raises InvalidDataError."""
    table = extract(system, as_of=None, labels_as_of=None, secrets=secrets)
    data = system.spec.data
    traffic = record_traffic(
        table,
        columns=list(asked_columns(system, manifest)),
        id_column=data.keys.id_column,
        time_column=data.keys.time_column,
        key_column=data.keys.sticky_by,
        group_column=data.keys.group,
        label_column=data.label.column,
        share=1.0,
        no_label_delay_microseconds=0,
    )
    return _requests(traffic, _sent(system, manifest))


def rows_of_table(file: Path, system: MLSystem, manifest: Manifest) -> tuple[RecordedRequest, ...]:
    """The rows of a CSV, Parquet or JSON lines file, with labels where it has the label's column.

    Raises InvalidDataError, also for a label that is none.
    """
    data, keys = system.spec.data, manifest.keys
    label = data.label.column
    form = task_of(system.spec).label
    # What is not stated to be text is read as a training reads it.
    inferred = ColumnType.NUMBER if form.column == "label_number" else ColumnType.BOOLEAN
    wanted: dict[str, ColumnType | None] = {
        name: None for part, name in keys.items() if part in ("sticky_by", "group")
    }
    wanted |= asked_columns(system, manifest) | {label: inferred}
    sent, sticky, group = _sent(system, manifest), keys.get("sticky_by"), keys.get("group")
    cases: dict[object, list[Case]] = {}
    sticky_keys: dict[object, str] = {}
    asked = asked_rows(file, wanted, zone=manifest.time_zone, sources=data.sources)
    for number, row in enumerate(ImageFiles.of(system).in_rows(asked), start=1):
        truth = row.get(label)
        known = None if truth is None else form.parse(truth)
        if truth is not None and known is None:
            raise InvalidDataError(
                f"{file.name}: row {number}, {label}: {truth!r} is no label; write {form.forms}"
            )
        together = row.get(group) if group is not None else None
        request = number if together is None else str(together)
        features = {name: row[name] for name in sent if name in row}
        case = Case(features, known, has_no_label=label in row and truth is None)
        cases.setdefault(request, []).append(case)
        key = row.get(sticky) if sticky is not None else None
        sticky_keys.setdefault(request, "" if key is None else str(key))
    if not cases:
        raise InvalidDataError(f"{file.name}: has no row")
    return tuple(RecordedRequest(tuple(found), sticky_keys[request]) for request, found in cases.items())


def _sent(system: MLSystem, manifest: Manifest) -> tuple[str, ...]:
    """Columns of a request that are rows' own; ids, times and groups are made anew."""
    sticky = manifest.keys.get("sticky_by")
    names = list(asked_columns(system, manifest)) + ([sticky] if sticky is not None else [])
    return tuple(dict.fromkeys(names))


def _requests(traffic: RecordedTraffic, sent: Sequence[str]) -> tuple[RecordedRequest, ...]:
    found = []
    for number, body in enumerate(traffic.bodies):
        first, last = int(traffic.cases[number]), int(traffic.cases[number + 1])
        written = orjson.loads(body)
        rows = [written] if last - first == 1 else written["rows"]
        cases = tuple(
            Case(
                {name: row[name] for name in sent if name in row},
                traffic.labels[case],
                has_no_label=traffic.labels[case] is None,
            )
            for case, row in zip(range(first, last), rows, strict=True)
        )
        found.append(RecordedRequest(cases, traffic.keys[number]))
    return tuple(found)
