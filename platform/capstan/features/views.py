"""What is watched of a feature's column where its values themselves never come back: parts of moments, words of
texts, brightness and size of images.

Drift, estimates and the search for causes look at these numbers, so that time alone, which always moves, is no change.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from capstan.features.columns import Floats, texts, type_of
from capstan.features.dates import NO_PART, PARTS, parts_of_column
from capstan.features.images import UnreadableImageError, watched_facts
from capstan.features.words import words_of

if TYPE_CHECKING:
    from capstan.spec.features import Feature

GIVEN = "Given"
"""1 where there is a moment; what is watched of one whose parts all move with time."""
WORDS = "Words"
"""How many words a text has."""
UNKNOWN = "Unknown"
"""Which share of its words is none of the most frequent ones of training."""
MEAN = "Mean"
"""How bright an image is on the whole."""
DEVIATION = "Deviation"
"""How much its brightness varies."""
WIDTH = "Width"
HEIGHT = "Height"
BYTES = "Bytes"
_OF_IMAGES = {MEAN: "mean", DEVIATION: "deviation", WIDTH: "width", HEIGHT: "height", BYTES: "bytes"}
MOST_KNOWN = 1000
_LEAST_TEXTS = 2
"""A word of a single text may name a person: it is not kept."""


@dataclass(frozen=True)
class View:
    """One number of each value; plain data, which is kept in JSON."""

    name: str
    part: str
    zone: str = "UTC"
    known: tuple[str, ...] = ()
    """Of UNKNOWN: the words of training."""

    def numbers(self, values: Any) -> Floats:
        """(n,): of a column, whatever holds it; nan where there is none."""
        if self.part in (WORDS, UNKNOWN):
            return self._of_texts(values)
        if self.part in _OF_IMAGES:
            return self._of_images(values)
        asked = "Hour" if self.part == GIVEN else self.part
        found = parts_of_column(values, self.zone, (asked,))[:, 0]
        numbers = np.ones(len(found)) if self.part == GIVEN else found.astype(np.float64)
        return np.where(found == NO_PART, np.nan, numbers)

    def _of_texts(self, values: Any) -> Floats:
        known = frozenset(self.known)

        def number(text: str | None) -> float:
            if text is None:
                return float("nan")
            words = words_of(text)
            if self.part == WORDS:
                return float(len(words))
            return sum(word not in known for word in words) / len(words) if words else 0.0

        given = texts(values, type_of(values))
        return np.array([number(text) for text in given.tolist()], dtype=np.float64)

    def _of_images(self, values: Any) -> Floats:
        """Of base64 as of what logs keep in its place; nan where none can be read."""

        def number(text: str | None) -> float:
            if text is None:
                return float("nan")
            try:
                return float(getattr(watched_facts(text), _OF_IMAGES[self.part]))
            except UnreadableImageError:
                return float("nan")

        given = texts(values, type_of(values))
        return np.array([number(text) for text in given.tolist()], dtype=np.float64)

    @classmethod
    def made_again(cls, document: Mapping[str, Any] | None) -> View | None:
        """Of what JSON kept."""
        return None if document is None else cls(**{**document, "known": tuple(document["known"])})


def views_of(feature: Feature, zone: str, values: Any) -> tuple[View, ...]:
    """Of the feature; empty: its values themselves are watched.

    `zone` is `data.timeZone`, `values` the column of training.
    """
    if feature.text is not None:
        known = _most_frequent(values)
        return (View(f"{feature.name}.words", WORDS), View(f"{feature.name}.unknown", UNKNOWN, known=known))
    if feature.image is not None:
        return tuple(View(f"{feature.name}.{name}", part) for part, name in _OF_IMAGES.items())
    if feature.date is None:
        return ()
    still = [part for part in feature.date.parts if not PARTS[part].moves]
    if not still:
        return (View(feature.name, GIVEN, zone),)
    return tuple(View(f"{feature.name}.{part}", part, zone) for part in still)


def _most_frequent(values: Any) -> tuple[str, ...]:
    """Words that most texts have, in order of the alphabet."""
    counts: Counter[str] = Counter()
    for text in texts(values, type_of(values)).tolist():
        if text is not None:
            counts.update(set(words_of(text)))
    frequent = sorted(counts.items(), key=lambda one: (-one[1], one[0]))[:MOST_KNOWN]
    return tuple(sorted(word for word, count in frequent if count >= _LEAST_TEXTS))
