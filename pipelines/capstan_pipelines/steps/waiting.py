"""Waiting for a part that is away: no trained model is thrown away because MLflow or the object storage restarts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from capstan.errors import UnavailableError
from capstan_pipelines.steps.progress import Telling

PATIENCE = "CAPSTAN_REGISTRY_PATIENCE_SECONDS"
_DEFAULT_PATIENCE = 6 * 3600.0
_LONGEST_WAIT = 30.0

T = TypeVar("T")


def patiently(
    attempt: Callable[[], T],
    say: Telling,
    *,
    sleep: Callable[[float], None] = time.sleep,
    patience: float | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> T:
    """Repeat while the part does not answer, waiting 1, 2, 4, ... up to 30 s; raises UnavailableError in the end."""
    if patience is None:
        patience = float(os.environ.get(PATIENCE, _DEFAULT_PATIENCE))
    began = now()
    ends = began + timedelta(seconds=patience)
    waited, wait = 0.0, 1.0
    while True:
        try:
            return attempt()
        except UnavailableError as error:
            if waited >= patience:
                raise
            say.wait(
                error.part,
                f"{error}; waits since {began:%Y-%m-%d %H:%M} UTC, tries again every {wait:g} s "
                f"and gives up at {ends:%Y-%m-%d %H:%M} UTC",
            )
            sleep(wait)
            waited, wait = waited + wait, min(_LONGEST_WAIT, wait * 2)
