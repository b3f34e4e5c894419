"""DuckDB's errors in words of the file, without advice about switches that no file has."""

from __future__ import annotations

import re

import duckdb

from capstan.data.hidden_values import without_values

_CUT = (
    "Possible fixes:",
    "Possible solutions:",
    "Possible Solution:",
    "Candidate functions:",
    "Candidate macros:",
    "See also https:",
    "Database is launched in in-memory mode",
    "Unused blocks cannot be offloaded",
    "This limit was set by",
    "  file =",
)
_ADVICE = re.compile(
    r"(?i)\b(set \w+\s*=|pragma |install |load '|\w+\s*=\s*(true|false)\b|auto_detect|sample_size|union_by_name)"
)


def in_words(error: duckdb.Error) -> str:
    """What went wrong, with DuckDB's marker under the place in the query, without its kinds and its advice."""
    text = str(error)
    text = re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", text)
    text, marker, place = text.partition("\nLINE ")
    for word in _CUT:
        text = text.partition(word)[0]
    lines = [line.rstrip() for line in text.splitlines() if line.strip() and not _ADVICE.search(line)]
    if isinstance(error, duckdb.OutOfMemoryException):
        lines = lines[:1]
    found = without_values("\n".join(lines))
    return f"{found}\nLINE {place.rstrip()}" if marker else found


def is_no_space(error: duckdb.Error) -> bool:
    """Whether a disk is full."""
    return "No space left on device" in str(error)
