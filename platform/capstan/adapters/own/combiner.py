"""The combiner process as the supervisor sees it."""

from __future__ import annotations

from dataclasses import dataclass

from capstan.adapters.processes.draining import is_drained
from capstan.ports.serving import Endpoint


@dataclass(frozen=True)
class CombinerClient:
    """Asks the combiner at its endpoint."""

    endpoint: Endpoint

    @property
    def address(self) -> str:
        return f"http://{self.endpoint.host}:{self.endpoint.port}"

    def drain(self) -> bool:
        """Wait until the collector has all of its payloads; False if that can't be had now."""
        return is_drained(self.endpoint)
