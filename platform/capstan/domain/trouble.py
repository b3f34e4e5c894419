"""What keeps a part of a system from answering, from starting or from going on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Away:
    """A part that did not answer when it was looked at."""

    part: str
    reason: str

    def __str__(self) -> str:
        return f"{self.part} is unavailable: {self.reason}"


@dataclass(frozen=True)
class Trouble:
    """One part that cannot go on by itself; only somebody's help, or a long wait, ends it."""

    part: str
    """`gateway`, `collector`, `monitor`, `alerting`, `v2`, `graph v2`, `graph router` or `training shop-0a1b2c3d4e`."""
    reason: str
    """One word in CamelCase that stays the same while the trouble lasts, such as `ImagePullBackOff`."""
    message: str
    """What is wrong in words, and the command that mends it where there is one."""

    def __str__(self) -> str:
        return (
            f"{self.part}: {self.reason}: {self.message}" if self.message else f"{self.part}: {self.reason}"
        )
