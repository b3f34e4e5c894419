"""Builds an image with whatever the machine has: docker, podman or buildah."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

from capstan.errors import CapstanError

BUILDERS = ("docker", "podman", "buildah")


def find_builder() -> tuple[str, ...] | None:
    """Command that builds; None: there is none. Docker's client counts only with its daemon."""
    for name in BUILDERS:
        if shutil.which(name) is None:
            continue
        if name != "docker" or _succeeds([name, "info"]):
            return (name, "build")
    return None


def build_image(builder: tuple[str, ...], name: str, context: Path) -> None:
    """Build the image. The builder's output goes to the caller's own; raises CapstanError with the command that
    failed.
    """
    argv = [*builder, "--tag", name, str(context)]
    try:
        code = subprocess.run(argv, check=False).returncode
    except OSError as error:
        raise CapstanError(f"`{shlex.join(argv)}` cannot be run: {error.strerror}") from error
    if code != 0:
        raise CapstanError(f"`{shlex.join(argv)}` ended with exit code {code}; what it printed is above")


def _succeeds(argv: list[str]) -> bool:
    try:
        return subprocess.run(argv, capture_output=True, timeout=20, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
