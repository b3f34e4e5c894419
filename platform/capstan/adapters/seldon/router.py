"""The router of a system's graph, in all of its pods: what it is told of rewards, and what it knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import httpx

from capstan.adapters.kubernetes.conditions import holds
from capstan.domain.moving_weights import MILLIONTHS
from capstan.domain.traffic import ArmRewards
from capstan.errors import UnavailableError
from capstan.outages import answer_in_words, in_words
from capstan.ports.kube import Kube

PART = "the router of Seldon's graph"
_TIMEOUT = httpx.Timeout(5.0, connect=2.0)


class RouterPods:
    """Each pod is told by itself: a Service would hand the rewards to one of them."""

    def __init__(
        self,
        kube: Kube,
        http: httpx.Client,
        *,
        namespace: str,
        labels: Mapping[str, str],
        port: int,
        token: str,
    ) -> None:
        """labels: of the pods with a router; token: the system's internal one."""
        self._kube = kube
        self._http = http
        self._namespace = namespace
        self._labels = labels
        self._port = port
        self._token = token

    def tell(self, rewards: Sequence[ArmRewards]) -> None:
        """Give every pod the rewards in the place of those before; raises UnavailableError where one is away.

        One that is away keeps nothing from the others, and one that is not ready gets no requests: it may be away.
        """
        away: UnavailableError | None = None
        for name, address, is_ready in self._pods():
            try:
                self._ask("PUT", name, address, json=document(rewards))
            except UnavailableError as error:
                away = error if is_ready else away
        if away is not None:
            raise away

    def knows(self, rewards: Sequence[ArmRewards]) -> bool:
        """Whether every ready pod was told just these; False without one. Raises UnavailableError."""
        wanted = document(rewards)
        found = [self._ask("GET", name, address) for name, address, is_ready in self._pods() if is_ready]
        return bool(found) and all(one == wanted for one in found)

    def _pods(self) -> list[tuple[str, str, bool]]:
        """Name, address and whether it is ready."""
        pods = self._kube.list("Pod", self._namespace, labels=self._labels)
        return sorted(
            (
                str(pod["metadata"]["name"]),
                f"http://{pod['status']['podIP']}:{self._port}/rewards",
                holds(pod, "Ready"),
            )
            for pod in pods
            if pod.get("status", {}).get("phase") == "Running"
            and pod["status"].get("podIP")
            and not pod["metadata"].get("deletionTimestamp")
        )

    def _ask(self, method: str, pod: str, address: str, **more: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            answer = self._http.request(method, address, headers=headers, timeout=_TIMEOUT, **more)
            if answer.status_code != httpx.codes.OK:
                said = answer_in_words(answer.status_code, answer.text, f"{PART}, pod {pod}")
                raise UnavailableError(PART, f"pod {pod}: {said}")
            return answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise UnavailableError(PART, f"pod {pod}: {in_words(error, PART)}") from error


def document(rewards: Sequence[ArmRewards]) -> dict[str, Any]:
    """What `/rewards` of platform/images/bandit-router takes and answers."""
    return {
        "arms": {
            str(one.version): [one.count, one.total / MILLIONTHS, one.squares / MILLIONTHS] for one in rewards
        }
    }
