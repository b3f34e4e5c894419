"""An Envoy in a pod, spoken to through the agent beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx

from capstan.adapters.envoy.host import GENERATION_HEADER, PART, Kind
from capstan.errors import ConflictError, UnavailableError
from capstan.outages import answer_in_words, in_words, short_reason

_KINDS: tuple[Kind, ...] = ("clusters", "routes")
_TIMEOUT = httpx.Timeout(5.0, connect=2.0)


class AgentEnvoy:
    """The EnvoyHost of one gateway pod; what it publishes is numbered like the ConfigMap that says the same."""

    def __init__(self, http: httpx.Client, address: str, token: str, *, pod: str, generation: int) -> None:
        """address: `http://POD-IP:PORT` of the agent; token: the system's internal one."""
        self.name = pod
        self._http = http
        self._address = address
        self._token = token
        self._generation = generation
        self._published: dict[Kind, bytes] = {}

    def publish(self, kind: Kind, content: bytes) -> None:
        """Raises ConflictError if the pod obeys a newer generation, UnavailableError if it refuses or is away."""
        self._call(
            "PUT", f"/config/{kind}", content=content, headers={GENERATION_HEADER: str(self._generation)}
        )
        self._published[kind] = content

    def renew(self, kind: Kind) -> None:
        self.publish(kind, self._published[kind])

    def ask(self, path: str, **query: str) -> Any:
        answer = self._call("GET", path, params=query)
        try:
            return answer.json()
        except ValueError as error:
            raise UnavailableError(PART, f"pod {self.name}: {path}: {in_words(error, PART)}") from error

    def boot(self) -> str:
        return str(self.ask("/config").get("boot", ""))

    def configuration(self) -> tuple[int, Mapping[Kind, str]]:
        """The number of the newest document that the pod obeys, and both documents; 0 and none before Envoy starts.

        Raises UnavailableError.
        """
        found = self.ask("/config")
        try:
            documents: dict[Kind, str] = {
                kind: str(found[kind]["content"]) for kind in _KINDS if kind in found
            }
            return max((int(found[kind]["generation"]) for kind in documents), default=0), documents
        except (KeyError, TypeError, ValueError) as error:
            raise UnavailableError(PART, f"pod {self.name}: /config: {in_words(error, PART)}") from error

    def where(self, kind: Kind) -> str:
        return f"pod {self.name}, {kind}"

    def log(self) -> str:
        return f"kubectl logs {self.name}"

    def _call(self, method: str, path: str, **more: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {self._token}", **more.pop("headers", {})}
        try:
            answer = self._http.request(
                method, self._address + path, headers=headers, timeout=_TIMEOUT, **more
            )
        except httpx.HTTPError as error:
            raise UnavailableError(PART, f"pod {self.name}: {in_words(error, PART)}") from error
        if answer.status_code == httpx.codes.CONFLICT:
            raise ConflictError(f"pod {self.name}: {short_reason(answer.text) or 'it obeys somebody else'}")
        if not answer.is_success:
            said = answer_in_words(answer.status_code, answer.text, f"{PART}, pod {self.name}")
            raise UnavailableError(PART, f"pod {self.name}: {said}")
        return answer
