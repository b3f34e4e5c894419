"""A system's file, followed while it is edited: a broken edit leaves the former one in force."""

from __future__ import annotations

import logging
from pathlib import Path

from capstan.errors import CapstanError
from capstan.spec import MLSystem, parse

logger = logging.getLogger(__name__)


class FollowedSpec:
    """The file as the monitor reads it, again when its bytes change."""

    def __init__(self, file: Path, base_dir: Path) -> None:
        self._file = file
        self._base_dir = base_dir
        self._seen = b""

    def read(self) -> MLSystem:
        """Raises OSError, InvalidSpecError."""
        content = self._file.read_bytes()
        system = parse(content, base_dir=self._base_dir)
        self._seen = content
        return system

    def changed(self) -> MLSystem | None:
        """The new file; None: as before."""
        try:
            return self.read() if self._file.read_bytes() != self._seen else None
        except (OSError, CapstanError) as error:
            logger.warning("%s: cannot be read, the former one stays in force: %s", self._file, error)
            return None
