"""What is told arrives as it was said, whatever brackets it holds."""

from __future__ import annotations

from capstan.cli.console import Narrator


def test_an_error_with_brackets_is_told_whole(capsys) -> None:
    with Narrator() as narrator:
        narrator.say("waiting: analyses [quality] in [/tmp/state] of rollout.steps[2]")
    assert "waiting: analyses [quality] in [/tmp/state] of rollout.steps[2]" in capsys.readouterr().out


def test_a_share_that_is_not_none_is_never_told_as_0_percent(capsys) -> None:
    for done, told in ((0, "(0 %)"), (20, "(5 %)"), (1, "(< 1 %)"), (380, "(100 %)")):
        with Narrator() as narrator:
            narrator.advance("live", done, 380)
        assert f"{done} of 380 {told}" in capsys.readouterr().out
