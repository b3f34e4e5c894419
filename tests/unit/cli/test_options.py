"""Claims about the spelling of options over all commands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from typer.core import TyperOption

from capstan.cli.main import app


def commands(command: Any, name: str = "capstan") -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield name, command
        return
    for word, child in children.items():
        yield from commands(child, f"{name} {word}")


COMMANDS = dict(commands(typer.main.get_command(app)))


def options(command: Any) -> Iterator[TyperOption]:
    yield from (parameter for parameter in command.params if isinstance(parameter, TyperOption))


def test_the_commands_are_found() -> None:
    assert {"capstan status", "capstan render", "capstan logs", "capstan doctor"} <= COMMANDS.keys()
    assert sum("-n" in option.opts for command in COMMANDS.values() for option in options(command)) > 10


@pytest.mark.parametrize("name", COMMANDS)
def test_the_namespace_is_n_wherever_it_can_be_named(name: str) -> None:
    for option in options(COMMANDS[name]):
        assert ("-n" in option.opts) == ("--namespace" in option.opts), f"{name}: {option.opts}"


def test_an_option_is_spelled_in_one_way_by_all_commands() -> None:
    spellings: dict[str, set[tuple[str, ...]]] = {}
    for command in COMMANDS.values():
        for option in options(command):
            for spelling in (*option.opts, *option.secondary_opts):
                spellings.setdefault(spelling, set()).add(tuple(sorted(option.opts)))
    assert {spelling: found for spelling, found in spellings.items() if len(found) > 1} == {}
