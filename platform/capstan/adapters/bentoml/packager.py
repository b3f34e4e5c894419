"""Packs a model folder into a Bento whose name and digest are made from its content.

The Bento carries the model, not Capstan's code: its service is imported from the installed `capstan`, on one machine as
in the generic serving image. So a fix of the service needs no new model, and the digest says which model it is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import orjson

from capstan.artifacts.content import DESCRIPTION, MODEL_FOLDER, content_digest, verify_content
from capstan.domain.versions import Digest, SystemName
from capstan.errors import CapstanError, InvalidDataError, NotFoundError
from capstan.files import write_error
from capstan.serving.manifest import read_manifest
from capstan.serving.model import SAMPLE_ROWS, sample_rows

SERVICE = "capstan.serving.service:ModelService"
REQUIRED = ("manifest.json", "pipeline.joblib")
IGNORED = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")


class BentoPackager:
    """Packager port on a local Bento store; `home` is BENTOML_HOME."""

    def __init__(self, home: Path) -> None:
        self._home = home.resolve()

    def package(self, system: SystemName, model_dir: Path) -> tuple[str, Digest]:
        """Build and store the Bento; the same folder gives the same tag and digest. Needs no network.

        A stored Bento of that tag whose bytes were changed since is replaced. Raises InvalidDataError, DiskFullError.
        """
        for name in REQUIRED:
            if not (model_dir / name).is_file():
                raise InvalidDataError(
                    f"{model_dir / name}: is missing, and a model folder must hold it; train the version again"
                )
        try:
            with _scratch(self._home) as scratch:
                context = scratch / "context"
                shutil.copytree(model_dir, context / "model", ignore=IGNORED)
                _add_sample(context / "model")
                built = self._built(system, context, scratch)
                digest = content_digest(built)
                tag = f"{system}:{built.name}"
                self._keep(built, self.path(tag), digest)
        except OSError as error:
            raise write_error(self._home, error) from error
        return tag, digest

    def _built(self, system: SystemName, context: Path, scratch: Path) -> Path:
        return _build(system, context, scratch)

    def verify(self, tag: str, digest: Digest) -> Path:
        """The Bento's folder, if its content hashes to `digest`; raises UntrustedArtifactError or NotFoundError."""
        return verify_content(self.path(tag), digest)

    def path(self, tag: str) -> Path:
        """Where a Bento of this tag is kept; raises NotFoundError for what can't be a tag."""
        name, _, label = tag.partition(":")
        if not name or not label or "/" in tag or name.startswith(".") or label.startswith("."):
            raise NotFoundError(f"{tag!r} is not a Bento's tag; it must read SYSTEM:LABEL")
        return self._home / "bentos" / name / label

    def _keep(self, built: Path, kept: Path, digest: Digest) -> None:
        """Move it into the store at once, unless the same content is there."""
        if kept.is_dir():
            try:
                verify_content(kept, digest)
            except CapstanError:
                os.replace(kept, built.parent.parent / "replaced")
            else:
                return
        kept.parent.mkdir(parents=True, exist_ok=True)
        os.replace(built, kept)


class UnbuiltPackager(BentoPackager):
    """Keeps models that nobody serves where a Bento would hold them: BentoML's build takes a second."""

    def _built(self, system: SystemName, context: Path, scratch: Path) -> Path:
        built = scratch / "store" / system / _label(context)
        (built / MODEL_FOLDER).parent.mkdir(parents=True)
        os.replace(context / "model", built / MODEL_FOLDER)
        (built / DESCRIPTION).write_text(f"name: {system}\nversion: {built.name}\n")
        return built


@contextmanager
def _scratch(home: Path) -> Iterator[Path]:
    """A folder on the store's own file system, so that a finished Bento can be moved by renaming."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".building-", dir=home))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _build(system: SystemName, context: Path, scratch: Path) -> Path:
    os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
    import bentoml
    from bentoml._internal.bento import BentoStore
    from bentoml._internal.configuration.containers import BentoMLContainer

    store = scratch / "store"
    store.mkdir()
    BentoMLContainer.tmp_bento_store_dir.set(str(scratch))
    try:
        bento = bentoml.bentos.build(
            SERVICE,
            name=system,
            version=_label(context),
            description=f"A model of {system}, made by Capstan.",
            include=["model/**"],
            python={"packages": [f"capstan-mlops=={version('capstan-mlops')}"], "lock_packages": False},
            build_ctx=str(context),
            _bento_store=BentoStore(store),
        )
    finally:
        BentoMLContainer.tmp_bento_store_dir.reset()
    return Path(bento.path)


def _add_sample(model_dir: Path) -> None:
    """Rows for the service's self-test in a form that it reads without a Parquet library."""
    table, plain = model_dir / "sample.parquet", model_dir / SAMPLE_ROWS
    if table.exists() and not plain.exists():
        names = [column.name for column in read_manifest(model_dir).columns]
        try:
            rows = sample_rows(table, names)
        except ValueError as error:
            raise InvalidDataError(f"{table}: cannot be read: {error}") from error
        plain.write_bytes(orjson.dumps(rows))


def _label(context: Path) -> str:
    """A tag's label from everything that goes in, known before the Bento is built."""
    built_with = f"bentoml {version('bentoml')} capstan {version('capstan-mlops')}"
    return hashlib.sha256(f"{content_digest(context)} {built_with}".encode()).hexdigest()[:16]
