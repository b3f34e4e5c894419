"""What a policy would have earned, from a table of logged actions, their propensities and rewards."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from capstan.errors import InvalidDataError
from capstan.evaluation.off_policy import (
    LEAST_EFFECTIVE,
    Draws,
    Estimate,
    Floats,
    Numbers,
    Overlap,
    Rounds,
    effective_rounds,
    estimates,
    overlap,
)
from capstan.evaluation.offline.columns import Column, PredictionTable, prediction_table
from capstan.evaluation.offline.measured import CONFIDENCE, RESAMPLES, Evaluation, Figure
from capstan.evaluation.offline.rows import drawn_by, random_blocks
from capstan.spec.tasks import POLICIES
from capstan.tasks.labels import NumberLabel
from capstan.tasks.probabilities import TOLERANCE

_TITLES = {
    "ips": "value by IPS",
    "snips": "value by self-normalised IPS",
    "dm": "value by the direct method",
    "dr": "value, doubly robust",
}
_PREFERRED = ("dr", "snips")
"""The first that is there makes the verdict."""
BETTER, WORSE, INCONCLUSIVE, MISSING = "Better", "Worse", "Inconclusive", "MissingEvidence"
_WORDS = {
    BETTER: "better than",
    WORSE: "worse than",
    INCONCLUSIVE: "neither better nor worse by this log than",
    MISSING: "evidence is missing for a verdict against",
}


@dataclass(frozen=True)
class AskedPolicy:
    """Which column of a table of rounds is what."""

    path: Path
    reward: str
    action: str
    propensity: str
    prediction: str
    """What the columns of the policy's probabilities begin with, before a dot and the action."""
    expected: str | None = None
    """The same of the rewards that a model expects."""
    champion: str | None = None
    """The same of another policy's probabilities; None: the policy is compared with the logged actions."""
    time: str | None = None
    zone: str = "UTC"


def evaluate_policy(asked: AskedPolicy, *, seed: int) -> Evaluation:
    """Values of the policy with intervals, and the verdict; raises NotFoundError, InvalidDataError."""
    rng = np.random.default_rng(seed)
    with prediction_table(asked.path, zone=asked.zone, texts=[asked.action]) as table:
        names = _actions(table, asked)
        table.require_all(
            Column("--propensity", asked.propensity),
            "try_cast({0} as double) > 0 and try_cast({0} as double) <= 1",
            "a propensity is the probability with which the logging policy chose the action: above 0 and at most 1; "
            "log it with the action, or leave the rows out of which nobody knows it",
        )
        left_out = table.with_label(Column("--label", asked.reward), NumberLabel())
        rounds = Rounds(
            _taken(table, asked, names),
            table.numbers(Column("--propensity", asked.propensity)),
            table.labels().astype(np.float64),
            _probabilities(table, asked.prediction, names, "--prediction"),
            None if asked.expected is None else _matrix(table, asked.expected, names, "--expected"),
        )
        champion = (
            None
            if asked.champion is None
            else replace(rounds, policy=_probabilities(table, asked.champion, names, "--champion"))
        )
        days = None if asked.time is None else table.days(Column("--time", asked.time))
    blocks = random_blocks(len(rounds.taken), None, rng) if days is None else days
    draws = Draws(blocks, rng=rng, resamples=RESAMPLES)
    return Evaluation(
        POLICIES,
        len(rounds.taken),
        left_out,
        drawn_by(days, None, blocks),
        *_judged(rounds, champion, names, draws),
    )


def _judged(
    rounds: Rounds, champion: Rounds | None, names: Sequence[str], draws: Draws
) -> tuple[tuple[Figure, ...], tuple[()], Mapping[str, Any]]:
    found, seen = estimates(rounds, draws), overlap(rounds)
    chosen = next(name for name in _PREFERRED if name in found)
    figures = [_figure(name, _TITLES[name], one, seen.missing) for name, one in found.items()]
    logged = draws.ratio(rounds.reward)
    figures.append(_figure("logged", "value of the logged actions", logged))
    constants, table = _actions_table(rounds, names, draws)
    if constants:
        best = max(constants, key=lambda name: constants[name].value)
        note = "chosen by these rounds, so rather too high"
        figures.append(_figure("bestConstant", f"always {best}", constants[best], note=note))
    missing, against, other = seen.missing, "the logged actions", logged
    details: dict[str, Any] = {}
    if champion is not None:
        of_champion, its = overlap(champion), estimates(champion, draws)[chosen]
        missing = missing or (of_champion.missing and f"of the champion: {of_champion.missing}")
        against, other = "the champion", its
        figures.append(_figure("champion", f"champion: {_TITLES[chosen]}", its, of_champion.missing))
        details["championOverlap"] = _overlap_document(of_champion)
    gain = _figure("gain", f"gain over {against}", found[chosen].minus(other), missing, note=_TITLES[chosen])
    figures.append(gain)
    verdict, why = _verdict(gain, missing)
    notes = [
        f"{_WORDS[verdict]} {against}: {why}",
        f"overlap: {_overlap_words(seen, len(rounds.taken))}",
    ]
    if rounds.expected is None:
        notes.append(
            "--expected, the rewards that a model expects, adds the direct method and the doubly robust value"
        )
    details |= {"verdict": verdict, "overlap": _overlap_document(seen), "tables": [table], "notes": notes}
    return tuple(figures), (), details


