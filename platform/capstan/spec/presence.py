"""Whether what the file points to is there."""

from __future__ import annotations

import glob
from pathlib import Path

from capstan.spec.finding import Finding
from capstan.spec.location import Location
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


def missing_files(system: MLSystem) -> list[Finding]:
    """Paths and modules named in the file that are not on this machine; addresses such as `s3://` are not looked up."""
    findings = []
    for index, source in enumerate(system.spec.data.sources):
        path: str | None = getattr(source.chosen, "path", None)
        if path is None or "://" in path:
            continue
        key = {"json_lines": "jsonLines"}.get(source.kind, source.kind)
        location: Location = ("spec", "data", "sources", index, key, "path")
        full = system.base_dir / path
        if is_pattern(system.base_dir, path):
            if not pattern_files(system.base_dir, path):
                findings.append(
                    Finding(location, f"{path!r} matches no file in {system.base_dir}; check the path")
                )
        elif not full.exists():
            findings.append(Finding(location, f"{path!r} is not there ({full}); check the path"))
    for index, candidate in enumerate(system.spec.training.candidates):
        if candidate.custom is None:
            continue
        module = candidate.custom.factory.partition(":")[0]
        place = system.base_dir.joinpath(*module.split("."))
        if not place.with_suffix(".py").exists() and not (place / "__init__.py").exists():
            findings.append(
                Finding(
                    ("spec", "training", "candidates", index, "custom", "factory"),
                    f"module {module!r} is not beside the file ({place}.py); put it there",
                )
            )
    return findings
