"""What a training and a whole backtest depend on, as digests: equal inputs are computed once and kept."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any

from capstan.domain.training import TrainingRequest
from capstan.domain.versions import ModelVersion
from capstan.errors import InvalidDataError
from capstan.spec import MLSystem
from capstan.spec.presence import meant_files, named_files
from capstan.training.factories import carry_factories

UNLEARNT: tuple[tuple[str, ...], ...] = (
    ("retraining",),
    ("replay",),
    ("batch",),
    ("rollout",),
    ("serving",),
    ("cluster",),
    ("suspend",),
    ("deletionPolicy",),
    ("monitoring", "drift", "minEffect"),
    ("monitoring", "quality", "maxDrop"),
    ("monitoring", "quality", "minCoverage"),
)
"""Parts of the file that change no model, no reference and no gate: policies that differ in these share trainings."""


def data_digest(system: MLSystem, rows: str = "") -> str:
    """Of the contents of the sources' files and of the code beside the file.

    `rows` is `rows_digest` where it is known: it is the same for all policies, and their code may differ. Raises
    InvalidDataError for a source that is no file, of which nobody can tell whether it has changed.
    """
    total = hashlib.sha256(f"{rows or rows_digest(system)}\n".encode())
    with tempfile.TemporaryDirectory(prefix="capstan-code-") as scratch:
        code = Path(scratch, "factories")
        carry_factories(system, code)
        # A package is carried whole: a list of words in it changes a model as its code does.
        for file in sorted(file for file in code.rglob("*") if file.is_file()):
            total.update(f"{file.relative_to(code)}\0{_file_digest(file)}\n".encode())
    return total.hexdigest()


def rows_digest(system: MLSystem) -> str:
    """Of the contents of the sources' files; raises InvalidDataError for a source that is none."""
    total = hashlib.sha256()
    named = dict(named_files(system))
    for index, source in enumerate(system.spec.data.sources):
        path = named.get(("spec", "data", "sources", index, source.key, "path"))
        if path is None:
            raise InvalidDataError(
                f"spec.data.sources[{index}].{source.key}: {source.name!r} is no file, so a backtest cannot tell "
                "whether its rows have changed since the last one; write it to a Parquet file and name that"
            )
        for file in _files(system.base_dir, path):
            # Where a file lies is data too: folders such as `month=1` are read as columns.
            place = os.path.relpath(file, system.base_dir)
            total.update(f"{source.name}\0{place}\0{_file_digest(file)}\n".encode())
    return total.hexdigest()


def training_digest(
    system: MLSystem, data: str, request: TrainingRequest, champion: ModelVersion | None
) -> str:
    """Of all that a training's result follows from; `data` is `data_digest`."""
    spec = document_of(system)["spec"]
    runners_up = system.spec.rollout.runners_up
    for path in UNLEARNT:
        _drop(spec, path)
    inputs = {
        "made by": installed_digest(),
        "data": data,
        "spec": spec,
        "runnersUp": runners_up,
        "asOf": request.trigger.as_of.isoformat(),
        "seed": request.seed,
        "champion": None
        if champion is None
        else [champion.name, champion.digest, champion.as_of.isoformat()],
    }
    return _of_json(inputs)


def backtest_digest(system: MLSystem, data: str, scope: tuple[str, ...]) -> str:
    """Of all that a backtest's result follows from; `scope` says which part of the history is asked."""
    document = {
        "made by": installed_digest(),
        "file": document_of(system),
        "data": data,
        "scope": scope,
    }
    return _of_json(document)


def document_of(system: MLSystem) -> dict[str, Any]:
    """The file with its defaults, as plain data that may be changed."""
    document: dict[str, Any] = system.model_dump(mode="json", by_alias=True, exclude_none=True)
    return document


@cache
def installed_digest() -> str:
    """Python and all that is installed: a model is a pickle of any of it, and another release learns another model."""
    installed = {_named(one) for one in distributions()}
    return _of_json({"python": platform.python_version(), "installed": sorted(installed)})


def _named(installed: Distribution) -> str:
    # The library parses the whole description, which is seconds for all that is installed.
    text = installed.read_text("METADATA") or installed.read_text("PKG-INFO") or ""
    name, version = (re.search(rf"^{field}: (.+)$", text, re.MULTILINE) for field in ("Name", "Version"))
    if name is None or version is None:
        return f"{installed.name}=={installed.version}"
    return f"{name[1].strip()}=={version[1].strip()}"


def _of_json(document: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:24]


def _drop(document: dict[str, Any], path: tuple[str, ...]) -> None:
    *parents, last = path
    for name in parents:
        document = document.get(name, {})
    document.pop(last, None)


def _files(base_dir: Path, path: str) -> Iterator[Path]:
    for found in meant_files(base_dir, path):
        if found.is_dir():
            yield from sorted(file for file in found.rglob("*") if file.is_file())
        elif found.is_file():
            yield found


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
