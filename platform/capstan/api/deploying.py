"""A fitted model that is handed over."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from capstan.api.frames import in_a_file
from capstan.api.results import Imported
from capstan.embedded.layout import StateDir
from capstan.spec import MLSystem
from capstan.verbs.importing import begin_rollout, import_model

if TYPE_CHECKING:
    from capstan.api.frames import Frame


def deploy(
    model: object,
    system: MLSystem,
    state: StateDir,
    *,
    sample: Frame | None,
    columns: Sequence[str] | None,
    classes: Sequence[object] | None,
) -> Imported:
    """The version; where another one serves its rollout begins."""
    place = nullcontext[Path | None](None) if sample is None else in_a_file(sample)
    with place as file:
        made = import_model(
            model, system, state, sample=file, columns=columns, classes=classes, now=datetime.now(UTC)
        )
    return Imported.of(made, begin_rollout(made, state, by="System.deploy"))
