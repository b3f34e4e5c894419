"""Ctrl-C and SIGTERM as a wish to stop cleanly; a second one insists."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from capstan.cli.console import err


class Interrupt:
    """While entered, the first SIGINT or SIGTERM sets the flag; the second raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def is_set(self) -> bool:
        return self._event.is_set()

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self._event.is_set():
            raise KeyboardInterrupt
        self._event.set()
        err.print("stopping; once more to insist")
