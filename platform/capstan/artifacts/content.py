"""What a Bento's bytes are: a digest of its content that knows neither its tag nor when it was built.

Standard library only and nothing is unpickled, so that it can run before anything of the Bento is trusted.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from capstan.domain.versions import Digest
from capstan.errors import NotFoundError, UntrustedArtifactError

MODEL_FOLDER = Path("src") / "model"
DESCRIPTION = "bento.yaml"
_NOT_CONTENT = (b"version:", b"creation_time:")
"""Top-level keys of bento.yaml that say how it is called and when it was built."""
_CHUNK = 1 << 20


def content_digest(bento_dir: Path) -> Digest:
    """`sha256:` of the sorted (path, file hash) pairs; raises UntrustedArtifactError for anything but plain files."""
    total = hashlib.sha256()
    for path, relative in sorted(_files(bento_dir), key=lambda found: found[1]):
        total.update(f"{relative}\0{_file_hash(path, relative)}\n".encode())
    return Digest(f"sha256:{total.hexdigest()}")


def verify_content(bento_dir: Path, digest: Digest) -> Path:
    """The folder, if its content hashes to `digest`; raises UntrustedArtifactError or NotFoundError."""
    if not (bento_dir / DESCRIPTION).is_file():
        raise NotFoundError(f"{bento_dir}: no Bento is there")
    found = content_digest(bento_dir)
    if not hmac.compare_digest(found, digest):
        raise UntrustedArtifactError(
            f"{bento_dir}: its content hashes to {found}, but {digest} was registered; it was changed after it was "
            "packaged and is not loaded. Restore it, or train again"
        )
    return bento_dir


def _files(root: Path) -> Iterator[tuple[Path, str]]:
    def fail(error: OSError) -> None:
        raise UntrustedArtifactError(f"{error.filename}: cannot be read: {error.strerror}") from error

    for folder, subfolders, names in os.walk(root, onerror=fail):
        for name in (*names, *(name for name in subfolders if os.path.islink(os.path.join(folder, name)))):
            path = Path(folder, name)
            if not stat.S_ISREG(path.lstat().st_mode):
                raise UntrustedArtifactError(f"{path}: a Bento holds plain files only, no links or devices")
            yield path, path.relative_to(root).as_posix()


def _file_hash(path: Path, relative: str) -> str:
    try:
        with path.open("rb") as file:
            if relative == DESCRIPTION:
                lines = (line for line in file if not line.startswith(_NOT_CONTENT))
                return hashlib.sha256(b"".join(lines)).hexdigest()
            hashed = hashlib.sha256()
            while chunk := file.read(_CHUNK):
                hashed.update(chunk)
            return hashed.hexdigest()
    except OSError as error:
        raise UntrustedArtifactError(f"{path}: cannot be read: {error.strerror}") from error
