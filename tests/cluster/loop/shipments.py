"""Small systems of every task on one world: how late a parcel is, in which band, and which of a batch first.

All labels come from one number, the parcel's minutes, so that one past serves every task.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from cluster.loop.parcels import LABEL_DELAY, Row, World
from ruamel.yaml import YAML

BATCH = 5
"""Parcels of one batch: they are asked about in one request where the task has groups."""
BANDS = ((-5.0, "early"), (5.0, "on time"), (np.inf, "late"))
LOOPS_FILE = Path(__file__).with_name("system.yaml")
KNOWN = ("parcel_id", "sent_at", "carrier", "distance", "weight", "hour")
"""What a user knows of a parcel."""
COLUMNS = (*KNOWN, "batch", "known_at", "minutes", "band", "urgency", "late")


STEPS: Sequence[Mapping[str, Any]] = (
    {"shadow": {"percent": 100, "minRequests": 30, "duration": "10s"}},
    {"canary": {"weight": 50, "duration": "10s", "minRequests": 20}},
)


@dataclass(frozen=True)
class TaskSystem:
    """One task as a system of the file `system.yaml` beside this one."""

    task: str
    name: str
    target: str
    loss: str
    """By which two versions are paired."""
    output: str
    """Whose drift is watched."""
    answer: frozenset[str]
    """What a native answer of one parcel holds."""
    tensors: frozenset[str]
    candidates: Sequence[Mapping[str, Any]]
    objective: Mapping[str, Any] = field(default_factory=dict)
    group: str | None = None
    steps: Sequence[Mapping[str, Any]] = STEPS
    spec: Mapping[str, Any] = field(default_factory=dict)
    """What else the file says."""

    def asked(self, row: Row) -> Row:
        """A row of a request."""
        names = KNOWN if self.group is None else (*KNOWN, self.group)
        return {name: row[name] for name in names}

    def document(self) -> dict[str, Any]:
        """The file."""
        found: dict[str, Any] = YAML(typ="safe").load(LOOPS_FILE.read_text())
        spec = found["spec"]
        found["metadata"]["name"] = self.name
        spec["objective"] = {"business": "Test", "task": self.task, "target": self.target, **self.objective}
        spec["data"]["keys"] = {"id": "parcel_id", "time": "sent_at"}
        if self.group is not None:
            spec["data"]["keys"]["group"] = self.group
        spec["data"]["label"]["column"] = self.target
        spec["training"]["candidates"] = list(self.candidates)
        del spec["training"]["choose"], spec["monitoring"]["quality"]
        spec["monitoring"]["window"] = {"duration": "15s", "minRows": 50}
        spec["rollout"]["steps"] = [dict(step) for step in self.steps]
        # Four systems share a node of two cores with the tests beside them: a pod that asks for more waits for ever.
        for part in ("training", "serving"):
            spec[part]["resources"]["requests"]["cpu"] = "20m"
        return found | {"spec": {**spec, **self.spec}}


def past(now: datetime, *, minutes: int, per_second: int, seed: int) -> list[Row]:
    """Parcels of the last minutes, evenly spread by batches, oldest first, with every task's label."""
    began = now - timedelta(minutes=minutes)
    batches = minutes * 60 * per_second // BATCH
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(batches):
        rows += batch_of(number, began + timedelta(seconds=number * BATCH / per_second), rng)
    return rows


def batch_of(number: int, sent_at: datetime, rng: np.random.Generator) -> list[Row]:
    """The parcels of one batch, with their truth."""
    rows = World().parcels(BATCH, number * BATCH, rng)
    noise = rng.normal(0, 2, BATCH)
    known = (sent_at + LABEL_DELAY).astimezone(UTC).isoformat()
    for index, row in enumerate(rows):
        road = 4.0 if row["carrier"] == "road" else 0.0
        minutes = 12 * (float(np.log(float(str(row["distance"])))) - 5) + road + float(noise[index])
        row |= {
            "batch": f"b{number}",
            "sent_at": sent_at.astimezone(UTC).isoformat(),
            "known_at": known,
            "minutes": round(minutes, 3),
            "band": next(name for most, name in BANDS if minutes < most),
            "urgency": float(min(3, max(0, minutes // 5))),
        }
    return rows


def write_past(file: Path, rows: Sequence[Row]) -> None:
    """As CSV."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
