"""The questions that the monitor asks of each window: one module each, listed here and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.monitoring.questions.blind import BLIND
from capstan.monitoring.questions.concept import ConceptDrift
from capstan.monitoring.questions.drift import DriftQuestion
from capstan.monitoring.questions.estimate import EstimatedDrop
from capstan.monitoring.questions.missing import MissingQuestion
from capstan.monitoring.questions.online import OnlineDriftQuestion
from capstan.monitoring.questions.predictions import PredictionsQuestion
from capstan.monitoring.questions.quality import QualityDrop
from capstan.monitoring.questions.question import AlertFacts, Kind, WindowQuestion

__all__ = ["QUESTIONS", "AlertFacts", "Kind", "WindowQuestion", "alerts"]

_MEMBERS: tuple[WindowQuestion, ...] = (
    DriftQuestion(),
    OnlineDriftQuestion(),
    PredictionsQuestion(),
    MissingQuestion(),
    EstimatedDrop(),
    QualityDrop(),
    ConceptDrift(),
)

QUESTIONS: Mapping[str, WindowQuestion] = {question.name: question for question in _MEMBERS}
"""By name, in the order in which they are told."""


def alerts() -> tuple[AlertFacts, ...]:
    """All data alerts, in the order in which they are told."""
    return (*(question.alert for question in QUESTIONS.values()), BLIND)
