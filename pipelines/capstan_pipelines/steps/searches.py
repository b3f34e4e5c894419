"""What the searches of a run tried and cost, for its report and for the registry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from capstan.evaluation.tables import table
from capstan.spec.tasks import MetricFacts

_BEST_TRIALS = 10
_MOST_FAILURES = 3


def search_tables(candidates: Sequence[Mapping[str, Any]], metric: MetricFacts) -> list[dict[str, Any]]:
    """A line for each search, and the best trials of each; nothing where none was searched.

    `candidates` are what the step `fit` wrote.
    """
    found = [(one["name"], one["search"]) for one in candidates if one["search"]]
    if not found:
        return []
    return [
        table(
            "Searches",
            ("candidate", "what it tried and cost"),
            [name for name, _ in found],
            ["trials", "finished", "pruned", "failed", "cut short", "s", f"{metric.title} written", "found"],
            [_line(search, metric) for _, search in found],
            notes=[note for name, search in found for note in _notes(name, search)],
            whose="the validation rows",
        ),
        *(_best_trials(name, search, metric) for name, search in found),
    ]


def search_measurements(candidate: Mapping[str, Any]) -> dict[str, float]:
    """Trials and seconds of a candidate's search, by the names under which the registry shows them."""
    search = candidate["search"]
    if not search:
        return {}
    name = candidate["name"]
    counts = {f"search_{state}.{name}": float(count) for state, count in search["counts"].items()}
    return {
        f"search_trials.{name}": float(len(search["trials"])),
        f"search_seconds.{name}": search["seconds"],
        **counts,
    }


def _line(search: Mapping[str, Any], metric: MetricFacts) -> list[Any]:
    trials, counts = search["trials"], search["counts"]
    written = [one[metric.name] for one in _finished(trials) if one["written"]]
    best = next(one for one in trials if one["number"] == search["best"])
    return [
        len(trials),
        *(counts[state] for state in ("finished", "pruned", "failed", "cut")),
        round(search["seconds"], 1),
        max(written, key=lambda value: metric.sign * value) if written else None,
        best[metric.name],
    ]


def _notes(name: str, search: Mapping[str, Any]) -> list[str]:
    best = next(one for one in search["trials"] if one["number"] == search["best"])
    notes = [f"{name} took trial {_title(best)}; what ended it: {search['ended_by']}."]
    failed = [one for one in search["trials"] if one["state"] == "failed"]
    notes += [f"{name}, trial {_title(one)} failed: {one['why']}" for one in failed[:_MOST_FAILURES]]
    more = len(failed) - _MOST_FAILURES
    return notes + ([f"{name}: {more} more failed; choice.json of the run names them."] if more > 0 else [])


def _best_trials(name: str, search: Mapping[str, Any], metric: MetricFacts) -> dict[str, Any]:
    best = sorted(
        _finished(search["trials"]), key=lambda one: (-metric.sign * one[metric.name], one["number"])
    )
    return table(
        f"Best trials of {name}",
        ("trial", "what it is worth and cost"),
        [_title(one) for one in best[:_BEST_TRIALS]],
        [metric.title, "s"],
        [[one[metric.name], round(one["seconds"], 2)] for one in best[:_BEST_TRIALS]],
        whose="the validation rows",
    )


def _finished(trials: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return [one for one in trials if one["state"] == "finished"]


def _title(trial: Mapping[str, Any]) -> str:
    values = ", ".join(
        f"{name} {value if isinstance(value, str) else format(value, '.4g')}"
        for name, value in trial["settings"].items()
    )
    return f"{trial['number']} {trial['of']}" + (f": {values}" if values else "")
