"""A page of several systems in memory, as a cluster has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from browser.flights import Scene

from capstan.dashboard.page import SystemShown
from capstan.dashboard.systems import SystemAddress
from capstan.dashboard.view import View
from capstan.domain.reasons import Tone
from capstan.domain.versions import RunName
from capstan.errors import NotFoundError
from capstan.ports.store import Store

WAITS = "a training waits for approval: drift of temp in 2 windows"


class SeveralSystems:
    """Scenes under other names; `more` further lines that only the list shows."""

    only: SystemAddress | None = None

    def __init__(self, scenes: Mapping[SystemAddress, Scene], more: int = 0) -> None:
        self._views = {address: scene.view() for address, scene in scenes.items()}
        self._more = {SystemAddress("parcels", f"route-{n:02d}"): n for n in range(more)}

    def addresses(self) -> Sequence[SystemAddress]:
        return sorted([*self._views, *self._more])

    def shown(self, address: SystemAddress) -> SystemShown:
        if address in self._views:
            return replace(self._views[address].shown(), namespace=address.namespace, name=address.name)
        number = self._more[address]
        phase, tone = [("Serving", Tone.GOOD), ("Training", Tone.ACTIVE), ("Progressing", Tone.ACTIVE)][
            number % 3
        ]
        return SystemShown(
            namespace=address.namespace,
            name=address.name,
            objective="Plan the vans of the day",
            phase=phase,
            tone=tone,
            message="the next window closes tomorrow",
            champion=f"v{number + 2}",
            champion_weight=75 if phase == "Progressing" else 100,
            challenger=f"v{number + 3}" if phase == "Progressing" else "",
            challenger_weight=25 if phase == "Progressing" else None,
            verdict="quality: Inconclusive" if phase == "Progressing" else "",
            verdict_tone=Tone.IDLE,
            drift="Stable" if number % 4 else "Drifted",
            alerts=0 if number % 4 else 1,
            alert_names=() if number % 4 else ("DriftDetected",),
            waits_for_a_person=WAITS if number == 4 else "",
        )

    def view(self, address: SystemAddress) -> View:
        if address not in self._views:
            raise NotFoundError(f"there is no system {address.name!r} here")
        return self._views[address]

    def mark(self, address: SystemAddress) -> object:
        return None

    def store(self, address: SystemAddress) -> Store:
        raise NotFoundError(address.name)

    def log(self, address: SystemAddress, run: RunName) -> str:
        return f"what {run} wrote"
