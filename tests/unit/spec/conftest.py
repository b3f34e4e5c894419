"""The flights file and ways to break it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from capstan.errors import InvalidSpecError, Mistake
from capstan.spec import parse

FLIGHTS = Path(__file__).parent / "flight_delays.yaml"


@pytest.fixture
def flights() -> str:
    return FLIGHTS.read_text()


Broken = Callable[[str, str], list[Mistake]]


@pytest.fixture
def mistakes_after(flights: str) -> Broken:
    """Replace one piece of the flights file and list what is wrong then."""

    def broken(old: str, new: str) -> list[Mistake]:
        assert flights.count(old) == 1, f"{old!r} must stand once in the file"
        try:
            parse(flights.replace(old, new), base_dir=FLIGHTS.parent)
        except InvalidSpecError as error:
            return error.mistakes
        return []

    return broken


@pytest.fixture
def line_of(flights: str) -> Callable[[str], int]:
    def line(text: str) -> int:
        (number,) = [index for index, line in enumerate(flights.splitlines(), 1) if text in line]
        return number

    return line
