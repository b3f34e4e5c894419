"""The tables of platform/docs/twelve-tables.md, from what was measured."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from catalogue import TABLES, Table

PAGE = Path(__file__).resolve().parents[3] / "platform" / "docs" / "twelve-tables.md"
_VERDICTS = (
    (" Promoted v2", "promoted"),
    ("RolledBack v2", "refused"),
    (" NotPromoted", "not promoted"),
    ("StepHeld", "held"),
)


def write_page(found: Mapping[str, Mapping[str, Any]]) -> None:
    """Put the tables between their marks; the prose stays as people wrote it."""
    measured = [(table, found[table.name]) for table in TABLES if table.name in found]
    text = PAGE.read_text(encoding="utf-8")
    for mark, rows in (
        ("tables", _what_they_are(measured)),
        ("costs", _costs(measured)),
        ("guesses", _guesses(measured)),
    ):
        begin, end = f"<!-- {mark}: written by run.py -->\n", f"<!-- end of {mark} -->"
        text = re.sub(
            f"{re.escape(begin)}.*?{re.escape(end)}",
            lambda _, rows=rows, begin=begin, end=end: begin + "\n" + "\n".join(rows) + "\n\n" + end,  # type: ignore[misc]
            text,
            flags=re.DOTALL,
        )
    PAGE.write_text(text, encoding="utf-8")


_Measured = Sequence[tuple[Table, Mapping[str, Any]]]


def _what_they_are(measured: _Measured) -> Iterator[str]:
    yield "| table | package | predicts | what is special |"
    yield "|---|---|---|---|"
    for table, _ in measured:
        yield f"| {table.name} | `{table.package}` | `{table.target}` | {table.traits} |"


def _costs(measured: _Measured) -> Iterator[str]:
    yield (
        "| table | `init` s | first model serves after | `predict` s | `feedback` s | second version | verdict | load |"
    )
    yield "|---|--:|--:|--:|--:|--:|---|--:|"
    for table, found in measured:
        init, up = found["init"], found.get("up", {})
        served = _seconds(
            init["wall_seconds"] + up.get("wall_seconds", 0), init["cpu_seconds"] + up.get("cpu_seconds", 0)
        )
        if up.get("code"):
            served = f"not after {served}"
        rollout = found.get("rollout", {})
        yield (
            f"| {table.name} | {_of(init)} | {served} | {_of(found.get('predict'))} | {_of(found.get('feedback'))} "
            f"| {_of(rollout)} | {_verdict(rollout)} | {max(found['load']):.0f} |"
        )


def _guesses(measured: _Measured) -> Iterator[str]:
    yield "| table | task | time | id | left out | guessed wrong |"
    yield "|---|---|---|---|---|---|"
    for table, found in measured:
        said = [line.split(": ", 2) for line in found["guesses"]]
        task = next((value for field, value, *_ in said if field == "objective.task"), "")
        keys = {
            key: next(
                (
                    value
                    for field, value, *_ in said
                    if field == f"data.keys.{key}" and not value.startswith("not ")
                ),
                "",
            )
            for key in ("time", "id")
        }
        out = [value.removeprefix("without ") for field, value, *_ in said if value.startswith("without ")]
        named = f"{', '.join(out[:4])}{f' and {len(out) - 4} more' if len(out) > 4 else ''}"
        cells = (
            table.name,
            task,
            keys["time"],
            keys["id"],
            named or "nothing",
            table.wrong or "nothing found",
        )
        yield f"| {' | '.join(cells)} |"


def _of(cost: Mapping[str, Any] | None) -> str:
    return _seconds(cost["wall_seconds"], cost["cpu_seconds"]) if cost else ""


def _seconds(wall: float, cpu: float) -> str:
    """Wall seconds, and behind them CPU seconds."""
    return f"{wall:.0f} ({cpu:.0f})"


def _verdict(rollout: Mapping[str, Any]) -> str:
    story = "\n".join(rollout.get("story", ()))
    return next((word for mark, word in _VERDICTS if mark in story), "none in 15 min" if rollout else "")
