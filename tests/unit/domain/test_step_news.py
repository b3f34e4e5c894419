"""A step is told when it begins and ends, and in between when it has something else to say, but not too often."""

from __future__ import annotations

from datetime import UTC, datetime

from capstan.domain.step_news import AGAIN_SECONDS, ToldStep, news_of, step_in_words
from capstan.domain.training import RunPhase, StepProgress

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def step(message: str, phase: RunPhase = RunPhase.RUNNING) -> StepProgress:
    return StepProgress("fit best", phase, BEGAN, None if phase is RunPhase.RUNNING else BEGAN, message)


def test_a_long_step_is_told_again_when_it_says_something_else() -> None:
    known: dict[str, ToldStep] = {}

    def told(one: StepProgress, now: float) -> list[str]:
        news = news_of([one], known, now=now)
        known.update({name: seen for name, (_, seen) in news.items()})
        return [step_in_words(new) for new, _ in news.values()]

    assert told(step(""), 0) == ["fit best: runs"]
    assert told(step("trial 1 of 9"), AGAIN_SECONDS / 2) == []
    assert told(step("trial 3 of 9"), AGAIN_SECONDS) == ["fit best: runs trial 3 of 9"]
    assert told(step("trial 3 of 9"), 9 * AGAIN_SECONDS) == [], "nothing new"
    assert told(step("trial 4 of 9"), 9 * AGAIN_SECONDS) == ["fit best: runs trial 4 of 9"]
    assert told(step("rocAuc 0.7", RunPhase.SUCCEEDED), 9 * AGAIN_SECONDS) == [
        "fit best: ok in 0 s rocAuc 0.7"
    ]
    assert told(step("rocAuc 0.7; a note", RunPhase.SUCCEEDED), 99 * AGAIN_SECONDS) == []
