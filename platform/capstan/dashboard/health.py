"""Supervised processes as the page's header names them."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.adapters.processes.spec import ProcessPhase, ProcessStatus
from capstan.dashboard.page import Part
from capstan.domain.reasons import Tone

_WORDS = {
    ProcessPhase.STARTING: (Tone.ACTIVE, "starting"),
    ProcessPhase.RUNNING: (Tone.GOOD, "up"),
    ProcessPhase.BACKING_OFF: (Tone.WARN, "restarting"),
    ProcessPhase.GAVE_UP: (Tone.BAD, "down"),
    ProcessPhase.EXITED: (Tone.IDLE, "ended"),
    ProcessPhase.STOPPED: (Tone.IDLE, "stopped"),
}


def parts_of(processes: Mapping[str, ProcessStatus]) -> list[Part]:
    """One part for each process, by name."""
    return [
        Part(name, *_WORDS[status.phase], message=status.message, restarts=status.restarts)
        for name, status in sorted(processes.items())
    ]
