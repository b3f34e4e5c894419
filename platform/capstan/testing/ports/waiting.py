"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(
    condition: Callable[[], bool], seconds: float = 15.0, *, told: Callable[[], str] = lambda: ""
) -> None:
    """Look until it is true; after so long fail with what is `told`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, told() or f"not within {seconds:g} s"
        time.sleep(0.05)
