"""How often a guardrail of a bandit alarms while shares move, for an arm at its margin and for one that does harm."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from benchmarks.experiments.simulated.table import Table, percent
from scipy.special import ndtri

from capstan.domain.moving_weights import MovedWeights
from capstan.domain.verdicts.analysis import Verdict
from capstan.domain.verdicts.arms import ArmsRule, judge_guardrail
from capstan.domain.verdicts.bandits import BanditRule, Policy, Rewards, shares_of
from capstan.domain.verdicts.evidence import ArmDay, ArmsEvidence, ArmSums, summed
from capstan.domain.verdicts.experiments import Better
from capstan.domain.verdicts.moving_shares import MovingShares
from capstan.domain.verdicts.quality import Decide
from capstan.domain.versions import VersionName

Advance = Callable[[int], None]

SEED = 701
BATCHES, BATCH = 20, 750
MARGIN, HARM = 0.02, 0.06
RULE = ArmsRule("complaints", Better.LOWER, decide=Decide.UNLESS_WORSE, margin=MARGIN)
"""As `guardrail_rule` makes it of the only guardrail of a step."""
CHAMPION, ARM = VersionName("v1"), VersionName("v2")
START, HOUR = datetime(2000, 1, 1, tzinfo=UTC), timedelta(hours=1)


@dataclass(frozen=True)
class Users:
    """What users do; the arm has more complaints than the champion, by what is asked."""

    name: str
    complain: float
    """How many complain of the champion."""
    book: tuple[float, float] | None
    """How many book with the champion and with the arm, whatever they complain; None: who does not complain."""


USERS = (
    Users("users book more with the arm", 0.05, (0.10, 0.12)),
    Users("who complains does not book", 0.30, None),
)
POLICIES: dict[str, BanditRule | None] = {
    "Thompson": BanditRule(Policy.THOMPSON, is_binary=True),
    "UCB1": BanditRule(Policy.UCB1, is_binary=True),
    "EpsilonGreedy": BanditRule(Policy.EPSILON_GREEDY, is_binary=True),
    "even split, as in A/B": None,
}


@dataclass(frozen=True)
class Alarms:
    """Of runs, those in which each way to look alarmed at any batch."""

    guardrail: float
    plain: float
    """By the same bounds around the plain means of the arms."""
    naive: float
    """By a one-sided z test at 5 % of the plain means."""
    units: float
    """Median until the guardrail alarmed; infinite where fewer than half did."""


def guarded(runs: int, advance: Advance = lambda _: None) -> Table:
    """Every policy on both kinds of users."""
    rows = []
    for place, users in enumerate(USERS):
        for policy_place, (name, rule) in enumerate(POLICIES.items()):
            seed = SEED + 20 * place + 2 * policy_place
            fair = alarms(rule, users, MARGIN, runs, seed=seed, advance=advance)
            harm = alarms(rule, users, HARM, runs, seed=seed + 1, is_over_at_alarm=True)
            rows.append(
                (
                    f"{users.name}: {name}",
                    percent(fair.guardrail),
                    percent(fair.plain),
                    percent(fair.naive),
                    percent(harm.guardrail),
                    f"{harm.units:,.0f}" if math.isfinite(harm.units) else "-",
                )
            )
    return Table(
        "Guardrails while shares move",
        (
            "users and policy",
            "at the margin: alarms",
            "same bounds, plain means",
            "z test of plain means",
            f"worse by {HARM:g}: alarms",
            "median units until then",
        ),
        tuple(rows),
        f"{runs:,} bandits of {BATCHES} batches of {BATCH:,} units, looked at after every batch; seeds {SEED} and "
        f"following. A booking is the reward, complaints are guarded with a margin of {MARGIN:g} at 0.05. Where users "
        "book more with the arm (12 % against 10 %), 5 % complain of the champion. Where who complains does not book, "
        "30 % do, and the bandit turns away from the arm by the very luck that the guardrail looks at. At the margin "
        f"{100 * MARGIN:g} points more complain of the arm, and every alarm is a false one. In the last two columns "
        f"{100 * HARM:g} points more do; a median counts all runs.",
    )


def alarms(
    rule: BanditRule | None,
    users: Users,
    worse: float,
    runs: int,
    *,
    seed: int,
    is_over_at_alarm: bool = False,
    advance: Advance = lambda _: None,
) -> Alarms:
    """Simulate one policy, None: an even split for ever; `worse`: by how much more users complain of the arm."""
    rng = np.random.default_rng(seed)
    units = np.full(runs, np.inf)
    plain, naive = np.zeros(runs, dtype=bool), np.zeros(runs, dtype=bool)
    for run in range(runs):
        for moves, found in _batches(rule, users, worse, rng):
            if not math.isfinite(units[run]):
                shares = MovingShares(moves, RULE.better)
                told = judge_guardrail(found, RULE, CHAMPION, ARM, comparison=shares)
                if told.verdict is Verdict.FAILED:
                    units[run] = sum(found.total(version).units for version in (CHAMPION, ARM))
                    if is_over_at_alarm:
                        break
            if not is_over_at_alarm:
                plain[run] |= judge_guardrail(found, RULE, CHAMPION, ARM).verdict is Verdict.FAILED
                naive[run] |= z_test_alarms(found)
        advance(1)
    return Alarms(
        float(np.isfinite(units).mean()), float(plain.mean()), float(naive.mean()), float(np.median(units))
    )


def _batches(
    rule: BanditRule | None, users: Users, worse: float, rng: np.random.Generator
) -> Iterator[tuple[list[MovedWeights], ArmsEvidence]]:
    """The weights until now and what is known of complaints, after every batch."""
    complain = {CHAMPION: users.complain, ARM: users.complain + worse}
    book = dict(zip(complain, users.book, strict=True)) if users.book is not None else None
    weights = {CHAMPION: 50, ARM: 50}
    moves: list[MovedWeights] = []
    stretches: dict[datetime, dict[VersionName, ArmSums]] = {}
    rewards = dict.fromkeys(complain, Rewards())
    for batch in range(BATCHES):
        at = START + batch * HOUR
        if not moves or moves[-1].weights != weights:
            moves = [replace(move, until=move.until or at) for move in moves]
            moves.append(MovedWeights(weights, batch, since=at))
            stretches[at] = dict.fromkeys(complain, ArmSums())
        first = int(rng.binomial(BATCH, weights[CHAMPION] / 100))
        stretch = stretches[moves[-1].since or at]
        for version, count in ((CHAMPION, first), (ARM, BATCH - first)):
            ones = float(rng.binomial(count, complain[version]))
            booked = float(rng.binomial(count, book[version])) if book is not None else count - ones
            stretch[version] = summed((stretch[version], ArmSums(count, count, count, ones, ones, ones)))
            known = rewards[version]
            rewards[version] = Rewards(known.count + count, known.total + booked, known.squares + booked)
        yield moves, ArmsEvidence(tuple(ArmDay(since, dict(arms)) for since, arms in stretches.items()))
        weights = (shares_of(rule, rewards) if rule is not None else None) or weights


def z_test_alarms(found: ArmsEvidence) -> bool:
    """Whether the arm's plain mean is above the champion's by more than the margin, as one look would say it."""
    (champion, control), (arm, treated) = (
        (sums.total / sums.units, sums.units) for sums in (found.total(CHAMPION), found.total(ARM))
    )
    error = math.sqrt(champion * (1 - champion) / control + arm * (1 - arm) / treated)
    return arm - champion - MARGIN > float(ndtri(1 - RULE.alpha)) * error
