"""The gateway of a system that does not run on this machine: at an address, or in a cluster behind a tunnel."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.place import IN_A_CLUSTER, Cluster, place_for
from capstan.errors import NotAllowedError, NotFoundError
from capstan.verbs.elsewhere import FROM_ENVIRONMENT, address_written

if TYPE_CHECKING:
    from capstan.cluster.names import SystemNames
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
    from capstan.cli.page_tunnel import Destination, end_as_by_ctrl_c, tunnel

    names = _names(place, system)
    end_as_by_ctrl_c()
    to = Destination(
        "the gateway",
        f"has no gateway of {names.system}; `capstan up FILE --context {place.context}` makes one",
        "--url names an Ingress to the gateway, which takes none of them",
    )
    with tunnel(place.context, place.namespace, names.gateway, 80, to=to) as way:
        yield way.address


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
    from capstan.cli.cluster_up import tokens_of

    secret = tokens_of(place, _names(place, system))
    try:
        found = place.kube.get("Secret", secret, place.namespace)
    except NotAllowedError as error:
        raise NotAllowedError(
            f"{error}; labels need the token of Secret {secret}: --token-file or ${FROM_ENVIRONMENT} gives it"
        ) from error
    try:
        return base64.b64decode((found or {})["data"]["feedback"]).decode().strip()
    except (KeyError, TypeError, binascii.Error) as error:
        raise NotFoundError(
            f"{place} has no Secret {secret} with a token for feedback; `capstan status --context` says whether "
            f"{system.metadata.name} is up"
        ) from error


def _names(place: Cluster, system: MLSystem) -> SystemNames:
    """Raises NotAllowedError where another provider's ingress stands before the system."""
    from capstan.cluster.names import SystemNames
    from capstan.domain.versions import SystemName
    from capstan.spec.providers import PROVIDERS

    provider = PROVIDERS[system.spec.serving.traffic.provider]
    if not provider.has_gateway:
        raise NotAllowedError(
            f"{provider.name} has an ingress of its own, which this command cannot ask; ask it by the Open Inference "
            "Protocol: `capstan up` prints a line for it"
        )
    return SystemNames(place.namespace, SystemName(system.metadata.name))
