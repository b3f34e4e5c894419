"""Sends each request to one child of a Seldon graph, and learns from rewards which child earns the most.

Shares follow from the rewards by the same rules as in a rollout's bandit step, at each request anew. The child is
drawn by a hash of the request's id, so a request that is tried again goes the same way while shares stand, and each
answer carries the share with which its child was chosen: with it an unbiased estimate can be made from the log.
"""

from __future__ import annotations

import hashlib
import math
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from seldon_core.flask_utils import SeldonMicroserviceException
from seldon_core.proto import prediction_pb2
from seldon_core.user_model import SeldonComponent, SeldonResponse

from capstan_bandit_router.bandits import BanditRule, Policy, Rewards, shares_of
from capstan_bandit_router.memory import Memory


class BanditRouter(SeldonComponent):
    """Parameters are those of the graph's `parameters`, each with name, value and type."""

    def __init__(
        self,
        branches: int = 2,
        policy: str = "Thompson",
        floor: int = 5,
        epsilon: float = 0.1,
        binary: bool = True,
        reach: float = 1.0,
        least_rewards: int = 30,
        salt: str = "",
        state: str = "/state/bandit.db",
    ) -> None:
        """`branches`: children of the router. `state`: its memory, on a volume that outlives the pod.

        `binary`: rewards are 0 or 1; else any number, for UCB1 in an interval of length `reach`. Raises ValueError for
        values that make no policy.
        """
        if branches < 2 or floor < 0 or floor * branches > 100:
            raise ValueError(f"branches: {branches} with a floor of {floor} % each make no shares")
        if not 0 <= epsilon <= 1 or not reach > 0:
            raise ValueError(f"epsilon: {epsilon} is outside 0 to 1, or reach: {reach} is not above 0")
        self._rule = BanditRule(Policy(policy), floor, epsilon, binary, reach, max(least_rewards, 1))
        self._branches, self._salt = branches, salt
        self._unit = os.environ.get("PREDICTIVE_UNIT_ID", "")
        self._memory = Memory(Path(state), branches)
        self._known: tuple[tuple[Rewards, ...], list[int]] | None = None

    def route(
        self,
        features: Any,  # noqa: ARG002
        names: Iterable[str],  # noqa: ARG002
        meta: dict[str, Any] | None = None,
    ) -> SeldonResponse:
        """The child for this request, with the share that it had."""
        shares = self._shares_after(self._memory.rewards())
        request = (meta or {}).get("puid") or secrets.token_hex(16)
        arm = _drawn(shares, self._salt, request)
        return SeldonResponse(data=arm, tags={"bandit_arm": arm, "bandit_share": shares[arm]})

    def send_feedback_raw(self, feedback: prediction_pb2.Feedback) -> prediction_pb2.SeldonMessage:
        """Count the reward for the child that answered; a second one of the same request changes nothing."""
        meta = feedback.response.meta
        arm = meta.routing.get(self._unit, -1) if self._unit in meta.routing else -1
        if not 0 <= arm < self._branches:
            raise SeldonMicroserviceException(
                f"response.meta.routing[{self._unit!r}]: {arm} is no child of this router; send the answer's meta back"
            )
        if not self._is_reward(feedback.reward):
            known = "0 or 1" if self._rule.is_binary else "a finite number"
            raise SeldonMicroserviceException(f"reward: {feedback.reward} is not {known}")
        counted = self._memory.add(arm, feedback.reward, meta.puid)
        answer = prediction_pb2.SeldonMessage()
        answer.meta.tags["counted"].bool_value = counted
        return answer

    def metrics(self) -> list[dict[str, Any]]:
        """Share, rewards and mean reward of each child, for Prometheus."""
        rewards = self._memory.rewards()
        shares = self._shares_after(rewards)
        found = []
        for arm, (one, share) in enumerate(zip(rewards, shares, strict=True)):
            values = {"share_percent": share, "rewards": one.count, "mean": one.mean if one.count else 0.0}
            found += [
                {"type": "GAUGE", "key": f"capstan_bandit_{name}", "value": value, "tags": {"arm": str(arm)}}
                for name, value in values.items()
            ]
        return found

    def _is_reward(self, value: float) -> bool:
        return value in (0, 1) if self._rule.is_binary else math.isfinite(value)

    def _shares_after(self, rewards: tuple[Rewards, ...]) -> list[int]:
        if self._known is None or self._known[0] != rewards:
            named = {str(arm): one for arm, one in enumerate(rewards)}
            moved = shares_of(self._rule, named)
            self._known = rewards, list(moved.values()) if moved is not None else _even(self._branches)
        return self._known[1]


def _drawn(shares: list[int], salt: str, request: str) -> int:
    digest = hashlib.sha256(f"{salt}\n{request}".encode()).digest()
    point = int.from_bytes(digest[:8]) / 2**64 * 100
    for arm, share in enumerate(shares):
        point -= share
        if point < 0:
            return arm
    return max(range(len(shares)), key=shares.__getitem__)


def _even(branches: int) -> list[int]:
    return [100 // branches + (arm < 100 % branches) for arm in range(branches)]
