"""A small live world: parcels that arrive late or not, a past to learn from, and a day on which everything moves.

Everything follows from a seed and a moment, so that two runs differ only in when they ran.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

NAME = "parcels"
CARRIERS = ("air", "rail", "road")
LABEL_DELAY = timedelta(seconds=1)
COLUMNS = ("parcel_id", "sent_at", "known_at", "late", "customer", "carrier", "distance", "weight", "hour")

Row = dict[str, object]


@dataclass(frozen=True)
class World:
    """How parcels are now: after the move distances are long, and what made a parcel late makes it early."""

    moved: bool = False

    def parcels(self, count: int, first: int, rng: np.random.Generator) -> list[Row]:
        """`count` parcels with their truth, numbered from `first`; without moments."""
        distance = rng.lognormal(6.8 if self.moved else 5.0, 0.5, count)
        weight = rng.gamma(2.0, 3.0, count)
        hour = rng.integers(0, 24, count)
        carrier = rng.choice(len(CARRIERS), count, p=(0.2, 0.3, 0.5))
        sign = -1.0 if self.moved else 1.0
        centre = 6.8 if self.moved else 5.0
        score = sign * (2.2 * (np.log(distance) - centre) + 0.1 * (weight - 6)) + 0.8 * (carrier == 2) - 0.5
        late = rng.random(count) < 1 / (1 + np.exp(-score))
        return [
            {
                "parcel_id": f"p{first + index}",
                "late": bool(late[index]),
                "customer": f"c{int(rng.integers(0, 5000))}",
                "carrier": CARRIERS[int(carrier[index])],
                "distance": round(float(distance[index]), 2),
                "weight": round(float(weight[index]), 2),
                "hour": int(hour[index]),
            }
            for index in range(count)
        ]


def past(now: datetime, *, minutes: int, per_second: int, seed: int) -> Iterator[Row]:
    """Parcels of the last minutes, evenly spread, oldest first, with both moments."""
    count = minutes * 60 * per_second
    rows = World().parcels(count, 0, np.random.default_rng(seed))
    began = now - timedelta(minutes=minutes)
    for index, row in enumerate(rows):
        yield with_moments(row, began + timedelta(seconds=index / per_second))


def with_moments(row: Row, sent_at: datetime) -> Row:
    return {
        **row,
        "sent_at": sent_at.astimezone(UTC).isoformat(),
        "known_at": (sent_at + LABEL_DELAY).astimezone(UTC).isoformat(),
    }


def write_table(file: Path, rows: Iterator[Row] | list[Row]) -> int:
    """As CSV; returns how many rows."""
    file.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "late": str(row["late"]).lower()})
            count += 1
    return count
