"""`capstan image`: one version as an image of its own."""

from __future__ import annotations

import shlex
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, out, print_json
from capstan.cli.stored_system import AnySystem, open_store, read_json
from capstan.errors import InvalidSpecError, Mistake, NotAllowedError, NotFoundError

if TYPE_CHECKING:
    from capstan.domain.versions import Digest, ModelVersion, SystemName
    from capstan.ports.store import Store

app = App()
NAME = "{system}:{digest}"


@app.command(epilog="Example: capstan image v3 --name ghcr.io/me/{system}:{digest}")
def image(
    version: Annotated[str, typer.Argument(help="The version, such as v3.")],
    system: AnySystem = None,
    name: Annotated[
        str,
        typer.Option(
            help="Name of the image; {system} and {digest}, the first 12 digits of the Bento's, are filled in."
        ),
    ] = NAME,
    base: Annotated[
        str | None, typer.Option(help="Image it is made from; default: this release's capstan-serving.")
    ] = None,
    context: Annotated[
        Path | None,
        typer.Option(
            help="Folder for the Dockerfile and the Bento; default: images/ in the state directory."
        ),
    ] = None,
    builder: Annotated[
        str | None,
        typer.Option(
            help="Command that builds, such as `podman build`; default: what is found; `none`: only write."
        ),
    ] = None,
    artifacts: Annotated[
        str | None,
        typer.Option(
            help="Take the Bento from a cluster's artifacts: s3://BUCKET/PREFIX/NAMESPACE/SYSTEM; needs the next two."
        ),
    ] = None,
    bento: Annotated[
        str | None, typer.Option(help="Its tag: annotation capstan.dev/bento of the version's Deployment.")
    ] = None,
    digest: Annotated[str | None, typer.Option(help="Its digest: annotation capstan.dev/digest.")] = None,
    state: State = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Write the build context of a version's own image, and build it where docker, podman or buildah is."""
    with honest_errors(json), _packed(version, system, state, artifacts, bento, digest) as found:
        from capstan.adapters.bentoml.image_builder import build_image, find_builder
        from capstan.artifacts.image import write_context
        from capstan.cluster.settings import Images

        full_name = _named(name, found)
        folder = write_context(
            (context or state / "images" / f"{found.system}-{found.version}").resolve(),
            found.folder,
            found.tag,
            found.digest,
            base=base or Images().serving,
            version=found.version,
        )
        command = tuple(shlex.split(builder)) if builder else find_builder()
        builds = command is not None and command != ("none",)
        if builds and command is not None:
            build_image(command, full_name, folder)
    if json:
        print_json({"image": full_name, "context": str(folder), "digest": found.digest, "built": builds})
        return
    out.print(f"context: {folder}", soft_wrap=True)
    if builds:
        out.print(f"built: {full_name}", soft_wrap=True)
    else:
        out.print("not built: there is no docker (with its daemon), podman or buildah here; elsewhere:")
        out.print(f"  docker build --tag {full_name} {folder}", soft_wrap=True)


@dataclass(frozen=True)
class _Packed:
    """A version's Bento on this machine, not yet verified."""

    version: str
    tag: str
    digest: Digest
    folder: Path

    @property
    def system(self) -> str:
        return self.tag.partition(":")[0]


@contextmanager
def _packed(
    version: str, system: str | None, state: Path, artifacts: str | None, tag: str | None, digest: str | None
) -> Iterator[_Packed]:
    """From the artifacts of a cluster if they are named, else from the state directory."""
    given = (artifacts, tag, digest)
    if artifacts is not None and tag is not None and digest is not None:
        from capstan.artifacts.store import ArtifactStore
        from capstan.domain.versions import Digest

        with tempfile.TemporaryDirectory() as home:
            pulled = ArtifactStore(artifacts).pull_bento(tag, Digest(digest), Path(home))
            yield _Packed(version, tag, Digest(digest), pulled)
        return
    if any(given):
        raise NotAllowedError("--artifacts, --bento and --digest belong together; give all three or none")
    with open_store(state) as (where, store):
        found = _version(store, where.runs, version, system)
        folder = where.bentos / "bentos" / found.bento_tag.replace(":", "/", 1)
        yield _Packed(found.name, found.bento_tag, found.digest, folder)


def _named(name: str, found: _Packed) -> str:
    from pydantic import ValidationError

    from capstan.cluster.settings import Images

    try:
        full = Images(version=name or NAME).of_version(found.system, found.digest)
    except ValidationError as error:
        raise InvalidSpecError([Mistake("--name", str(error.errors()[0]["msg"]))]) from error
    assert full is not None, "it is not empty"
    return full


def _version(store: Store, runs: Callable[[SystemName], Path], name: str, system: str | None) -> ModelVersion:
    """As the run that made it says, so that no registry has to be asked."""
    from capstan.domain.training import RunStatus
    from capstan.engine.records import training_state
    from capstan.ports.codec import from_json
    from capstan.ports.store import Kind

    found: dict[tuple[str, str], ModelVersion] = {}
    for record in store.list(Kind.RUN):
        if system not in (None, record.system):
            continue
        document = read_json(runs(record.system) / record.name / "status.json")
        status = from_json(RunStatus, document) if document is not None else training_state(record).result
        found |= {(record.system, made.name): made for made in (status.made if status is not None else ())}
    matching = [made for (_, made_name), made in found.items() if made_name == name]
    if len(matching) != 1:
        there = ", ".join(f"{made_name} of {owner}" for owner, made_name in sorted(found)) or "none yet"
        more = "several systems have it, name one with --system" if matching else "not there"
        raise NotFoundError(f"version {name!r}: {more}; versions: {there}")
    return matching[0]
