"""One file describes an ML system; Capstan trains it, serves it, watches it and retrains it.

`capstan.System` is the Python API. Each name is imported when it is asked for, so that `import capstan` costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capstan.api.system import System
    from capstan.errors import CapstanError
else:

    def __getattr__(name: str) -> object:
        homes = {"System": "capstan.api.system", "CapstanError": "capstan.errors"}
        if name not in homes:
            raise AttributeError(f"module 'capstan' has no attribute {name!r}")
        import importlib

        return getattr(importlib.import_module(homes[name]), name)


__all__ = ["CapstanError", "System"]
