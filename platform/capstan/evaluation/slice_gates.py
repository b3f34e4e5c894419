"""A gate that each part of the test window must pass by itself, so that a good mean can't hide a bad part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from capstan.domain.training import GateOutcome
from capstan.domain.verdicts.quality import Decide
from capstan.evaluation.gates import Finding, GateRule, Window, find
from capstan.evaluation.grouping import Grouping
from capstan.evaluation.slices import MOST_VALUES
from capstan.evaluation.tables import Cell, table

_MOST_TOLD = 5
"""Groups that a message names one by one; the table has all."""


def judge_slices(
    rule: GateRule, window: Window, grouping: Grouping, *, seed: int
) -> tuple[GateOutcome, dict[str, Any]]:
    """The gate's outcome over all groups, and the table of what each says.

    Passed if every group passes. A group with too few rows or days, or whose labels do not define the metric, is
    missing evidence. Where not passing has to be proved, confidence holds for all groups together (Bonferroni).
    """
    names = grouping.judged
    if rule.decide is Decide.UNLESS_WORSE and names:
        rule = replace(rule, confidence=1 - (1 - rule.confidence) / min(len(names), MOST_VALUES))
    found: dict[str, tuple[int, Finding]] = {}
    metric = window.task.metrics[rule.metric]
    for name in names[:MOST_VALUES]:
        part = window.part(grouping.of_rows == name).judged_by(metric)
        rows = len(part.truth)
        few = Finding(None, f"{rows:,} rows, needs {grouping.least_rows:,}")
        found[name] = (rows, few if rows < grouping.least_rows else find(rule, part, seed=seed))
    outcome = GateOutcome(rule.metric, *_together(rule, grouping, found, len(names)))
    return outcome, _table(rule, window, grouping, found)


def _together(
    rule: GateRule, grouping: Grouping, found: Mapping[str, tuple[int, Finding]], there: int
) -> tuple[bool | None, str]:
    missed = {name: one.words for name, (_, one) in found.items() if one.passed is False}
    unknown = {name: one.words for name, (_, one) in found.items() if one.passed is None}
    passed = sum(one.passed is True for _, one in found.values())
    told = [f"{passed} of {there} groups passed"]
    told += [_listed("missed by ", missed)] if missed else []
    if there > len(found):
        told.append(f"only the {len(found)} largest are judged; list those that count in `only`")
    if unknown:
        word = "left out, for want of evidence: " if grouping.leaves_out else "no evidence: "
        told.append(_listed(word, unknown))
    message = f"{rule.metric} by {grouping.title}: {'; '.join(told)}"
    if missed:
        return False, message
    is_missing = (bool(unknown) and not grouping.leaves_out) or there > len(found) or not passed
    return None if is_missing else True, message


def _listed(word: str, groups: Mapping[str, str]) -> str:
    shown = [f"{name} ({words})" for name, words in list(groups.items())[:_MOST_TOLD]]
    more = len(groups) - len(shown)
    return word + ", ".join(shown) + (f" and {more} more" if more else "")


def _table(
    rule: GateRule, window: Window, grouping: Grouping, found: Mapping[str, tuple[int, Finding]]
) -> dict[str, Any]:
    title = window.task.metrics[rule.metric].facts.title
    rival = window.rival
    what = "the value" if rival is None else "the difference"
    columns = ["rows", title, *([] if rival is None else [rival.name]), "low", "high", "gate"]
    words = {True: "passed", False: "missed", None: "left out" if grouping.leaves_out else "no evidence"}
    cells: list[list[Cell]] = [
        [
            rows,
            one.value,
            *([] if rival is None else [one.rival]),
            one.low,
            one.high,
            words[one.passed],
        ]
        for rows, one in found.values()
    ]
    return table(
        f"Gate: {title} by {grouping.title}",
        (grouping.title, "what the gate saw"),
        list(found),
        columns,
        cells,
        notes=[
            f"low and high are one-sided {rule.confidence:.4g} bounds of {what}, by resampling {window.unit} "
            f"({window.least} at least)"
        ],
    )