def _figure(name: str, title: str, one: Estimate, missing: str = "", *, note: str = "") -> Figure:
    low, high = (math.nan, math.nan) if missing else one.interval(CONFIDENCE)
    return Figure(name, title, "Higher", one.value, low, high, "missing evidence" if missing else note)


def _verdict(gain: Figure, missing: str) -> tuple[str, str]:
    if missing:
        return MISSING, missing
    if not math.isfinite(gain.low):
        return MISSING, "there are too few rounds, or days, to draw"
    between = f"the gain is between {gain.low:.4g} and {gain.high:.4g}"
    return BETTER if gain.low > 0 else WORSE if gain.high < 0 else INCONCLUSIVE, between


def _overlap_words(seen: Overlap, rounds: int) -> str:
    if not seen.effective:
        return "the policy never takes an action that was logged"
    return (
        f"{seen.effective:,.0f} effective rounds of {rounds:,}; weights are {seen.mean_weight:.4g} in the mean; "
        f"the largest 1% of them hold {seen.largest:.1%} of the weight"
    )


def _overlap_document(seen: Overlap) -> Mapping[str, Any]:
    return {
        "effectiveRounds": seen.effective,
        "meanWeight": seen.mean_weight,
        "largestShare": None if math.isnan(seen.largest) else seen.largest,
        "missing": seen.missing,
    }


def _actions_table(
    rounds: Rounds, names: Sequence[str], draws: Draws
) -> tuple[Mapping[str, Estimate], Mapping[str, Any]]:
    """What each action would earn if it were always taken, where enough rounds have it."""
    constants, cells = {}, []
    for place, name in enumerate(names):
        always = (rounds.taken == place) / rounds.propensity
        value: list[float | None] = [None, None, None]
        if effective_rounds(always) >= LEAST_EFFECTIVE:
            constants[name] = draws.ratio(always * rounds.reward, always)
            ends = constants[name].interval(CONFIDENCE)
            value = [one if math.isfinite(one) else None for one in (constants[name].value, *ends)]
        count = int((rounds.taken == place).sum())
        cells.append([count, count / len(rounds.taken), float(rounds.policy[:, place].mean()), *value])
    return constants, {
        "title": "Actions",
        "of_rows": "action",
        "of_columns": "how often, and the reward if it were always taken",
        "rows": list(names),
        "columns": ["rounds", "logged", "policy", "always", "from", "to"],
        "cells": cells,
        "notes": [f"- stands where the rounds say as much as fewer than {LEAST_EFFECTIVE} of that action"],
    }


def _actions(table: PredictionTable, asked: AskedPolicy) -> tuple[str, ...]:
    prefix = f"{asked.prediction}."
    names = tuple(name.removeprefix(prefix) for name in table.names if name.startswith(prefix))
    if len(names) < 2:
        raise InvalidDataError(
            f"--prediction: {asked.path.name} has {len(names)} columns that begin with {prefix!r}; it needs one for "
            "each action, with the probability that the policy takes it"
        )
    place = ", ".join(
        "'" + name.replace("'", "''").replace("{", "{{").replace("}", "}}") + "'" for name in names
    )
    table.require_all(
        Column("--action", asked.action),
        f"cast({{}} as varchar) in ({place})",
        f"the actions are those with a column {prefix}ACTION: {', '.join(names)}; write one of them, or add its column",
    )
    return names


def _taken(table: PredictionTable, asked: AskedPolicy, names: Sequence[str]) -> Numbers:
    places = {name: place for place, name in enumerate(names)}
    found = table.texts(Column("--action", asked.action))
    return np.array([places[str(name)] for name in found], dtype=np.int64)


def _matrix(table: PredictionTable, prefix: str, names: Sequence[str], option: str) -> Floats:
    """(rounds, actions): numbers of the columns `<prefix>.<action>`."""
    return np.stack([table.numbers(Column(option, f"{prefix}.{name}")) for name in names], axis=1)


def _probabilities(table: PredictionTable, prefix: str, names: Sequence[str], option: str) -> Floats:
    found = _matrix(table, prefix, names, option)
    odd = np.flatnonzero((found < 0).any(axis=1) | (np.abs(found.sum(axis=1) - 1) > TOLERANCE))
    if len(odd):
        row = found[odd[0]]
        raise InvalidDataError(
            f"{option}: {prefix} of rewarded row {odd[0] + 1} sum to {row.sum():.6g}, the least is {row.min():.6g}; "
            "probabilities are at least 0 and make 1 together"
        )
    return found
