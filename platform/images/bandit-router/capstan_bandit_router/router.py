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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seldon_core.flask_utils import SeldonMicroserviceException
from seldon_core.proto import prediction_pb2
from seldon_core.user_model import SeldonComponent, SeldonResponse

from capstan_bandit_router.bandits import BanditRule, Policy, Rewards, drawn_shares
from capstan_bandit_router.memory import Memory
from capstan_bandit_router.open_inference import Choice, RefusedError, blueprint

_HELP = {
    "capstan_bandit_share_percent": "Percent of the requests that the child gets now.",
    "capstan_bandit_rewards": "Rewards of the child that the router knows.",
    "capstan_bandit_mean": "Mean of the child's rewards, of which more is better; 0 without any.",
}


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
        arms: str = "",
        untold_arm: str = "",
        token_file: str = "",
    ) -> None:
        """`branches`: children of the router. `state`: its memory, on a volume that outlives the pod.

        `arms`: names of the children, with commas between them, in place of their number. `untold_arm`: the one that
        gets every request until somebody has told rewards at `/rewards`; empty: rewards by feedback move the shares
        until then, equal at first. `token_file`: file with the bearer token that `/rewards` asks for; empty: it asks
        for none. `binary`: rewards are 0 or 1; else any number, for UCB1 in an interval of length `reach`. Raises
        ValueError for values that make no policy.
        """
        self._arms = arms.split(",") if arms else [str(arm) for arm in range(branches)]
        branches = len(self._arms)
        if len(set(self._arms)) < branches or "" in self._arms:
            raise ValueError(f"arms: {arms!r} are no names of different children")
        if untold_arm and untold_arm not in self._arms:
            raise ValueError(f"untold_arm: {untold_arm!r} is none of the arms {self._arms}")
        if branches < 2 or floor < 0 or floor * branches > 100:
            raise ValueError(f"branches: {branches} with a floor of {floor} % each make no shares")
        if not 0 <= epsilon <= 1 or not reach > 0:
            raise ValueError(f"epsilon: {epsilon} is outside 0 to 1, or reach: {reach} is not above 0")
        self._rule = BanditRule(Policy(policy), floor, epsilon, binary, reach, max(least_rewards, 1))
        self._branches, self._salt, self._untold_arm = branches, salt, untold_arm
        self._unit = os.environ.get("PREDICTIVE_UNIT_ID", "")
        self._memory = Memory(Path(state), branches)
        self._known: tuple[object, list[int]] | None = None
        # The name is the wrapper's: it adds the blueprint of this attribute to its server, whatever is in it.
        self.model_error_handler = blueprint(
            self._arms, self._choose, self._tell, self._memory.told, self._exposed, token_file
        )

    def route(
        self,
        features: Any,  # noqa: ARG002
        names: Iterable[str],  # noqa: ARG002
        meta: dict[str, Any] | None = None,
    ) -> SeldonResponse:
        """The child for this request, with the share that it had."""
        chosen = self._choose((meta or {}).get("puid") or "")
        share = chosen.shares[chosen.arm]
        return SeldonResponse(data=chosen.arm, tags={"bandit_arm": chosen.arm, "bandit_share": share})

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
        return [
            {"type": "GAUGE", "key": name, "value": value, "tags": {"arm": arm}}
            for name, by_arm in self._gauges().items()
            for arm, value in by_arm.items()
        ]

    def _gauges(self) -> Mapping[str, Mapping[str, float]]:
        """Values by name and arm."""
        rewards, shares = self._rewards(self._memory.told()), self._shares()
        means = [one.mean if one.count else 0.0 for one in rewards]
        columns: dict[str, Sequence[float]] = {
            "share_percent": shares,
            "rewards": [one.count for one in rewards],
            "mean": means,
        }
        return {
            f"capstan_bandit_{name}": dict(zip(self._arms, values, strict=True))
            for name, values in columns.items()
        }

    def _exposed(self) -> str:
        """The gauges in Prometheus' text format: by protocol v2 the wrapper asks for no metrics and shows none."""
        lines = []
        for name, by_arm in self._gauges().items():
            lines += [f"# HELP {name} {_HELP[name]}", f"# TYPE {name} gauge"]
            lines += [f'{name}{{arm="{_label(arm)}"}} {value!r}' for arm, value in by_arm.items()]
        return "\n".join(lines) + "\n"

    def _is_reward(self, value: float) -> bool:
        return value in (0, 1) if self._rule.is_binary else math.isfinite(value)

    def _choose(self, request: str) -> Choice:
        shares = self._shares()
        return Choice(_drawn(shares, self._salt, request or secrets.token_hex(16)), shares)

    def _tell(self, document: Mapping[str, Any]) -> None:
        """Take the rewards of all children at once, in the place of those that were counted here."""
        sums, closed = document.get("arms"), document.get("closed", [])
        if not isinstance(sums, dict) or not isinstance(closed, list) or not set(closed) <= set(self._arms):
            raise RefusedError(
                f"must be {{arms: {{NAME: [count, total, squares]}}, closed: [NAME]}} of {self._arms}"
            )
        if len(set(closed)) >= self._branches:
            raise RefusedError("closed: some child must be left")
        for arm in self._arms:
            if arm not in closed and not _are_sums(sums.get(arm)):
                raise RefusedError(
                    f"arms.{arm}: {sums.get(arm)!r} is not [count, total, squares], finite and from 0"
                )
        self._memory.tell(dict(document))

    def _rewards(self, told: Mapping[str, Any] | None) -> tuple[Rewards, ...]:
        if told is None:
            return self._memory.rewards()
        return tuple(Rewards(*told["arms"].get(arm, (0, 0, 0))) for arm in self._arms)

    def _shares(self) -> list[int]:
        """By child; one that is closed has none."""
        told = self._memory.told()
        rewards = self._rewards(told)
        closed = frozenset(told.get("closed", ())) if told is not None else frozenset()
        if told is None and self._untold_arm:
            # A pod that starts anew does not know which arms are closed.
            closed = frozenset(self._arms) - {self._untold_arm}
        if self._known is None or self._known[0] != (rewards, closed):
            moved = drawn_shares(self._rule, dict(zip(self._arms, rewards, strict=True)), closed)
            self._known = (rewards, closed), list(moved.values())
        return self._known[1]


def _label(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _are_sums(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) == 3
        and all(type(one) in (int, float) and math.isfinite(one) for one in value)
        and type(value[0]) is int
        and value[0] >= 0
        and value[2] >= 0
    )


def _drawn(shares: list[int], salt: str, request: str) -> int:
    digest = hashlib.sha256(f"{salt}\n{request}".encode()).digest()
    point = int.from_bytes(digest[:8]) / 2**64 * 100
    for arm, share in enumerate(shares):
        point -= share
        if point < 0:
            return arm
    return max(range(len(shares)), key=shares.__getitem__)
