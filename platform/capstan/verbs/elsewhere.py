"""The gateway of a system that runs elsewhere, and is reached by its address."""

from __future__ import annotations

from capstan.errors import NotFoundError

FROM_ENVIRONMENT = "CAPSTAN_FEEDBACK_TOKEN"
"""Environment variable with the token that lets labels in through a gateway elsewhere."""


def address_written(url: str, field: str) -> str:
    """The address as requests need it; raises NotFoundError that names the field for one that is none."""
    # Commands that ask nobody must not pay for it at start-up.
    import httpx

    if not url.startswith(("http://", "https://")):
        raise NotFoundError(f"{field} {url}: must begin with http:// or https://")
    try:
        named = httpx.URL(url).host
    except httpx.InvalidURL as error:
        raise NotFoundError(f"{field} {url}: is no address: {error}") from error
    if not named:
        raise NotFoundError(f"{field} {url}: names no host, such as http://gateway.example")
    return url.rstrip("/")
