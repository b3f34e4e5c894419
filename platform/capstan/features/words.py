"""Words of texts, as scikit-learn's vectorizers cut them: lower case, runs of two letters or digits and more."""

from __future__ import annotations

import re

_WORD = re.compile(r"(?u)\b\w\w+\b")


def words_of(text: str) -> list[str]:
    """In their order."""
    return _WORD.findall(text.lower())


def terms_of(text: str, longest: int) -> list[str]:
    """The words, and sequences of neighbouring ones up to `longest` words."""
    words = words_of(text)
    terms = list(words)
    for length in range(2, longest + 1):
        terms += [" ".join(words[at : at + length]) for at in range(len(words) - length + 1)]
    return terms
