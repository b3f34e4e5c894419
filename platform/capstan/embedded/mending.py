"""Waits, after a first training that failed, until a person has mended the file, a table or the code beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

from capstan.errors import CapstanError, InvalidSpecError
from capstan.spec import MLSystem, load
from capstan.spec.presence import meant_files, named_files, own_code
from capstan.training.local_modules import local_modules

Marks = dict[Path, str]
"""What each file looks like; empty for one that is not there."""


class Mending:
    """Knows what the failed training read, and sees when that was changed."""

    def __init__(self, file: Path, on_stuck: Callable[[], None] = lambda: None) -> None:
        """`on_stuck` is called once, when the first training has failed."""
        self._file = file.resolve()
        self._on_stuck = on_stuck
        self._marks: Marks | None = None
        self._told = ""
        self._was_stuck = False

    @property
    def is_stuck(self) -> bool:
        """Whether nothing serves, because a training failed that nobody has mended yet."""
        return self._marks is not None

    def begin(self, system: MLSystem, why: str, say: Callable[[str], None]) -> None:
        """Tell what failed, each failure once, and look at the files from now on."""
        if self._marks is None:
            self._marks = _marks(self._file, system)
        if why == self._told:
            return
        self._told = why
        say(f"the first model could not be trained: {why}")
        say(
            f"mend {self._file}, a table or the code beside it, and the training begins anew by itself; the page stays "
            "up, `capstan logs last` shows what the run wrote"
        )
        if not self._was_stuck:
            self._was_stuck = True
            self._on_stuck()

    def mended(self, system: MLSystem, say: Callable[[str], None]) -> MLSystem | None:
        """The file as it is now, once it or what it reads was changed; None before, and while it is wrong."""
        found = _marks(self._file, system)
        if self._marks is None or found == self._marks:
            return None
        self._marks = found
        try:
            changed = load(self._file)
        except InvalidSpecError as error:
            for mistake in error.mistakes:
                say(f"the file was changed, and is still wrong: {mistake}")
            return None
        except CapstanError as error:
            say(f"the file was changed, and can't be read: {error}")
            return None
        if changed.metadata.name != system.metadata.name:
            say(
                f"the file was changed, and is about {changed.metadata.name} now, not about {system.metadata.name}"
            )
            return None
        return changed

    def end(self) -> None:
        """A new training begins, or a model serves."""
        self._marks, self._told = None, ""


def _marks(file: Path, system: MLSystem) -> Marks:
    return {file: _digest(file)} | {path: _stamp(path) for path in _read_by(system)}


def _read_by(system: MLSystem) -> Iterator[Path]:
    """Tables, which may be large, and modules."""
    base = system.base_dir
    for _, named in named_files(system):
        yield from meant_files(base, named)
    for _, code in own_code(system):
        for source in local_modules(base, code.module.split(".")[0]):
            yield from sorted(source.rglob("*.py")) if source.is_dir() else (source,)


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _stamp(file: Path) -> str:
    try:
        found = file.stat()
    except OSError:
        return ""
    return f"{found.st_size} {found.st_mtime_ns}"
