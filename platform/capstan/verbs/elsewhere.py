"""The gateway of a system that runs elsewhere, and is reached by its address."""

from __future__ import annotations

from capstan.errors import NotFoundError

FROM_ENVIRONMENT = "CAPSTAN_FEEDBACK_TOKEN"
"""Environment variable with the token that lets labels in through a gateway elsewhere."""


def address_written(url: str, field: str) -> str:
    """The address as requests need it; raises NotFoundError that names the field for one that is none."""
    if not url.startswith(("http://", "https://")):
        raise NotFoundError(f"{field} {url}: must begin with http:// or https://")
    return url.rstrip("/")
