"""What a model folder says about its model: `manifest.json`, as `capstan.serving.manifest` reads it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

from capstan.spec.system import MLSystem
from capstan.tasks import Learnt

if TYPE_CHECKING:
    import pyarrow as pa


def manifest_document(
    system: MLSystem,
    table: pa.Table,
    learnt: Learnt,
    *,
    run: str,
    as_of: datetime | None,
    candidate: str,
    seed: int,
    metrics: Mapping[str, float],
    standard_errors: Mapping[str, float | None],
    models: Sequence[Mapping[str, Any]] = (),
    learnt_until: datetime | None = None,
    parent: str | None = None,
) -> dict[str, Any]:
    """The manifest as JSON; `table` is what the model learnt from, or rows like it.

    `as_of`: up to when they were known; None: of a model that was fitted elsewhere. `metrics` and `standard_errors` are
    of rows that it has not learnt from. `models`: of a system of several. `learnt_until`: moment of the newest row that
    it has learnt; None: rows have no time. `parent`: the version that it goes on with.
    """
    from capstan.data import given_columns, request_schema, treated_columns
    from capstan.data.event_reading import asked_events

    data, combination = system.spec.data, system.spec.combination
    keys = {"id": data.keys.id, "time": data.keys.time, "sticky_by": data.keys.sticky_by}
    keys |= {"group": data.keys.group, **data.entity_keys}
    columns = request_schema(system, table)
    read = {*keys.values(), *(column.name for column in columns)}
    return {
        "system": system.metadata.name,
        "task": system.spec.objective.task,
        "target": system.spec.objective.target,
        "run": run,
        "as_of": None if as_of is None else as_of.isoformat(),
        "columns": [asdict(column) for column in columns],
        "ignored": [name for name in given_columns(table) if name not in read],
        "keys": {name: column for name, column in keys.items() if column},
        "events": asked_events(system, {column.name for column in columns}),
        "time_zone": data.time_zone,
        "written": data.written,
        "privacy": [one.as_json() for one in treated_columns(table)],
        "candidate": candidate,
        "classes": list(learnt.classes),
        "threshold": learnt.threshold,
        "combine": None if combination is None else combination.document(),
        "models": list(models),
        "rows": table.num_rows,
        "learnt_until": None if learnt_until is None else learnt_until.isoformat(),
        "parent": parent,
        "seed": seed,
        "metrics": metrics,
        "standard_errors": standard_errors,
    }
