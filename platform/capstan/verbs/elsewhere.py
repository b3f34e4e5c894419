"""The gateway of a system that runs elsewhere, and is reached by its address."""

from __future__ import annotations

import re

from capstan.errors import NotFoundError

FROM_ENVIRONMENT = "CAPSTAN_FEEDBACK_TOKEN"
"""Environment variable with the token that lets labels in through a gateway elsewhere."""


def without_password(address: str) -> str:
    """The address as messages show it."""
    return re.sub(r"(?<=//)[^/?#]*@", "(hidden)@", address)


def address_written(url: str, field: str) -> str:
    """The address as requests need it; raises NotFoundError that names the field for one that is none."""
    # Commands that ask nobody must not pay for it at start-up.
    import httpx

    shown = without_password(url)
    if not url.startswith(("http://", "https://")):
        raise NotFoundError(f"{field} {shown}: must begin with http:// or https://")
    try:
        named = httpx.URL(url).host
    except httpx.InvalidURL as error:
        said = str(error).replace(url, shown)
        raise NotFoundError(f"{field} {shown}: is no address: {said}") from error
    if not named:
        raise NotFoundError(f"{field} {shown}: names no host, such as http://gateway.example")
    return url.rstrip("/")
