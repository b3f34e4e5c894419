"""An interleaving as it is drawn: whom units preferred, and the preference over time between its bounds."""

from __future__ import annotations

from capstan.dashboard.page import EvidencePoint, PreferenceShown
from capstan.dashboard.verdicts_shown import verdicts_shown
from capstan.domain.online_steps import OnlineStep
from capstan.domain.steps.interleave import InterleaveStep, PreferenceQuestion
from capstan.domain.verdicts.preference import PreferenceCounts, PreferenceEvidence, PreferenceRule


def preference_shown(
    online: OnlineStep, step: InterleaveStep, evidence: PreferenceEvidence
) -> PreferenceShown | None:
    """The interleaving by its evidence; None: it asks nothing about a preference."""
    question = online.questions[0]
    if not isinstance(question, PreferenceQuestion):
        return None
    counts, rule = evidence.counts, question.rule
    lower, upper = rule.bounds(counts)
    return PreferenceShown(
        event=step.event,
        method=step.method,
        rule=f"{rule.decide} at {rule.alpha:g} at any look",
        is_running=online.is_running,
        since=online.since,
        until=online.until,
        challenger=online.challenger,
        champion=online.champion,
        wins=counts.wins,
        losses=counts.losses,
        ties=counts.ties,
        waiting=evidence.waiting,
        requests=evidence.requests,
        alone=evidence.alone,
        preference=counts.preference,
        lower=lower,
        upper=upper,
        series=_series(evidence, rule, online),
        verdicts=verdicts_shown(online.latest),
    )


def _series(evidence: PreferenceEvidence, rule: PreferenceRule, online: OnlineStep) -> list[EvidencePoint]:
    points, counts = [], PreferenceCounts()
    for index, day in enumerate(evidence.days):
        counts += day.counts
        if day.counts.units:
            following = evidence.days[index + 1].start if index + 1 < len(evidence.days) else online.until
            lower, upper = rule.bounds(counts)
            points.append(EvidencePoint(following, counts.preference, lower, upper, counts.units))
    return points
