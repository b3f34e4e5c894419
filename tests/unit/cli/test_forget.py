"""`capstan forget`: what it takes, and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner
from unit.verbs.test_forgetting import EVENTS, LABELS, SENT, state_of, system

from capstan.cli.main import app


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    document = system().model_dump(mode="json", by_alias=True, exclude_unset=True)
    (tmp_path / "system.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    state_of(tmp_path, SENT, LABELS, EVENTS)
    return tmp_path


def forget(folder: Path, *arguments: str) -> tuple[int, str]:
    said = CliRunner().invoke(
        app, ["forget", str(folder / "system.yaml"), *arguments, "--state", str(folder / ".capstan")]
    )
    return said.exit_code, said.output


def test_counts_are_told_before_and_after(folder: Path) -> None:
    code, said = forget(folder, "patient=ann", "--dry-run")
    assert (code, said) == (
        0,
        "2 stored answers, 3 labels, 2 events and 0 lines of broken rows would be erased\n",
    )
    code, said = forget(folder, "patient=ann", "--json")
    found = json.loads(said)
    assert code == 0
    assert found == {
        "system": "shop", "dry_run": False, "people": 1, "answers": 2, "labels": 3, "events": 2, "broken_rows": 0,
        "named_in": [],
    }  # fmt: skip


def test_people_are_read_from_a_file(folder: Path) -> None:
    (folder / "people.txt").write_text("patient=ann\n\nvisit=v5\n")
    code, said = forget(folder, "--from", str(folder / "people.txt"), "--json")
    assert (code, json.loads(said)["answers"]) == (0, 3)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ((), "nobody is named"),
        (("ann",), "COLUMN=VALUE"),
        (("patient=",), "COLUMN=VALUE"),
        (("--from", "nowhere.txt"), "cannot be read"),
        (("age=7",), "tells people apart"),
    ],
    ids=["nobody", "no column", "no value", "no file", "no key"],
)
def test_what_names_nobody_is_refused(folder: Path, arguments: tuple[str, ...], word: str) -> None:
    code, said = forget(folder, *arguments)
    assert code != 0
    assert word in " ".join(said.replace("│", " ").split())
    assert "Traceback" not in said
