"""The page about the commands is what the commands say."""

from __future__ import annotations

from pathlib import Path

from capstan.cli.main import VERBS
from capstan.cli.reference import reference

PAGE = Path(__file__).parents[3] / "platform/docs/cli.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == reference(), "run `make docs`"


def test_the_page_has_every_command_and_what_help_says_of_an_option() -> None:
    page = reference()
    assert [verb for verb in VERBS if f"### capstan {verb}\n" not in page] == []
    assert "### capstan power shadow\n" in page
    assert "| `--exit-code` | Exit with 2 if something would change, for scripts. |" in page
