"""The gateway of a system in a cluster: a way to it from this machine, and the token that lets labels in."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from capstan.errors import NotAllowedError, NotFoundError

if TYPE_CHECKING:
    from capstan.cluster.names import SystemNames
    from capstan.cluster.places import Cluster
    from capstan.spec import MLSystem


@contextmanager
def gateway_in(place: Cluster, system: MLSystem) -> Iterator[str]:
    """Its address on this machine while kubectl forwards a port.

    Raises NotFoundError, NotAllowedError, MissingToolError, UnavailableError.
    """
    from capstan.cluster.tunnel import Destination, tunnel

    names = names_of(place, system)
    to = Destination(
        "the gateway",
        f"has no gateway of {names.system}; `capstan up FILE --context {place.context}` makes one",
        "the address of an Ingress to the gateway (--url, or url= in Python) takes none of them",
    )
    with tunnel(place.context, place.namespace, names.gateway, 80, to=to) as way:
        yield way.address


def feedback_token_in(place: Cluster, system: MLSystem, otherwise: str) -> str:
    """What lets labels in, as the cluster's Secret has it; `otherwise`: how somebody gives it who may not read that.

    Raises NotFoundError, NotAllowedError.
    """
    secret = tokens_of(place, names_of(place, system))
    try:
        found = place.kube.get("Secret", secret, place.namespace)
    except NotAllowedError as error:
        raise NotAllowedError(
            f"{error}; labels need the token of Secret {secret}: {otherwise} gives it"
        ) from error
    try:
        return base64.b64decode((found or {})["data"]["feedback"]).decode().strip()
    except (KeyError, TypeError, binascii.Error) as error:
        raise NotFoundError(
            f"{place} has no Secret {secret} with a token for feedback; `capstan status --context` says whether "
            f"{system.metadata.name} is up"
        ) from error


def tokens_of(place: Cluster, names: SystemNames) -> str:
    """The Secret with the tokens that the system uses now; a placeholder where its Deployment may not be seen."""
    unknown = f"{names.tokens}-MARK"
    try:
        deployment = place.kube.get("Deployment", names.collector, place.namespace)
    except NotAllowedError:
        return unknown
    volumes = deployment["spec"]["template"]["spec"].get("volumes", ()) if deployment is not None else ()
    found = (one["secret"]["secretName"] for one in volumes if one["name"] == "tokens" and "secret" in one)
    return str(next(found, unknown))


def names_of(place: Cluster, system: MLSystem) -> SystemNames:
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
