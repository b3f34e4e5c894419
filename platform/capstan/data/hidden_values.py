"""Whether texts about a table may quote its values: not while a table with marked columns is read."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

NOT_SHOWN = "(not shown)"
_KNOWN: ContextVar[Collection[str] | None] = ContextVar("known words", default=None)
"""Words that may be quoted; None: everything may."""
_QUOTED = re.compile(r"'((?:[^'\n])*)'|\"((?:[^\"\n])*)\"")
_RAW_LINE = re.compile(r"(?m)^\s*(Original Line|Line):.*$")


@contextmanager
def values_hidden(known: Collection[str]) -> Iterator[None]:
    """Values are not quoted; `known` words are none."""
    token = _KNOWN.set(known)
    try:
        yield
    finally:
        _KNOWN.reset(token)


def are_hidden() -> bool:
    """Whether no value may be quoted now."""
    return _KNOWN.get() is not None


def quoted(value: object) -> str:
    """The value as a text quotes it."""
    return repr(value) if _KNOWN.get() is None else NOT_SHOWN


def without_values(text: str) -> str:
    """A text of DuckDB without what it quotes but for known words."""
    known = _KNOWN.get()
    if known is None:
        return text

    def kept(found: re.Match[str]) -> str:
        word = found[1] if found[1] is not None else found[2]
        return found[0] if word in known else NOT_SHOWN

    return _QUOTED.sub(kept, _RAW_LINE.sub("", text))
