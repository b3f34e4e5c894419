"""`capstan image`: one version as an image of its own."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, out, print_json
from capstan.cli.stored import AnySystem, open_store, read_json
from capstan.errors import InvalidSpecError, Mistake, NotFoundError

if TYPE_CHECKING:
    from capstan.domain.versions import ModelVersion, SystemName
    from capstan.ports.store import Store

app = typer.Typer()
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
    state: State = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Write the build context of a version's own image, and build it where docker, podman or buildah is."""
    with honest_errors(json), open_store(state) as (where, store):
        from capstan.adapters.image_builder import build_image, find_builder
        from capstan.artifacts.image import write_context
        from capstan.cluster.settings import Images

        found = _version(store, where.runs, version, system)
        bento_system, _, label = found.bento_tag.partition(":")
        full_name = _named(name, found)
        folder = write_context(
            (context or where.root / "images" / f"{bento_system}-{found.name}").resolve(),
            where.bentos / "bentos" / bento_system / label,
            found.bento_tag,
            found.digest,
            base=base or Images().serving,
            version=found.name,
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


def _named(name: str, version: ModelVersion) -> str:
    from pydantic import ValidationError

    from capstan.cluster.settings import Images

    try:
        full = Images(version=name or NAME).of_version(version.bento_tag.partition(":")[0], version.digest)
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

    found = {}
    for record in store.list(Kind.RUN):
        if system not in (None, record.system):
            continue
        document = read_json(runs(record.system) / record.name / "status.json")
        status = from_json(RunStatus, document) if document is not None else training_state(record).result
        if status is not None and status.version is not None:
            found[record.system, status.version.name] = status.version
    matching = [made for (_, made_name), made in found.items() if made_name == name]
    if len(matching) != 1:
        there = ", ".join(f"{made_name} of {owner}" for owner, made_name in sorted(found)) or "none yet"
        more = "several systems have it, name one with --system" if matching else "not there"
        raise NotFoundError(f"version {name!r}: {more}; versions: {there}")
    return matching[0]
