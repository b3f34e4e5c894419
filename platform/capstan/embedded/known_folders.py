"""Which state folders this machine has: each is noted once in the user's own folder, so that `capstan ls` finds it.

A note is a file of its own, so that two supervisors never write the same one. Where the notes lie is what XDG says:
`$XDG_STATE_HOME/capstan/folders`, by default below `~/.local/state`.
"""

from __future__ import annotations

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path

import orjson

from capstan.embedded.layout import StateDir
from capstan.errors import CapstanError
from capstan.files import write_whole

logger = logging.getLogger(__name__)


def remember(state: StateDir) -> None:
    """Note the folder. A home that cannot be written costs the line in `capstan ls` and nothing else."""
    notes = _notes()
    if notes is None:
        return
    folder = str(state.root.resolve())
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    try:
        write_whole(notes / f"{name}.json", orjson.dumps({"state": folder}))
    except (CapstanError, TypeError) as error:
        logger.info("`capstan ls` will not list %s: %s", folder, error)


def known_folders() -> list[StateDir]:
    """The noted folders that are still there, in order of their paths; notes of others are removed."""
    notes = _notes()
    found = []
    for note in notes.glob("*.json") if notes is not None else ():
        folder = _folder_of(note)
        if folder is not None and folder.is_dir():
            found.append(StateDir(folder))
        else:
            # In a home that cannot be written the note stays, and is passed over again.
            with suppress(OSError):
                note.unlink()
    return sorted(found, key=lambda state: state.root)


def own_folder() -> Path | None:
    """What Capstan keeps of a user, whatever systems there are; None for a user without a home.

    XDG says that a relative path is to be ignored.
    """
    named = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(named):
        return Path(named, "capstan")
    try:
        return Path.home() / ".local/state/capstan"
    except RuntimeError:
        return None


def _notes() -> Path | None:
    folder = own_folder()
    return folder / "folders" if folder is not None else None


def _folder_of(note: Path) -> Path | None:
    """None for a note that says nothing."""
    try:
        return Path(orjson.loads(note.read_bytes())["state"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
