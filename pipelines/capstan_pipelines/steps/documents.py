"""What one step of a run leaves for another: JSON documents."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from capstan.training.model_folder import as_json


def write_document(file: str, document: Mapping[str, Any]) -> None:
    """Write it with sorted keys; what is not a finite number becomes null."""
    path = Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(as_json(document))


def read_document(file: str) -> dict[str, Any]:
    """As it was written."""
    document: dict[str, Any] = json.loads(Path(file).read_text())
    return document
