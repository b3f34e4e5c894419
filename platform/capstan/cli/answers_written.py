"""Answers as they are written: CSV or JSON lines, to the terminal or to a file that appears when it is whole."""

from __future__ import annotations

import csv
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import orjson

from capstan.errors import InvalidDataError
from capstan.files import write_error


class Writer(Protocol):
    """Writes one answer after the other."""

    def write(self, answer: Mapping[str, Any]) -> None: ...


class _JsonLines:
    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, answer: Mapping[str, Any]) -> None:
        self._stream.write(orjson.dumps(answer).decode() + "\n")


class _Csv:
    """Columns are those of the first answer, and `outside`, which only some answers have."""

    def __init__(self, stream: TextIO) -> None:
        self._writer = csv.writer(stream, lineterminator="\n")
        self._columns: list[str] = []

    def write(self, answer: Mapping[str, Any]) -> None:
        cells = dict(_cells(answer))
        if not self._columns:
            self._columns = [*(name for name in cells if name != "outside"), "outside"]
            self._writer.writerow(self._columns)
        self._writer.writerow([cells.get(name, "") for name in self._columns])


def _cells(answer: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    from capstan.verbs.answering import flat

    for name, value in flat(answer):
        is_plain = value is None or (isinstance(value, str | int | float) and not isinstance(value, bool))
        yield name, value if is_plain else orjson.dumps(value).decode()


@contextmanager
def to_terminal(*, json: bool) -> Iterator[Writer]:
    """CSV, or JSON lines for machines."""
    yield _JsonLines(sys.stdout) if json else _Csv(sys.stdout)


@contextmanager
def to_file(path: Path) -> Iterator[Writer]:
    """The file is there, or replaced, only when all is written; raises InvalidDataError, DiskFullError."""
    forms: dict[str, Callable[[TextIO], Writer]] = {".csv": _Csv, ".jsonl": _JsonLines}
    form = forms.get(path.suffix.lower())
    if form is None:
        raise InvalidDataError(f"--out: {path} must end in .csv or .jsonl")
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        with unfinished.open("w", newline="") as stream:
            yield form(stream)
        os.replace(unfinished, path)
    except OSError as error:
        raise write_error(path.parent, error) from error
    finally:
        unfinished.unlink(missing_ok=True)
