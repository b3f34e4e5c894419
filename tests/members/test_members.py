"""A member of each kind is added in a few files and keeps its suite, and the decision's table says how many."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from members.detectors import DETECTOR
from members.families import FAMILY
from members.features import FEATURE_KIND
from members.providers import PROVIDER
from members.questions import QUESTION
from members.sources import SOURCE
from members.steps import STEP
from members.tasks import METRIC, TASK
from members.toy import ROOT, Toy, added, checked
from members.triggers import TRIGGER

TOYS = (FAMILY, FEATURE_KIND, SOURCE, STEP, TRIGGER, DETECTOR, QUESTION, TASK, METRIC, PROVIDER)
DECISION = ROOT / "platform" / "docs" / "decisions" / "members-one-file-per-idea.md"
MOST_FILES = 4


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.kind)
def test_a_toy_member_keeps_its_suite_in_a_copy_of_the_tree(toy: Toy, tmp_path: Path) -> None:
    added(toy, tmp_path)
    done = checked(toy, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(toy.files) <= MOST_FILES


@pytest.mark.parametrize("toy", TOYS, ids=lambda toy: toy.kind)
def test_the_table_of_the_decision_says_how_many_files_a_member_touches(toy: Toy) -> None:
    rows = {
        cells[0]: cells[2] for line in DECISION.read_text().splitlines() if len(cells := _cells(line)) >= 4
    }
    assert rows[toy.kind] == str(len(toy.files))


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))] if "|" in line else []
