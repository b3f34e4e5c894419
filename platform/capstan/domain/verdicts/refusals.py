"""Whether a challenger refuses (4xx) what the champion answers.

A refused request is its client's fault where both versions refuse it, and counts as no error. Where the challenger
alone does, users would lose answers: pairs show it request by request, counters of two arms only by their shares.
"""

from __future__ import annotations

import math

from capstan.domain.verdicts.analysis import AnalysisResult, Verdict
from capstan.domain.verdicts.evidence import OperationEvidence, PairedEvidence
from capstan.domain.verdicts.excess import LEAST_BAD, log_excess_e_value

MOST_REFUSED = 0.01
"""Share of requests that the champion answers and the challenger may refuse."""
ALPHA = 0.05
"""Chance of a false alarm, however often one looks."""


def judge_refused_answers(evidence: PairedEvidence) -> AnalysisResult | None:
    """Failed where the challenger is shown to refuse more than MOST_REFUSED of what the champion answers; else None."""
    refused = evidence.refused_answers
    asked = refused + evidence.paired_requests
    if refused < LEAST_BAD or log_excess_e_value(refused, asked, MOST_REFUSED) < math.log(1 / ALPHA):
        return None
    message = (
        f"the challenger refused {refused:,} of {asked:,} requests that the champion answered, at most "
        f"{MOST_REFUSED:.0%} may be; its payloads of status 4xx name the field and the rule"
    )
    return AnalysisResult(Verdict.FAILED, "RefusesAnswered", message, {"refused_answers": float(refused)})


def judge_refused_share(evidence: OperationEvidence) -> AnalysisResult | None:
    """Inconclusive where the challenger is shown to refuse a larger share than the champion; else None.

    Never Failed: the arms got different requests, and one client's mistakes may all be in one of them.
    """
    champion, challenger = evidence.champion, evidence.challenger
    if challenger.refused < LEAST_BAD or not champion.requests:
        return None
    share = (champion.refused + 1) / (champion.requests + 2)
    # The upper end of the 95 % interval: a champion seen rarely must not look as if it refused nothing.
    most = share + 1.645 * math.sqrt(share * (1 - share) / champion.requests) + MOST_REFUSED
    if log_excess_e_value(challenger.refused, challenger.requests, min(most, 1.0)) < math.log(1 / ALPHA):
        return None
    message = (
        f"{refused_in_words(evidence)}: the new version may refuse what the old one answers, or one client's bad "
        "requests are all in its share; capstan_requests_total by code and payloads of status 4xx tell"
    )
    return AnalysisResult(Verdict.INCONCLUSIVE, "RefusesMore", message)


def refused_in_words(evidence: OperationEvidence) -> str:
    """Of both versions."""
    champion, challenger = evidence.champion, evidence.challenger
    return (
        f"{challenger.refused:,} of {challenger.requests:,} challenger requests were refused "
        f"(champion: {champion.refused:,} of {champion.requests:,})"
    )
