"""What is watched of a feature's column where its values themselves never come back: the parts of a moment.

Drift, estimates and the search for causes look at these numbers, so that time alone, which always moves, is no change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from capstan.features.columns import Floats
from capstan.features.dates import NO_PART, PARTS, parts_of_column

if TYPE_CHECKING:
    from capstan.spec.features import Feature

GIVEN = "Given"
"""1 where there is a moment; what is watched of one whose parts all move with time."""


@dataclass(frozen=True)
class View:
    """One number of each value; plain data, which is kept in JSON."""

    name: str
    part: str
    zone: str = "UTC"

    def numbers(self, values: Any) -> Floats:
        """(n,): of a column, whatever holds it; nan where there is none."""
        asked = "Hour" if self.part == GIVEN else self.part
        found = parts_of_column(values, self.zone, (asked,))[:, 0]
        numbers = np.ones(len(found)) if self.part == GIVEN else found.astype(np.float64)
        return np.where(found == NO_PART, np.nan, numbers)

    @classmethod
    def made_again(cls, document: Mapping[str, Any] | None) -> View | None:
        """Of what JSON kept."""
        return None if document is None else cls(**document)


def views_of(feature: Feature, zone: str) -> tuple[View, ...]:
    """Of the feature; empty: its values themselves are watched. `zone` is `data.timeZone`."""
    if feature.date is None:
        return ()
    still = [part for part in feature.date.parts if not PARTS[part].moves]
    if not still:
        return (View(feature.name, GIVEN, zone),)
    return tuple(View(f"{feature.name}.{part}", part, zone) for part in still)
