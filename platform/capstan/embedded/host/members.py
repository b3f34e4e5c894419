"""Which systems a host is to run: a file for each, written by `capstan up` and `capstan down`, read by the host.

A killed host leaves the files, so that the next one brings all its systems back.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import orjson

from capstan.embedded.known_folders import own_folder
from capstan.embedded.layout import StateDir
from capstan.errors import AlreadyRunningError, InvalidSpecError, Mistake
from capstan.files import write_whole


@dataclass(frozen=True)
class Member:
    """One system of a host."""

    system: str
    state: StateDir
    file: Path
    """Its file, whose folder is what relative paths are relative to."""
    is_first: bool
    """Whether it answers at the gateway's address without a name."""


def host_folder(gateway_port: int, state: StateDir) -> StateDir:
    """The folder of the host with this gateway. `state`: where it lies for a user without a home to write to."""
    folder = own_folder()
    if folder is None or not _can_be_written(folder):
        folder = state.root
    return StateDir(folder / "hosts" / str(gateway_port))


def _can_be_written(folder: Path) -> bool:
    try:
        there = next(one for one in (folder, *folder.parents) if one.exists())
        return there.is_dir() and os.access(there, os.W_OK | os.X_OK)
    except OSError:
        # A home that this user may not enter, as that of a container's other user.
        return False


GATEWAY_PATHS = ("predict", "feedback", "events", "webhooks", "v2")
"""Paths of the system that answers without a name."""


def require_own_path(system: str) -> None:
    """Raises InvalidSpecError for a name under which nobody could ask a system that is not the first of its host."""
    if system in GATEWAY_PATHS:
        raise InvalidSpecError(
            [
                Mistake(
                    "metadata.name",
                    f"{system!r} is a path of the gateway itself, so a system that joins others cannot have this "
                    "name; rename it, or start another host with --gateway-port and --page-port",
                )
            ]
        )


def members(host: StateDir) -> list[Member]:
    """Systems that the host is to run, by name; a file that cannot be read counts as none."""
    found = []
    for file in sorted(host.members.glob("*.json")):
        try:
            said = orjson.loads(file.read_bytes())
            found.append(
                Member(
                    str(said["system"]),
                    StateDir(Path(said["state"])),
                    Path(said["file"]),
                    bool(said["is_first"]),
                )
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def host_of(state: StateDir) -> StateDir | None:
    """The folder of the host that runs what is in the folder, is to run it, or was killed before it ended it."""
    last = state.last_host
    # It is noted before a start, the addresses at its end: those may be of a host before.
    is_wanted = last is not None and any(one.state.root == state.root for one in members(last))
    return last if is_wanted else state.host


def note(host: StateDir, member: Member) -> None:
    """Let the host run it. Raises AlreadyRunningError where it runs a system of that name from another folder."""
    for other in members(host):
        if other.system == member.system and other.state.root != member.state.root:
            raise AlreadyRunningError(
                f"metadata.name: a system {member.system!r} of {other.state.root} is there already; rename one, "
                "or start another host with --page-port and --gateway-port"
            )
    # Before its file: a host that is killed while it starts it is found from the folder all the same.
    member.state.note_host(host)
    said = {
        "system": member.system,
        "state": str(member.state.root),
        "file": str(member.file),
        "is_first": member.is_first,
    }
    write_whole(_file(host, member.system), orjson.dumps(said))


def forget(host: StateDir, system: str) -> None:
    """Let the host end it; no error if it does not run it."""
    _file(host, system).unlink(missing_ok=True)


def _file(host: StateDir, system: str) -> Path:
    return host.members / f"{system}.json"
