"""Reasons of the story: what page, console, report and Kubernetes make of a line stands in one place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import capstan
import capstan_operator
from capstan.domain.reasons import Group, Tone, facts_of

_PACKAGES = [Path(package.__file__).parent for package in (capstan, capstan_operator) if package.__file__]


@pytest.mark.parametrize(
    ("reason", "details", "tone", "group", "is_warning"),
    [
        ("Promoted", {}, Tone.GOOD, Group.ROLLOUT, False),
        ("RolledBack", {}, Tone.BAD, Group.ROLLOUT, True),
        ("TrainingFailed", {}, Tone.BAD, Group.TRAINING, True),
        ("CommandIgnored", {}, Tone.IDLE, Group.COMMAND, False),
        ("DriftDetected", {"alert": "a1"}, Tone.WARN, Group.ALERT, True),
        ("AlertResolved", {"alert": "a1"}, Tone.IDLE, Group.ALERT, False),
    ],
)
def test_a_line_has_one_tone_group_and_severity(
    reason: str, details: dict[str, object], tone: Tone, group: Group, is_warning: bool
) -> None:
    facts = facts_of(reason, details)

    assert (facts.tone, facts.group, facts.is_warning) == (tone, group, is_warning)


def test_no_module_compares_a_line_with_a_reason_that_it_spells_itself() -> None:
    by_hand = [
        f"{path.name}: {found}"
        for package in _PACKAGES
        for path in package.rglob("*.py")
        for found in re.findall(r'event\.reason (?:[!=]=|(?:not )?in) \(?"\w+"', path.read_text())
    ]

    assert by_hand == []
