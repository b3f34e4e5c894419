"""From a file to a system, or to the list of all its mistakes.

A file can be wrong in its notation, in single fields and in how fields fit together. To show all three at once, what is
wrong is taken out of a copy and the rules between fields are asked about the rest.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from capstan.errors import InvalidSpecError, Mistake
from capstan.spec.finding import UNKNOWN, Finding
from capstan.spec.location import Document, Location, path_text
from capstan.spec.mistakes import explained, grammar_errors, meant
from capstan.spec.rules import broken_rules, repeated_names
from capstan.spec.system import WITHOUT_RULES, MLSystem
from capstan.spec.tasks import TASK_FACTS

_GONE = object()
_STAND_INS: dict[Location, Any] = {
    ("metadata",): {"name": "unknown"},
    ("spec", "objective"): {"task": next(iter(TASK_FACTS)), "target": UNKNOWN},
    ("spec", "data", "sources"): [{"name": "unknown", "csv": {"path": UNKNOWN}}],
    ("spec", "data", "keys"): {"id": UNKNOWN, "time": UNKNOWN},
    ("spec", "data", "label"): {"column": UNKNOWN, "availableAt": UNKNOWN},
    ("spec", "features"): [{"name": UNKNOWN, "numeric": {}}],
}
"""What takes the place of required parts that can't be read, so that the rest can be checked."""
_MOST_ROUNDS = 50


def load(path: Path) -> MLSystem:
    """The system in the file; relative paths in it are relative to its folder.

    Raises InvalidSpecError with all mistakes and their lines, also when there is no such file.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InvalidSpecError(
            [Mistake("file", f"{path} can't be read: {reason}; check the path")]
        ) from error
    return parse(content, base_dir=path.resolve().parent)


def parse(document: Mapping[str, Any] | bytes | str, *, base_dir: Path) -> MLSystem:
    """The system in a mapping, in JSON or in YAML; relative paths are relative to `base_dir`.

    Raises InvalidSpecError with all mistakes; with their lines where they are known.
    """
    read = _document(document)
    if not read.is_readable:
        raise InvalidSpecError([mistake for _, mistake in read.mistakes])
    system, findings = _checked(read.data)
    noted = {location for location, _ in read.mistakes}
    mistakes = [mistake for _, mistake in read.mistakes]
    mistakes += [
        Mistake(path_text(finding.location), finding.message, read.line_of(finding.location))
        for finding in findings
        if finding.location not in noted
    ]
    if mistakes or system is None:
        raise InvalidSpecError(sorted(mistakes, key=lambda mistake: mistake.line or 0))
    system._base_dir = base_dir
    return system


def _document(document: Mapping[str, Any] | bytes | str) -> Document:
    if isinstance(document, Mapping):
        return Document(data=document)
    content = document.encode("utf-8", "surrogatepass") if isinstance(document, str) else document
    if content.lstrip()[:1] == b"{":
        try:
            return Document(data=json.loads(content))
        except (ValueError, RecursionError):
            # Not JSON, but perhaps YAML in braces; its reader also finds the line of the mistake.
            pass
    # Child processes read JSON only, and ruamel would be a quarter of their import time.
    from capstan.spec.document import read_document

    return read_document(content)


def _checked(data: Mapping[str, Any]) -> tuple[MLSystem | None, list[Finding]]:
    findings = [
        Finding((key,), f"is required; add `{key}: {value}`")
        for key, value in (("apiVersion", "capstan.dev/v1alpha1"), ("kind", "MLSystem"))
        if key not in data
    ]
    system, errors = _validated(data)
    # A misspelt key of a required field would otherwise be told twice: as unknown and as missing.
    misspelt = {meant(error["loc"]) for error in errors if error["type"] == "extra_forbidden"}
    findings += [
        Finding(error["loc"], explained(error, data))
        for error in errors
        if error["type"] != "missing" or error["loc"] not in misspelt
    ]
    findings += repeated_names(data.get("spec"))
    readable, original = (system, None) if system is not None else _readable_part(data, errors)
    if readable is not None:
        for finding in broken_rules(readable.spec):
            location = original.locate(finding.location) if original is not None else finding.location
            if location not in {known.location for known in findings}:
                findings.append(Finding(location, finding.message))
    return system, findings


def _validated(data: Any) -> tuple[MLSystem | None, list[ErrorDetails]]:
    try:
        return MLSystem.model_validate(data, by_alias=True, by_name=False, context=WITHOUT_RULES), []
    except ValidationError as error:
        return None, list(grammar_errors(error))


class _Pruned:
    """A copy of the data from which parts can be taken out, and where its parts stood before."""

    def __init__(self, data: Any) -> None:
        self._tree = _copied(data)
        self._kept: dict[Location, list[int]] = {}

    def compact(self) -> Any:
        self._kept = {}
        return self._compacted(self._tree, ())

    def _compacted(self, node: Any, location: Location) -> Any:
        if isinstance(node, dict):
            return {
                key: self._compacted(value, (*location, key))
                for key, value in node.items()
                if value is not _GONE
            }
        if isinstance(node, list):
            self._kept[location] = [index for index, item in enumerate(node) if item is not _GONE]
            return [self._compacted(node[index], (*location, index)) for index in self._kept[location]]
        return node

    def locate(self, location: Location) -> Location:
        """Where a part of the compacted copy stood in the original."""
        found: Location = ()
        for part in location:
            kept = self._kept.get(found)
            known = isinstance(part, int) and kept is not None and part < len(kept)
            found = (*found, kept[part] if known else part)  # type: ignore[index]
        return found

    def take_out(self, location: Location) -> bool:
        """Remove the part or put its stand-in there; False if there is nothing to remove."""
        node = self._tree
        for depth, part in enumerate(location):
            if location[: depth + 1] == location:
                stand_in = _STAND_INS.get(location, _GONE)
                if isinstance(node, dict) and (part in node or stand_in is not _GONE):
                    node[part] = _copied(stand_in)
                    return True
                if isinstance(node, list) and isinstance(part, int) and part < len(node):
                    node[part] = _GONE
                    return True
                return False
            try:
                node = node[part]
            except (KeyError, IndexError, TypeError):
                return False
        return False


def _copied(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _copied(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_copied(item) for item in node]
    return node


def _readable_part(data: Any, errors: list[ErrorDetails]) -> tuple[MLSystem | None, _Pruned]:
    pruned = _Pruned(data)
    pruned.compact()
    for _ in range(_MOST_ROUNDS):
        located = [(pruned.locate(error["loc"]), error["type"]) for error in errors]
        for location, kind in located:
            target = location[:-1] if kind == "missing" and location not in _STAND_INS else location
            while target and not pruned.take_out(target):
                target = target[:-1]
            if target in ((), ("spec",)):
                return None, pruned
        system, errors = _validated(pruned.compact())
        if system is not None:
            return system, pruned
    return None, pruned
