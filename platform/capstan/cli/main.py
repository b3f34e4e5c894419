"""The `capstan` command: one module per noun, assembled here."""

from __future__ import annotations

import importlib

import typer

NOUNS = (
    "validate",
    "explain",
    "plan",
    "up",
    "demo",
    "render",
    "push",
    "status",
    "train",
    "commands",
    "runs",
    "image",
    "logs",
    "report",
    "power",
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
for noun in NOUNS:
    app.add_typer(importlib.import_module(f"capstan.cli.{noun}").app)


def main() -> None:
    """Entry point of the console script."""
    app()
