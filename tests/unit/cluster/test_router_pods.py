"""The pods of a router between versions: who has to be told of rewards, and who has to know them."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from capstan.adapters.seldon.router import RouterPods, document
from capstan.domain.traffic import ArmRewards
from capstan.domain.versions import VersionName
from capstan.errors import UnavailableError

TOLD = (ArmRewards(VersionName("v1"), 40), ArmRewards(VersionName("v2"), 40))


class Pods:
    """Two pods of the router, by the API server and by themselves."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {"10.0.0.1": None, "10.0.0.2": None}
        self.ready = dict.fromkeys(self.told, True)
        self.away: set[str] = set()

    def list(self, *_: object, **__: object) -> list[Any]:
        return [
            {
                "metadata": {"name": f"router-{address}"},
                "status": {
                    "phase": "Running",
                    "podIP": address,
                    "conditions": [{"type": "Ready", "status": str(is_ready)}],
                },
            }
            for address, is_ready in self.ready.items()
        ]

    def answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.host in self.away:
            raise httpx.ConnectError("connection refused")
        if request.method == "PUT":
            self.told[request.url.host] = json.loads(request.content)
        return httpx.Response(200, text=json.dumps(self.told[request.url.host]))


def test_a_pod_that_is_not_ready_keeps_nothing_from_the_others_and_has_to_know_once_it_is() -> None:
    pods = Pods()
    with httpx.Client(transport=httpx.MockTransport(pods.answer)) as http:
        router = RouterPods(pods, http, namespace="n", labels={}, port=9904, token="t")  # type: ignore[arg-type]
        pods.away.add("10.0.0.1")
        with pytest.raises(UnavailableError, match=r"router-10\.0\.0\.1"):
            router.tell(TOLD)
        # A container that ends again and again: its pod runs, and gets no requests.
        pods.ready["10.0.0.1"] = False
        router.tell(TOLD)
        assert pods.told["10.0.0.2"] == document(TOLD)
        assert router.knows(TOLD)
        # One that can be asked is told all the same, before it is ready.
        pods.away.clear()
        pods.ready["10.0.0.1"] = True
        assert not router.knows(TOLD)
        pods.ready["10.0.0.1"] = False
        router.tell(TOLD)
        pods.ready["10.0.0.1"] = True
        assert router.knows(TOLD)
        pods.ready = dict.fromkeys(pods.ready, False)
        assert not router.knows(TOLD)
