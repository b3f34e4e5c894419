"""Experiments, bandits and interleavings of a replay in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capstan.cli.console import out

if TYPE_CHECKING:
    from rich.table import Table

QUIET = frozenset({"operation", "split"})
"""Questions of every step, told where the answer is not yes."""


def print_online(steps: Sequence[Mapping[str, Any]], folder: Path | None) -> None:
    """What was asked, what the arms did, the verdicts and where the plot is; `folder` holds the plots."""
    from rich.markup import escape

    for told in steps:
        span = f"{told['since'][:10]} to {told['until'][:10]}"
        out.print(
            f"[bold]{escape(told['name'])}[/bold] of {told['challenger']} against {told['champion']}, "
            f"step {told['step']} of {told['rollout']}, {span}: {told['ended']}",
            soft_wrap=True,
        )
        out.print(escape(told["asked"]), soft_wrap=True)
        found = told["found"]
        if found is None:
            out.print(escape(f"what users did is not known: {told['note']}"), soft_wrap=True)
        else:
            _print_found(told["kind"], found)
        ratio = found.get("ratio") if found else None
        for verdict in [*([ratio] if ratio else []), *told["verdicts"]]:
            if verdict["name"] not in QUIET or verdict["outcome"] != "Successful":
                out.print(
                    f"[bold]{escape(verdict['name'])}[/bold] {verdict['outcome']}: {escape(verdict['message'])}",
                    soft_wrap=True,
                )
        if told["why"] and not any(verdict["message"] in told["why"] for verdict in told["verdicts"]):
            out.print(escape(f"{told['ended']}: {told['why']}"), soft_wrap=True)
        if told["plot"]:
            out.print(f"plot: {folder / told['plot'] if folder else told['plot']}", soft_wrap=True)
        out.print()


def _print_found(kind: str, found: Mapping[str, Any]) -> None:
    if kind == "interleave":
        event = f"units by whom their events named {found['event']} prefer ({found['method']})"
        out.print(event, soft_wrap=True)
        out.print(_preference(found))
        return
    if found["arms"]:
        _print_arms(found, kind, found["metric"])
    for other in found.get("others", ()):
        _print_arms(other, kind, f"{other['purpose']} {other['metric']}")
    if kind == "bandit":
        shares = ", ".join(f"{arm} {share} %" for arm, share in found["moves"][-1]["weights"].items())
        moved = len(found["moves"]) - 1
        out.print(f"shares at last {shares}; moved {moved} time{'' if moved == 1 else 's'}", soft_wrap=True)


def _print_arms(found: Mapping[str, Any], kind: str, name: str) -> None:
    from rich.markup import escape

    better = f"{found['better'].lower()} is better"
    out.print(escape(f"{name} per unit, {better}; a positive difference favours the arm"), soft_wrap=True)
    out.print(_arms(found, kind))


def _arms(found: Mapping[str, Any], kind: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    every = sum(arm["assigned"] for arm in found["arms"]) or 1
    table = Table(box=SIMPLE_HEAD, collapse_padding=True)
    table.add_column("arm")
    for name in ("units", "share", "wanted", "known", "mean", "difference \\[bounds]"):
        table.add_column(name, justify="right")
    for arm in found["arms"]:
        table.add_row(
            escape(arm["version"]),
            f"{arm['assigned']:,}",
            f"{arm['assigned'] / every:.1%}",
            "moves" if kind == "bandit" else f"{arm['wanted']}%",
            f"{arm['units']:,}",
            "-" if arm["mean"] is None else f"{arm['mean']:.4g}",
            escape(_difference(arm)),
        )
    return table


def _difference(arm: Mapping[str, Any]) -> str:
    if arm["difference"] is None:
        return "-"
    if arm["lower"] is None and arm["upper"] is None:
        return "not known yet"
    return f"{arm['difference']:+.4g} [{_bound(arm['lower'])}, {_bound(arm['upper'])}]"


def _bound(value: float | None) -> str:
    return "open" if value is None else f"{value:+.4g}"


def _preference(found: Mapping[str, Any]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, collapse_padding=True)
    for name in (found["challenger"], found["champion"], "neither", "waiting", "preference \\[bounds]"):
        table.add_column(name, justify="right")
    bounds = f"{found['preference']:+.4f} \\[{found['lower']:+.4f}, {found['upper']:+.4f}]"
    counts = (found[name] for name in ("wins", "losses", "ties", "waiting"))
    table.add_row(*(f"{count:,}" for count in counts), bounds)
    return table
