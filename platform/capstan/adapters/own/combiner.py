"""The combiner process as the supervisor sees it."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from capstan.ports.serving import Endpoint

DRAIN_SECONDS = 10.0


@dataclass(frozen=True)
class CombinerClient:
    """Asks the combiner at its endpoint."""

    endpoint: Endpoint

    @property
    def address(self) -> str:
        return f"http://{self.endpoint.host}:{self.endpoint.port}"

    def drain(self) -> bool:
        """Wait until the collector has all of its payloads; False if that can't be had now."""
        try:
            answer = httpx.post(f"{self.address}/payloads/drain", timeout=DRAIN_SECONDS, trust_env=False)
        except httpx.HTTPError:
            return False
        return answer.status_code == httpx.codes.OK
