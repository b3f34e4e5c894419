"""A step that asks users as it is drawn, whichever of its kinds it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias, assert_never

from capstan.dashboard.bandit_panel import bandit_shown
from capstan.dashboard.experiment_panel import experiment_shown
from capstan.dashboard.page import BanditShown, ExperimentShown, PreferenceShown
from capstan.dashboard.preference_panel import preference_shown
from capstan.domain.online_steps import OnlineStep
from capstan.domain.steps.bandit import BanditStep
from capstan.domain.steps.experiment import ExperimentStep
from capstan.domain.steps.interleave import InterleaveStep
from capstan.domain.steps.questions import Arms, Interleaving
from capstan.domain.verdicts.evidence import ArmsEvidence
from capstan.domain.verdicts.preference import PreferenceEvidence

OnlineStepShown: TypeAlias = ExperimentShown | BanditShown | PreferenceShown
UserEvidence: TypeAlias = Mapping[Arms | Interleaving, ArmsEvidence | PreferenceEvidence]


def online_shown(online: OnlineStep, evidence: UserEvidence) -> OnlineStepShown | None:
    """The step by the evidence of its questions; None: without it nothing can be drawn."""
    arms = {
        need: found
        for need, found in evidence.items()
        if isinstance(need, Arms) and isinstance(found, ArmsEvidence)
    }
    match online.step:
        case ExperimentStep():
            return experiment_shown(online, online.step, arms)
        case BanditStep():
            return bandit_shown(online, online.step, arms)
        case InterleaveStep():
            found = evidence.get(online.needs[0])
            return (
                preference_shown(online, online.step, found)
                if isinstance(found, PreferenceEvidence)
                else None
            )
        case _:
            assert_never(online.step)
