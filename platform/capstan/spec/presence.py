"""Whether what the file points to is there."""

from __future__ import annotations

import glob

from capstan.spec.finding import Finding
from capstan.spec.location import Location
from capstan.spec.system import MLSystem


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
        # A name that exists is no pattern, whatever characters it has.
        if any(character in path for character in "*?[") and not full.exists():
            if not any(glob.iglob(path, root_dir=system.base_dir, recursive=True)):
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
