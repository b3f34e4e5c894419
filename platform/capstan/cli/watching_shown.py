"""What a report tells of the watching, in the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.markup import escape

from capstan.cli.console import out


def print_watching(told: Mapping[str, Any]) -> None:
    """Why alerts fired, a paragraph each, then a line about estimates and one about losses."""
    for line in _lines(told):
        out.print(line, soft_wrap=True)


def _lines(told: Mapping[str, Any]) -> Iterator[str]:
    for one in told["reasons"]:
        head = f"{one['alert']} of {one['version']}, window to {_day(one['end'])}:"
        yield f"[bold]{escape(head)}[/bold] {escape(' '.join(one['sentences']))}"
    if (found := told["estimates"]) is not None:
        yield escape(_estimates(found))
    if told["rises"] is not None:
        yield escape(_rises(told["rises"]))


def _estimates(found: Mapping[str, Any]) -> str:
    of = f"{found['metric']} was estimated before labels in {found['windows']} windows"
    if found["mean_error"] is None:
        return f"{of}; no truth has come yet"
    if not found["checked"]:
        return (
            f"{of}, on average {found['mean_error']:.4f} off; none was sure enough to be held to its interval"
        )
    held = f"the truth lay within the interval in {found['held']} of {found['checked']}"
    wrong = f", not in those to {', '.join(map(_day, found['wrong']))}" if found["wrong"] else ""
    return f"{of}, on average {found['mean_error']:.4f} off; {held}{wrong}"


def _rises(found: list[Mapping[str, Any]]) -> str:
    if not found:
        return "the detector of concept drift found no rise of losses"
    told = (
        f"{one['detector']} since {_day(one['since'])} ({one['version']}, {one['metric']} loss {one['loss']:.4g}, "
        f"at the test {one['reference']:.4g})"
        for one in found
    )
    return f"losses rose: {'; '.join(told)}"


def _day(moment: str | datetime) -> str:
    at = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{at:%Y-%m-%d}" if at.time() == at.min.time() else f"{at:%Y-%m-%d %H:%M}"
