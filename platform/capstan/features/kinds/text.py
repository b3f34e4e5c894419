"""A text by its words: how often each is in it, weighed by how rare it is (TF-IDF), or shared columns by their hash.

scikit-learn's TfidfVectorizer learns the words; what it learnt is kept as plain texts and numbers. The weights are
computed here by its operations in its order, for a table as for one row, so that both have the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from sklearn.utils import murmurhash3_32

from capstan.features.columns import Floats, codes, texts, type_of
from capstan.features.kinds.embedded import EmbeddedSettings
from capstan.features.kinds.kind import PlainNumbers, RowPlace
from capstan.features.values import ColumnType, category
from capstan.features.words import terms_of

if TYPE_CHECKING:
    from capstan.spec.features import Feature

WORDS = 300
"""Where the file says nothing."""
BUCKETS = 256
MOST_CHARACTERS = 20_000_000
"""Of the texts that single words are learnt from: of more some are taken, evenly. Sequences need more room."""
MOST_TEXTS = 100_000

Weights = list[tuple[int, float]]
"""Places among the outputs, rising, and what stands there; all others are 0."""


@dataclass(frozen=True)
class TextSettings:
    """The spec's `text`, free of the spec's imports."""

    name: str
    column: str
    encode: Literal["TfIdf", "Hashing"] = "TfIdf"
    ngrams: int = 1
    """Words of the longest sequence that counts as one."""
    max_words: int = WORDS
    min_frequency: int = 2
    """Texts that a word is in, at least."""
    buckets: int = BUCKETS

    @classmethod
    def of(cls, feature: Feature) -> TextSettings | EmbeddedSettings:
        """What the file says."""
        written = feature.text
        assert written is not None
        if written.embed is not None:
            return EmbeddedSettings.of(feature)
        return cls(
            feature.name,
            feature.column,
            written.encode,
            written.ngrams,
            written.max_words or WORDS,
            2 if written.min_frequency is None else written.min_frequency,
            written.buckets or BUCKETS,
        )

    def kept_rows(self, table_column: Any) -> None:  # noqa: ARG002 — a missing text has a column
        """All rows stay in training."""
        return

    def fit(self, table_column: Any) -> FittedText:
        kind = type_of(table_column)
        if self.encode == "Hashing":
            return FittedText(self, kind, (), ())
        from sklearn.feature_extraction.text import TfidfVectorizer

        given = [text for text in texts(table_column, kind).tolist() if text is not None]
        learnt_from = _evenly(given, MOST_CHARACTERS // self.ngrams)
        vectorizer = TfidfVectorizer(
            analyzer=lambda text: terms_of(text, self.ngrams),
            max_features=self.max_words,
            min_df=min(self.min_frequency, len(learnt_from) or 1),
        )
        try:
            vectorizer.fit(learnt_from)
        except ValueError:
            # No text has a word that is in texts enough.
            return FittedText(self, kind, (), ())
        words = tuple(map(str, vectorizer.get_feature_names_out()))
        return FittedText(self, kind, words, tuple(map(float, vectorizer.idf_)))


def _evenly(given: list[str], most: int) -> list[str]:
    """At most so many characters of them, or nearly so."""
    step = max(1, math.ceil(sum(map(len, given)) / most), math.ceil(len(given) / MOST_TEXTS))
    return given[::step]


@dataclass(frozen=True)
class FittedText(PlainNumbers):
    settings: TextSettings
    type: ColumnType
    """What the column held in training; every later value is read as one of it."""
    words: tuple[str, ...]
    """In order of the alphabet; empty where words are hashed."""
    rarity: tuple[float, ...]
    """Of each word: its inverse document frequency."""

    @property
    def names(self) -> tuple[str, ...]:
        name = self.settings.name
        if self.settings.encode == "Hashing":
            return (*(f"{name}#{bucket}" for bucket in range(self.settings.buckets)), f"{name}=missing")
        return (*(f"{name}:{word}" for word in self.words), f"{name}=missing")

    def transform(self, table_column: Any) -> Floats:
        weigh, given = self._weigher(), texts(table_column, self.type)
        matrix: Floats = np.zeros((len(given), len(self.names)))
        for row, text in zip(matrix, given.tolist(), strict=True):
            for place, weight in weigh(text):
                row[place] = weight
        return matrix

    def unseen(self, table_column: Any) -> int:
        """Rows whose text has no word that training knows."""
        if self.settings.encode == "Hashing":
            return 0
        weigh = self._weigher()
        return int(codes(table_column, lambda text: int(not weigh(text)), self.type).sum())

    def row_source(self, place: RowPlace) -> list[str]:
        weigh, kind, width = self._weigher(), self.type, len(self.names)

        def of_row(value: object) -> list[float]:
            made = [0.0] * width
            for at, weight in weigh(category(value, kind)):
                made[at] = weight
            return made

        place.names[f"text{place.feature}"] = of_row
        made = "".join(f"x{place.output + at}, " for at in range(width))
        return [f" {made}= text{place.feature}(v)"]

    def narrower(self, table_column: Any, outputs: int) -> str:  # noqa: ARG002
        least = max(2, outputs - 1)
        field = "buckets" if self.settings.encode == "Hashing" else "maxWords"
        if len(self.names) - 1 <= least:
            return ""
        return f"{self.settings.name} alone has {len(self.names):,} columns: set `{field}: {least}`"

    def _weigher(self) -> Callable[[str | None], Weights]:
        """What a text, or a missing one, has other than 0."""
        longest, missing = self.settings.ngrams, [(len(self.names) - 1, 1.0)]
        if self.settings.encode == "Hashing":
            buckets = self.settings.buckets

            def of_hashes(text: str | None) -> Weights:
                if text is None:
                    return missing
                counts: dict[int, float] = {}
                for term in terms_of(text, longest):
                    place = abs(int(murmurhash3_32(term.encode("utf-8", "surrogatepass"), seed=0))) % buckets
                    counts[place] = counts.get(place, 0.0) + 1.0
                return _of_one_length(sorted(counts.items()))

            return of_hashes
        places = {word: place for place, word in enumerate(self.words)}
        rarity = self.rarity

        def of_words(text: str | None) -> Weights:
            if text is None:
                return missing
            counts: dict[int, float] = {}
            for term in terms_of(text, longest):
                place = places.get(term)
                if place is not None:
                    counts[place] = counts.get(place, 0.0) + 1.0
            return _of_one_length([(place, count * rarity[place]) for place, count in sorted(counts.items())])

        return of_words


def _of_one_length(weights: Weights) -> Weights:
    """The same direction with the length 1, so that long texts count as short ones."""
    total = 0.0
    for _, weight in weights:
        total += weight * weight
    length = math.sqrt(total)
    return [(place, weight / length) for place, weight in weights]
