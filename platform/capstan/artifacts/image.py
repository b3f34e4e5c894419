"""An image of one version: the generic serving image with the Bento in it, for those who do not want to fetch it."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from capstan.artifacts.content import verify_content
from capstan.domain.versions import Digest
from capstan.files import write_error

PLACE = "/bento"
"""Where the Bento lies in the image, as in the pods of the generic image."""


def write_context(folder: Path, bento: Path, tag: str, digest: Digest, *, base: str, version: str) -> Path:
    """Dockerfile and Bento in `folder`, which is replaced as a whole; the Bento is verified as it is written there.

    Raises UntrustedArtifactError, NotFoundError, DiskFullError.
    """
    system, _, label = tag.partition(":")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as scratch:
            context = Path(scratch, "context")
            copied = context / "bento" / "bentos" / system / label
            verify_content(bento, digest)
            shutil.copytree(bento, copied)
            verify_content(copied, digest)
            _make_readable(context)
            (context / "Dockerfile").write_text(_dockerfile(system, label, digest, base, version))
            if folder.exists():
                os.replace(folder, Path(scratch, "replaced"))
            os.replace(context, folder)
    except OSError as error:
        raise write_error(folder, error) from error
    return folder


def _dockerfile(system: str, label: str, digest: Digest, base: str, version: str) -> str:
    argv = [
        *("python", "-m", "capstan.serving.start", f"{PLACE}/bentos/{system}/{label}"),
        *("--host", "0.0.0.0", "--port", "3000"),  # noqa: S104
    ]
    return f"""\
# {version} of {system}, as `capstan image` wrote it.
FROM {base}
COPY bento {PLACE}
ENV BENTOML_HOME=/tmp/bentoml \\
    CAPSTAN_SYSTEM={system} \\
    CAPSTAN_VERSION={version} \\
    CAPSTAN_DIGEST={digest}
LABEL dev.capstan.system={system} \\
      dev.capstan.version={version} \\
      dev.capstan.digest={digest}
EXPOSE 3000
CMD {json.dumps(argv)}
"""


def _make_readable(folder: Path) -> None:
    """For the image's own user: a state directory is its owner's alone."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
