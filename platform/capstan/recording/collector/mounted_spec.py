"""A system's file where Kubernetes mounts it, followed to the folder where its payloads lie."""

from __future__ import annotations

import logging
from pathlib import Path

import orjson

from capstan.files import write_whole

logger = logging.getLogger(__name__)
FOLDERS = ("payloads", "labels", "monitor")


class MountedSpec:
    """Where Kubernetes mounts it, copied to the folder beside the payloads whenever it changes."""

    def __init__(self, file: Path, systems: Path) -> None:
        """`file` is JSON as the API server keeps it; `systems` gets one folder named like the system."""
        self._file = file
        self._systems = systems
        self._seen = b""

    def follow(self) -> bool:
        """Whether the file changed since the last look; raises DiskFullError. An unreadable file changes nothing."""
        try:
            content = self._file.read_bytes()
            if content == self._seen:
                return False
            name = str(orjson.loads(content)["metadata"]["name"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s: cannot be read, the former one stays in force: %s", self._file, error)
            return False
        folder = self._systems / name
        for part in FOLDERS:
            (folder / part).mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(folder / "spec.json", content)
        self._seen = content
        return True
