"""What is told arrives as it was said, whatever brackets it holds."""

from __future__ import annotations

from capstan.cli.console import Narrator


def test_an_error_with_brackets_is_told_whole(capsys) -> None:
    with Narrator() as narrator:
        narrator.say("waiting: analyses [quality] in [/tmp/state] of rollout.steps[2]")
    assert "waiting: analyses [quality] in [/tmp/state] of rollout.steps[2]" in capsys.readouterr().out
