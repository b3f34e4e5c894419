"""What the page is told by its chart, beside the operator's settings; one JSON file."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from capstan.cluster.wiring.links import PublicAddresses
from capstan.errors import InvalidSpecError, Mistake

Network: TypeAlias = IPv4Network | IPv6Network


class Proxy(BaseModel):
    """An OIDC proxy in front that passes on who was signed in."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    addresses: tuple[str, ...] = ()
    """Networks that the proxy's requests come from, as 10.0.12.0/24; empty: no such header is believed."""
    user_header: str = "x-forwarded-user"
    groups_header: str = "x-forwarded-groups"
    """Groups, parted by commas."""

    @field_validator("addresses")
    @classmethod
    def _networks(cls, addresses: tuple[str, ...]) -> tuple[str, ...]:
        for text in addresses:
            network = ip_network(text)
            if network.is_loopback or network.prefixlen == 0:
                # What `kubectl port-forward` brings comes from the loopback address.
                raise ValueError(f"{text} would believe everybody; name the addresses of the proxy's pods")
        return addresses

    @property
    def networks(self) -> tuple[Network, ...]:
        return tuple(map(ip_network, self.addresses))


class PageSettings(BaseModel):
    """The settings of one page."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prefix: str = Field(default="", pattern=r"^(/[A-Za-z0-9._~-]+)*$")
    """Path below which the page is reached, as /capstan; empty: at the root."""
    hosts: tuple[str, ...] = ()
    """Names under which the page answers, beside localhost; empty: any."""
    session_key: Path | None = None
    """File with the key that seals sessions, the same for all replicas. None: one of this process alone."""
    session_hours: float = Field(default=8.0, gt=0, le=24)
    proxy: Proxy = Proxy()
    links: PublicAddresses = PublicAddresses()


def read_page_settings(file: Path) -> PageSettings:
    """The settings in the file; raises InvalidSpecError that names every wrong field."""
    try:
        return PageSettings.model_validate_json(file.read_bytes())
    except OSError as error:
        raise InvalidSpecError([Mistake(str(file), f"cannot be read: {error.strerror}")]) from error
    except ValidationError as error:
        raise InvalidSpecError(
            [
                Mistake(".".join(map(str, found["loc"])) or "page", str(found["msg"]))
                for found in error.errors()
            ]
        ) from error
