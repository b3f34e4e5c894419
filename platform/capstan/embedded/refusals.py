"""What a file may ask for and one machine cannot do."""

from __future__ import annotations

from capstan.errors import InvalidSpecError, Mistake
from capstan.spec import MLSystem
from capstan.spec.providers import DEFAULT, PROVIDERS


def require_one_machine(system: MLSystem) -> None:
    """Raises InvalidSpecError for a file that needs a cluster."""
    provider = system.spec.serving.traffic.provider
    if not PROVIDERS[provider].on_one_machine:
        raise InvalidSpecError(
            [
                Mistake(
                    "serving.traffic.provider",
                    f"{provider!r} only works in a cluster; write {DEFAULT} to run it here, "
                    "or name a cluster with --context",
                )
            ]
        )
