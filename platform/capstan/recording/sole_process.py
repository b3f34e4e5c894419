"""One process at a time works in a folder, even when Kubernetes starts the next before the last has ended.

A pod that is deleted by force is gone from the API at once, while its process may live on for seconds; two writers of
one write-ahead log would lose what both had acknowledged. The lock goes with the process, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

from capstan.errors import AlreadyRunningError

LONGEST_WAIT_SECONDS = 60.0


def occupy(
    folder: Path,
    *,
    wait_seconds: float = LONGEST_WAIT_SECONDS,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Hold the folder for the rest of this process; returns the lock's file descriptor.

    Waits for a process that is ending; raises AlreadyRunningError if it does not end.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + wait_seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return handle
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(handle)
                raise AlreadyRunningError(
                    f"{folder}: another process has worked here for {wait_seconds:g} s; stop it first"
                ) from None
            sleep(0.1)
