"""A registered version as a file of ONNX, written only after the file has answered the version's example rows alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from capstan.domain.versions import ModelVersion, VersionName
from capstan.embedded.layout import StateDir
from capstan.embedded.wiring import registry_of, stored_model
from capstan.errors import InvalidDataError, NotFoundError
from capstan.files import write_whole
from capstan.spec import MLSystem
from capstan.verbs.answering import newest_name

ONNX_SUFFIX = ".onnx"


@dataclass(frozen=True)
class ExportedVersion:
    """A version's graph, in a file."""

    version: ModelVersion
    file: Path
    bytes: int
    inputs: Mapping[str, str]
    """Raw column -> `string` or `float64`."""
    outputs: Sequence[str]
    rows: int
    """Example rows that the graph and the version were asked."""
    difference: float
    """The largest between their numbers or probabilities."""
    other_labels: int
    """Rows with another label, on the border between two."""

    def in_words(self) -> str:
        labels = f"; {self.other_labels} labels on a border are others" if self.other_labels else ""
        return (
            f"{self.version.name} is in {self.file} ({self.bytes / 1024:,.0f} KiB): {len(self.inputs)} columns in, "
            f"{' and '.join(self.outputs)} out\n"
            f"{self.rows:,} example rows are answered alike; the largest difference is {self.difference:.2g}{labels}"
        )


def export_onnx(
    system: MLSystem, state: StateDir, file: Path, *, version: str | None = None
) -> ExportedVersion:
    """Write the verified version's transform and model as one graph; None: the champion, else the newest.

    Raises InvalidDataError for what can't be written, by its name, or where answers differ; NotFoundError,
    UntrustedArtifactError, MissingExtraError. Then nothing is written.
    """
    # It imports scikit-learn, which those who only read what came of an export need not wait for.
    from capstan.exporting.proving import proven_graph, require_onnx

    _require_file(file)
    require_onnx("an export to ONNX")
    name = VersionName(version) if version is not None else newest_name(system, state)
    folder = stored_model(system, state, name)
    found = registry_of(system, state).version(name)
    assert found is not None, "its folder was found"
    facts = {
        "capstan.system": system.metadata.name,
        "capstan.version": str(name),
        "capstan.digest": str(found.digest),
    }
    try:
        exported, compared = proven_graph(folder, facts, str(name))
    except InvalidDataError as error:
        raise InvalidDataError(f"{name}: {error}") from error
    write_whole(file, exported.content, mode=0o666)
    return ExportedVersion(
        found,
        file,
        len(exported.content),
        {one.name: one.document()["tensor"] for one in exported.inputs},
        tuple(exported.outputs.values()),
        compared.rows,
        compared.difference,
        compared.other_labels,
    )


def _require_file(file: Path) -> None:
    if file.suffix.lower() != ONNX_SUFFIX:
        raise InvalidDataError(f"out: {file} must end in {ONNX_SUFFIX}, by which other programs know it")
    if not file.parent.is_dir():
        raise NotFoundError(f"out: {file.parent} is no folder; make it, or name a file in another one")
