"""How two versions differ: data, code, settings, candidate, metrics, features, and what each came from."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from capstan.engine.changes import Change, compare
from capstan.ports.store import Event
from capstan.verbs.made_versions import MadeVersion

IN_DOCUMENTS = ("settings", "code", "features")
"""What only the documents of a run tell."""
SURE = 1.96
"""Standard errors on each side of a value within which the truth lies 95 times of 100."""


@dataclass(frozen=True)
class Value:
    """A metric of one version, measured on the test window of its own training."""

    value: float
    low: float | None
    """Of the 95 % interval; None: the training measured no spread of it."""
    high: float | None


@dataclass(frozen=True)
class MetricDiffers:
    """One metric of both; None: one of them has none of this name."""

    name: str
    old: Value | None
    new: Value | None


@dataclass(frozen=True)
class CodeDiffers:
    """One file of code beside the system's file."""

    file: str
    lines: tuple[str, ...]
    """As `diff -u` writes them, without the names of the files."""

    @property
    def added(self) -> int:
        return sum(line.startswith("+") for line in self.lines)

    @property
    def removed(self) -> int:
        return sum(line.startswith("-") for line in self.lines)


@dataclass(frozen=True)
class Differences:
    """All that differs; what is the same is left out, but for metrics."""

    old: str
    new: str
    data: tuple[Change, ...]
    """Rows, labels and moments that were learnt from."""
    settings: tuple[Change, ...]
    """Fields of the file."""
    code: tuple[CodeDiffers, ...]
    candidate: tuple[Change, ...]
    """What was chosen, and what it was tuned to."""
    features: tuple[Change, ...]
    """Columns of a request: type, range that training saw, values."""
    metrics: tuple[MetricDiffers, ...]
    same_rows: tuple[MetricDiffers, ...]
    """Both on the same rows: those of the newer's test window, where it was judged against the older one."""
    gates: tuple[str, ...]
    """What the newer's gates said, where it was judged against the older one."""
    unknown: tuple[str, ...]
    """What can't be compared, because a run has it no longer, or its documents lie elsewhere."""
    absent: tuple[str, ...] = ()
    """Fields of this that say nothing, because the documents lie elsewhere: `settings`, `code`, `features`."""


def differences(old: MadeVersion, new: MadeVersion) -> Differences:
    """How `new` differs from `old`."""
    is_judged = new.request.champion == old.name
    return Differences(
        old=old.name,
        new=new.name,
        data=tuple(_changes(_data(old), _data(new))),
        settings=tuple(_settings(old, new)),
        code=tuple(_code(old, new)),
        candidate=tuple(_changes(_candidate(old), _candidate(new))),
        features=tuple(_changes(_features(old), _features(new))),
        metrics=tuple(_metrics(_measured(old), _measured(new))),
        same_rows=tuple(_metrics(_champion(new), _measured(new))) if is_judged and _champion(new) else (),
        gates=tuple(gate.message for gate in new.result.gates) if is_judged and not new.version.rank else (),
        unknown=tuple(_unknown(old, new)),
        absent=IN_DOCUMENTS if old.folder is None or new.folder is None else (),
    )


def came_from(made: MadeVersion, events: list[Event]) -> list[Event]:
    """The story of the version: what its training came from, and what it led to."""
    from capstan.engine.story import lineage

    return lineage(events, "run", made.request.run)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name), new.get(name)
        if before != after:
            yield Change(name, before, after)


def _data(made: MadeVersion) -> dict[str, Any]:
    labels = made.evaluation.get("labels") or {}
    found = {
        "as of": f"{made.request.trigger.as_of:%Y-%m-%d %H:%M} UTC",
        "rows learnt": made.manifest.get("rows"),
        "rows read": made.check.get("rows"),
        "newest row": made.check.get("newest"),
        "rows of the test window": made.evaluation.get("rows"),
        **{f"label {name} in the test window": count for name, count in labels.items()},
        **{f"missing {name}": share for name, share in (made.check.get("missing") or {}).items()},
    }
    return {name: value for name, value in found.items() if value is not None}


def _settings(old: MadeVersion, new: MadeVersion) -> list[Change]:
    return compare(old.system, new.system) if old.system is not None and new.system is not None else []


def _code(old: MadeVersion, new: MadeVersion) -> Iterator[CodeDiffers]:
    for file in sorted({*old.sources, *new.sources}):
        before, after = (made.sources.get(file, "").splitlines() for made in (old, new))
        lines = tuple(difflib.unified_diff(before, after, lineterm="", n=2))[2:]
        if lines:
            yield CodeDiffers(file, lines)


def _candidate(made: MadeVersion) -> dict[str, Any]:
    return {"candidate": made.candidate, **made.tuned}


def _features(made: MadeVersion) -> dict[str, Any]:
    """Of each column what a request must look like, and what training saw of it."""
    found: dict[str, Any] = {}
    for column in made.manifest.get("columns") or ():
        allowed = column.get("allowed")
        saw = [column.get("trained_min"), column.get("trained_max")]
        found[column["name"]] = {
            "type": column.get("type"),
            "as": column.get("kind"),
            **({} if None in saw else {"range": saw}),
            **({} if allowed is None else {"allowed": sorted(map(str, allowed))}),
        }
    return found


def _measured(made: MadeVersion) -> dict[str, Value]:
    """On its own test window."""
    if made.folder is None:
        return dict(_values(made.version.metrics, None))
    return dict(_values(made.evaluation.get("metrics"), made.evaluation.get("standard_errors")))


def _champion(made: MadeVersion) -> dict[str, Value]:
    """The champion of then, on the same rows."""
    return dict(_values(made.evaluation.get("champion_metrics"), None))


def _values(metrics: object, errors: object) -> Iterator[tuple[str, Value]]:
    spread = errors if isinstance(errors, Mapping) else {}
    for name, value in metrics.items() if isinstance(metrics, Mapping) else ():
        if not isinstance(value, int | float) or not math.isfinite(value):
            continue
        error = spread.get(name)
        around = None if error is None else SURE * error
        low, high = (None, None) if around is None else (value - around, value + around)
        yield name, Value(float(value), low, high)


def _metrics(old: Mapping[str, Value], new: Mapping[str, Value]) -> Iterator[MetricDiffers]:
    for name in dict.fromkeys((*old, *new)):
        yield MetricDiffers(name, old.get(name), new.get(name))


def _unknown(old: MadeVersion, new: MadeVersion) -> Iterator[str]:
    if old.folder is None or new.folder is None:
        yield (
            "settings, code, features, rows and intervals: a cluster keeps them in its artifact store, which this "
            "command does not read"
        )
        return
    for made in (old, new):
        if made.system is None:
            yield f"the file that {made.name} was trained by can't be read any more"
        if not made.evaluation or not made.manifest:
            yield f"what the run {made.request.run} of {made.name} measured is gone"
