"""What commands that run recorded history have in common: how much of it, and how a stopped one goes on."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

Until = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="Stop before this day; default: the file's replay.end."),
]
Sample = Annotated[
    float | None,
    typer.Option(min=0.0001, max=1, help="Share of cases to ask; default: the file's replay.sample."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, max=64, help="Processes side by side; default: one for each core.")
]
STOPPED = 130
"""Exit code where Ctrl-C ended it."""
