"""Claims about how the story signs what a person asked for."""

from __future__ import annotations

import pytest

from capstan.domain.actions import Command, Verb


@pytest.mark.parametrize(
    ("by", "note", "told", "signed"),
    [
        ("", "", "a person asked for it", "paused"),
        ("ann", "", "ann asked for it", "paused (ann)"),
        ("ann", "holidays", "ann asked for it: holidays", "paused (ann: holidays)"),
        ("", "holidays", "a person asked for it: holidays", "paused (holidays)"),
    ],
    ids=["unknown", "who", "who and why", "why"],
)
def test_who_and_why_are_told_as_far_as_they_are_known(by: str, note: str, told: str, signed: str) -> None:
    command = Command("pause-1", Verb.PAUSE, note=note, by=by)
    assert command.told("asked for it") == told
    assert command.signed("paused") == signed
