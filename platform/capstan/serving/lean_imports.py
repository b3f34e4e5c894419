"""Keeps libraries out of a model service that scikit-learn imports and no prediction uses.

Importing scikit-learn imports pandas and scipy.stats, which cost a model service seconds of start-up and 60 MB; few
estimators use either. They are loaded at their first use instead, which the self-test of a model provokes before the
first request if the model needs them. The standard library's LazyLoader does not serve here: under Python 3.11 the
second `import` of a lazy module loads it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

RARELY_USED = ("pandas", "scipy.stats")


class _Deferred(ModuleType):
    """Stands in `sys.modules` until an attribute is read, then hands on to the module itself."""

    def __getattr__(self, attribute: str) -> Any:
        if attribute == "__file__":
            # Asked by tools that only list what is imported.
            raise AttributeError(attribute)
        name = self.__name__
        if sys.modules.get(name) is self:
            del sys.modules[name]
        return getattr(importlib.import_module(name), attribute)


@contextmanager
def deferred(*names: str) -> Iterator[None]:
    """Inside, `import NAME` costs nothing until the module is used; no effect on what is loaded or not installed.

    Afterwards an unused module is not in `sys.modules`: libraries that look there see that nobody uses it.
    """
    placed: list[_Deferred] = []
    for name in names:
        spec = None if name in sys.modules else importlib.util.find_spec(name)
        if spec is None:
            continue
        module = _Deferred(name)
        module.__spec__ = spec
        sys.modules[name] = module
        placed.append(module)
    try:
        yield
    finally:
        for module in placed:
            if sys.modules.get(module.__name__) is module:
                del sys.modules[module.__name__]
