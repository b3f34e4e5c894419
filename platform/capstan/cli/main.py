"""The `capstan` command: one module per verb, assembled here."""

from __future__ import annotations

import importlib

import typer

VERBS = (
    "validate",
    "explain",
    "plan",
    "up",
    "demo",
    "render",
    "push",
    "status",
    "open",
    "train",
    "orders",
    "runs",
    "compare",
    "image",
    "logs",
    "report",
    "power",
    "experiment",
    "doctor",
)

app = typer.Typer(
    name="capstan",
    help="One file describes an ML system; Capstan trains it, serves it, watches it and retrains it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="Start here: capstan demo examples/flight-delays/system.yaml",
)
for verb in VERBS:
    app.add_typer(importlib.import_module(f"capstan.cli.verbs.{verb}").app)


def main() -> None:
    """Entry point of the console script."""
    app()
