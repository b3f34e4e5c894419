"""`capstan anonymity`: what it says of stored answers, and its exit codes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml
from typer.testing import CliRunner
from unit.recording.test_stored_anonymity import answer
from unit.verbs.test_forgetting import SHOP, system

from capstan.cli.main import app
from capstan.embedded.layout import StateDir
from capstan.recording.payloads import FIXED_COLUMNS
from capstan.recording.segments import payload_segment, write_segment

ASKED = {"by": ["age"], "k": 2, "sensitive": ["illness"], "l": 2}


def run(
    folder: Path, asked: dict[str, Any] | None, *arguments: str, state: str = ".capstan"
) -> tuple[int, str]:
    privacy = {} if asked is None else {"privacy": {"anonymity": asked}}
    document = system(**privacy).model_dump(mode="json", by_alias=True, exclude_unset=True)
    file = folder / "system.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    said = CliRunner().invoke(app, ["anonymity", str(file), *arguments, "--state", str(folder / state)])
    return said.exit_code, said.output


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three people of 30 years with two illnesses, and a month before one of 77."""
    state = StateDir(tmp_path / ".capstan")
    state.prepare(SHOP)
    kinds = [*FIXED_COLUMNS, ("input.age", pa.float64()), ("input.illness", pa.string())]
    for number, (at, age, ill, who) in enumerate(
        [
            (1, 77.0, "flu", "eve"),
            (29, 30.0, "flu", "ann"),
            (29, 30.0, "cold", "bob"),
            (29, 30.0, "flu", "joe"),
        ]
    ):
        moment = datetime(2024, 2, at, 12, tzinfo=UTC)
        given = {"input.age": age, "input.illness": ill, "unit": who, "event_time": moment}
        table = pa.Table.from_pylist([answer(number, **given)], pa.schema(kinds))
        write_segment(payload_segment(state.payloads(SHOP), moment.date(), number), table)
    return tmp_path


def test_a_broken_bound_is_told_with_exit_code_1(folder: Path) -> None:
    code, said = run(folder, ASKED)
    assert code == 1
    assert "stored answers from 2024-02-01 to 2024-03-01 UTC" in said
    assert "1 of 4 people have fewer than 2 alike in age (the fewest are 1)" in said
    assert "eve" not in said
    assert "77" not in said


def test_the_newest_days_alone_keep_the_bounds(folder: Path) -> None:
    code, said = run(folder, ASKED, "--days", "7", "--json")
    found = json.loads(said)
    assert code == 0
    assert (found["fewest"], found["diversity"], found["problems"]) == (3, {"illness": 2}, [])
    assert (found["start"], found["counted"]) == ("2024-02-23T00:00:00+00:00", "people")


@pytest.mark.parametrize(
    ("asked", "state", "word"),
    [
        (None, ".capstan", "does not say what others may know"),
        (ASKED, "elsewhere", "no answer of 'shop' is stored here"),
    ],
    ids=["nothing is asked", "nothing is stored"],
)
def test_what_cannot_be_counted_is_refused(
    folder: Path, asked: dict[str, Any] | None, state: str, word: str
) -> None:
    code, said = run(folder, asked, state=state)
    assert code != 0
    assert word in " ".join(said.split()) or word in said
