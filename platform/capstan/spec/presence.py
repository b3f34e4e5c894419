"""Whether what the file points to is there."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from capstan.spec.finding import Finding
from capstan.spec.location import Location
from capstan.spec.own_code import OwnCode
from capstan.spec.system import MLSystem

PATTERN = "*?["
"""Characters that make a path a pattern."""


def is_pattern(base_dir: Path, path: str) -> bool:
    """Whether the path stands for many files; a file or folder of exactly this name goes first."""
    return any(character in path for character in PATTERN) and not (base_dir / path).exists()


def pattern_files(base_dir: Path, pattern: str) -> list[Path]:
    """The files that a pattern means, in a fixed order: none that are hidden, and no folders.

    The folder of the system's file is no pattern, whatever characters its name has.
    """
    whole = pattern if Path(pattern).is_absolute() else str(Path(glob.escape(str(base_dir))) / pattern)
    return sorted(file for file in map(Path, glob.glob(whole, recursive=True)) if file.is_file())


def meant_files(base_dir: Path, path: str) -> list[Path]:
    """The files of a pattern, or the one file or folder that the path names, which need not be there."""
    return pattern_files(base_dir, path) if is_pattern(base_dir, path) else [base_dir / path]


def named_files(system: MLSystem) -> Iterator[tuple[Location, str]]:
    """Paths of the sources; addresses such as `s3://` are none."""
    for index, source in enumerate(system.spec.data.sources):
        file = source.settings.file
        if file is not None and "://" not in file:
            yield ("spec", "data", "sources", index, source.key, "path"), file


def own_code(system: MLSystem) -> Iterator[tuple[Location, OwnCode]]:
    """Factories of features, candidates, metrics and detectors, each with the field that names it."""
    for index, feature in enumerate(system.spec.features):
        if isinstance(feature.chosen, OwnCode):
            yield ("spec", "features", index, feature.key, "factory"), feature.chosen
        if feature.settings.embedding is not None:
            yield ("spec", "features", index, feature.key, "embed", "factory"), feature.settings.embedding
    for index, candidate in enumerate(system.spec.training.candidates):
        if isinstance(candidate.chosen, OwnCode):
            yield ("spec", "training", "candidates", index, candidate.key, "factory"), candidate.chosen
    for index, metric in enumerate(system.spec.evaluation.metrics):
        yield ("spec", "evaluation", "metrics", index, "custom", "factory"), metric.custom
    if (own := system.spec.monitoring.drift.custom) is not None:
        yield ("spec", "monitoring", "drift", "custom", "factory"), own


def missing_files(system: MLSystem) -> list[Finding]:
    """Paths and modules named in the file that are not on this machine; addresses such as `s3://` are not looked up."""
    findings = []
    for location, path in named_files(system):
        full = system.base_dir / path
        if is_pattern(system.base_dir, path):
            if not pattern_files(system.base_dir, path):
                findings.append(
                    Finding(location, f"{path!r} matches no file in {system.base_dir}; check the path")
                )
        elif not full.exists():
            findings.append(Finding(location, f"{path!r} is not there ({full}); check the path"))
    for index, feature in enumerate(system.spec.features):
        if feature.image is not None and feature.image.folder is not None:
            images = system.base_dir / feature.image.folder
            if not images.is_dir():
                location = ("spec", "features", index, "image", "folder")
                findings.append(
                    Finding(location, f"{feature.image.folder!r} is no folder ({images}); check the path")
                )
    for location, code in own_code(system):
        place = system.base_dir.joinpath(*code.module.split("."))
        if not place.with_suffix(".py").exists() and not (place / "__init__.py").exists():
            findings.append(
                Finding(location, f"module {code.module!r} is not beside the file ({place}.py); put it there")
            )
    return findings
