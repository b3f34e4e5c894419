"""From a file to a system, or to the list of all its mistakes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from capstan.errors import InvalidSpecError, Mistake
from capstan.spec.system import MLSystem


def load(path: Path) -> MLSystem:
    """The system in the file; raises InvalidSpecError with all mistakes."""
    return parse(YAML(typ="safe").load(path.read_text()), base_dir=path.resolve().parent)


def parse(document: Mapping[str, Any] | bytes | str, *, base_dir: Path) -> MLSystem:
    """The system in a mapping or JSON text; relative paths are relative to `base_dir`."""
    data = json.loads(document) if isinstance(document, bytes | str) else document
    try:
        system = MLSystem.model_validate(data)
    except ValidationError as error:
        raise InvalidSpecError(
            [Mistake(".".join(map(str, e["loc"])), e["msg"]) for e in error.errors()]
        ) from error
    system._base_dir = base_dir
    return system
