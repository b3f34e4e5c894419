"""The gateway of a system that does not run on this machine: at an address, or in a cluster behind a tunnel."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.place import IN_A_CLUSTER, place_for
from capstan.cluster.places import Cluster
from capstan.errors import NotAllowedError, NotFoundError
from capstan.verbs.elsewhere import FROM_ENVIRONMENT, address_written

if TYPE_CHECKING:
    from capstan.spec import MLSystem

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Address of the gateway, such as that of an Ingress, instead of a port that kubectl forwards.",
        show_default=False,
        rich_help_panel=IN_A_CLUSTER,
    ),
]
TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        help=f"File with the token for feedback; default: ${FROM_ENVIRONMENT}, else the cluster's Secret.",
        show_default=False,
        rich_help_panel=IN_A_CLUSTER,
    ),
]


@contextmanager
def gateway_address(
    system: MLSystem, state: Path, context: str | None, namespace: str | None, url: str | None
) -> Iterator[str | None]:
    """Where the system's gateway answers; None: on this machine, where its state folder knows.

    Raises NotFoundError, NotAllowedError, MissingToolError, UnavailableError.
    """
    if url is not None:
        yield address_written(url, "--url")
        return
    place = place_for(system, state, context, namespace)
    if not isinstance(place, Cluster):
        yield None
        return
    from capstan.cluster.gateways import gateway_in
    from capstan.cluster.tunnel import end_as_by_ctrl_c

    end_as_by_ctrl_c()
    with gateway_in(place, system) as address:
        yield address


def feedback_token(
    system: MLSystem, state: Path, context: str | None, namespace: str | None, file: Path | None
) -> str:
    """What lets labels in; raises NotFoundError, NotAllowedError where the Secret may not be read."""
    if file is not None:
        try:
            return file.read_text().strip()
        except OSError as error:
            raise NotFoundError(f"--token-file {file}: cannot be read: {error.strerror}") from error
    if os.environ.get(FROM_ENVIRONMENT):
        return os.environ[FROM_ENVIRONMENT].strip()
    place = place_for(system, state, context, namespace)
    if not isinstance(place, Cluster):
        raise NotAllowedError(
            f"--url: labels need the system's token for feedback: --token-file or ${FROM_ENVIRONMENT} gives it, or "
            "--context names the cluster that keeps it"
        )
    from capstan.cluster.gateways import feedback_token_in

    return feedback_token_in(place, system, f"--token-file or ${FROM_ENVIRONMENT}")
