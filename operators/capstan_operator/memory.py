"""Gives memory back to the system that listing thousands of objects took for a moment."""

from __future__ import annotations

import contextlib
import ctypes
import gc


def give_back_memory() -> None:
    """Give free memory back to the system. It costs some milliseconds and does nothing where the C library lacks
    the call.
    """
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
