"""Verdicts as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping

from capstan.dashboard.page import VerdictShown
from capstan.domain.reasons import Tone
from capstan.domain.rollout import LatestVerdict
from capstan.domain.verdicts.analysis import AnalysisResult, Verdict

_TONES = {
    Verdict.SUCCESSFUL.value: Tone.GOOD,
    Verdict.FAILED.value: Tone.BAD,
    Verdict.INCONCLUSIVE.value: Tone.IDLE,
    Verdict.ERROR.value: Tone.WARN,
}


def verdicts_shown(latest: Mapping[str, LatestVerdict]) -> list[VerdictShown]:
    """By name."""
    return [_shown(name, one.outcome, one.message) for name, one in sorted(latest.items())]


def result_shown(name: str, result: AnalysisResult) -> VerdictShown:
    """A judgement that is in no state."""
    return _shown(name, result.verdict.value, result.message)


def _shown(name: str, outcome: str, message: str) -> VerdictShown:
    return VerdictShown(name, outcome, _TONES.get(outcome, Tone.IDLE), message)
