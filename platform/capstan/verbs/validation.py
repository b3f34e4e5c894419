"""All mistakes of a file at once, and of its data where it is asked to look."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from capstan.errors import InvalidSpecError, Mistake

if TYPE_CHECKING:
    from capstan.data.inspection import Inspection
    from capstan.spec import MLSystem
    from capstan.spec.location import Document, Location

_FIELD = re.compile(r"((?:data|features|training)[\w.]*): (.*)", re.DOTALL)


@dataclass(frozen=True)
class Validated:
    """What is wrong with a file, and what was found in its data."""

    system: str | None
    """Its name; None: the file is wrong."""
    mistakes: tuple[Mistake, ...]
    found: Inspection | None
    """None: the data was not looked at, because nobody asked or the file is wrong."""
    in_vain: tuple[str, ...] = ()
    """What a valid file asks for in vain."""

    @property
    def valid(self) -> bool:
        return not self.mistakes


def validated(file: Path, state: Path, *, data: bool, now: datetime) -> Validated:
    """Check a file; with `data` also read what it names, as a training at `now` would. Raises nothing of its own.

    Secrets are those of the state folder that the system lives in, as of any training: `state`, or one beside it.
    """
    # Other commands must not pay for the grammar at start-up.
    from capstan.domain.retraining import in_vain, too_often
    from capstan.engine.policies import retraining_policy
    from capstan.spec import load
    from capstan.spec.document import read_document
    from capstan.spec.location import path_text
    from capstan.spec.presence import missing_files

    try:
        system = load(file)
    except InvalidSpecError as error:
        return Validated(None, tuple(error.mistakes), None)
    name = system.metadata.name
    policy = retraining_policy(system)
    told = [*in_vain(policy), *too_often(policy, now)]
    warnings = tuple(f"retraining.triggers: {text}" for text in told)
    if not data:
        return Validated(name, (), None, warnings)
    lines = read_document(file.read_bytes())
    absent = tuple(
        Mistake(path_text(finding.location), finding.message, lines.line_of(finding.location))
        for finding in missing_files(system)
    )
    if absent:
        return Validated(name, absent, None, warnings)
    from capstan.data.inspection import inspect_data
    from capstan.embedded.layout import StateDir
    from capstan.verbs.folders import where_lives

    found = inspect_data(system, now=now, secrets=where_lives(StateDir(state.resolve()), name).secrets)
    mistakes = tuple(_mistake(problem, system, lines) for problem in found.problems)
    return Validated(name, mistakes, found, warnings)


def _mistake(problem: str, system: MLSystem, lines: Document) -> Mistake:
    matched = _FIELD.fullmatch(problem)
    if matched is None:
        return Mistake("data", problem)
    path, message = matched.groups()
    return Mistake(path, message, lines.line_of(_location(path, system)))


def _location(path: str, system: MLSystem) -> Location:
    """Where the field stands in the file; a source is named by its name and not by its place."""
    parts = path.split(".")
    names = [source.name for source in system.spec.data.sources]
    if parts[:2] == ["data", "sources"] and len(parts) > 2 and parts[2] in names:
        return ("spec", "data", "sources", names.index(parts[2]))
    return ("spec", *parts)
