"""The kinds of steps that a rollout can have: one module each, listed here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.domain.steps.bandit import BanditStep
from capstan.domain.steps.canary import CanaryStep
from capstan.domain.steps.experiment import ExperimentStep
from capstan.domain.steps.interleave import InterleaveStep
from capstan.domain.steps.pause import PauseStep
from capstan.domain.steps.shadow import ShadowStep
from capstan.domain.steps.step import Station, Step

_MEMBERS: tuple[type[Step], ...] = (
    ShadowStep,
    InterleaveStep,
    ExperimentStep,
    BanditStep,
    CanaryStep,
    PauseStep,
)

STEPS: Mapping[str, type[Step]] = {step.name: step for step in _MEMBERS}
"""By the step's key in the file, in the order in which the picture of the loop draws their stations."""

STATIONS: tuple[Station, ...] = tuple(step.station for step in _MEMBERS if step.station is not None)
"""The stations of all steps in the picture of the loop."""
