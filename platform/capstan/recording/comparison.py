"""Predictions of champion and challenger compared request by request, read from stored payloads without labels.

Rows come in batches and only sums are kept; distributions are read from the pairs whose hash is smallest, so that no
order of files or rows changes the sample. Inputs that the file does not allow to be shown are never read, but for the
columns of slices, of which only the values' counts are told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from capstan.domain.comparison import (
    MOST_DIFFERENT,
    MOST_SLICES,
    SAMPLED,
    Decile,
    OutputCompared,
    PairShown,
    PredictionComparison,
    SliceCompared,
)
from capstan.domain.versions import VersionName
from capstan.errors import shown
from capstan.evaluation.slices import texts_of
from capstan.recording.lost import lost_payloads
from capstan.recording.moments import from_microseconds
from capstan.recording.outputs import INPUT_PREFIX, predictions_of
from capstan.recording.pairing import (
    ANSWERED_BY_BOTH,
    IS_FIRST,
    PAIRED_REQUESTS,
    PAIRED_ROWS,
    groups_of,
    in_whole_groups,
)
from capstan.recording.reading import PayloadReader
from capstan.spec import MLSystem
from capstan.tasks import Predictions, Task, task_of
from capstan.tasks.metric import Floats

_MOST_VALUES = 1000
"""Values of one slice column that are counted apart."""
_OTHER = "(other values)"
_MOST_OUTPUTS = 20
_COUNTS = """
select count(distinct request_id) filter (
    version = $champion and role not in ('shadow', 'batch') and status = 200 and not nonfinite) as answered,
  count(distinct request_id) filter (version = $challenger and role = 'shadow') as copied,
  count(distinct request_id) filter (
    version = $challenger and role = 'shadow' and status = 200 and not nonfinite) as sound
from stored_payloads
where version in ($champion, $challenger) and epoch_us(event_time) >= $start and epoch_us(event_time) < $end
"""


@dataclass
class _Sums:
    """Of the pairs of one slice, or of all."""

    pairs: int = 0
    exact: int = 0
    disagreeing: int = 0
    distance: float = 0.0
    shift: float = 0.0

    def add(self, rows: npt.NDArray[np.bool_] | slice, batch: _Batch) -> None:
        exact = batch.exact[rows]
        self.pairs += len(exact)
        self.exact += int(exact.sum())
        self.disagreeing += int(batch.disagreeing[rows].sum())
        self.distance += float(batch.distance[rows].sum())
        self.shift += float(batch.shift[rows].sum())


@dataclass
class _Batch:
    """Aligned rows of both versions, and how they differ."""

    request_id: pa.Array
    row: npt.NDArray[np.int64]
    is_first: npt.NDArray[np.bool_]
    """Of its request."""
    place: npt.NDArray[np.uint64]
    """Of the pair in the order in which pairs are sampled."""
    time: npt.NDArray[np.int64]
    champion: Predictions
    challenger: Predictions
    inputs: dict[str, pa.Array]
    exact: npt.NDArray[np.bool_]
    disagreeing: npt.NDArray[np.bool_]
    distance: Floats
    shift: Floats
    levels: dict[str, tuple[Floats, Floats]]


@dataclass
class _Sample:
    """The pairs with the smallest places."""

    place: npt.NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, dtype=np.uint64))
    levels: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)
    absolute: dict[str, float] = field(default_factory=dict)
    signed: dict[str, float] = field(default_factory=dict)
    pairs: int = 0

    def add(self, batch: _Batch) -> None:
        for name, (first, second) in batch.levels.items():
            self.absolute[name] = self.absolute.get(name, 0.0) + float(np.abs(second - first).sum())
            self.signed[name] = self.signed.get(name, 0.0) + float((second - first).sum())
        self.pairs += len(batch.row)
        place = np.concatenate([self.place, batch.place])
        kept = np.argsort(place, kind="stable")[:SAMPLED]
        before, empty = len(self.place), np.empty(0)
        levels = {}
        for name in {**self.levels, **batch.levels}:
            old = self.levels.get(name, (np.full(before, np.nan),) * 2)
            new = batch.levels.get(name, (np.full(len(batch.row), np.nan),) * 2)
            sides = [np.concatenate([a, b])[kept] for a, b in zip(old, new, strict=True)]
            levels[name] = (sides[0], sides[1]) if sides else (empty, empty)
        self.place, self.levels = place[kept], levels

    def outputs(self) -> tuple[OutputCompared, ...]:
        found = []
        for name, (first, second) in self.levels.items():
            known = np.isfinite(first) & np.isfinite(second)
            first, second = first[known], second[known]
            if not len(first):
                continue
            found.append(
                OutputCompared(
                    name=name,
                    mean_distance=self.absolute[name] / self.pairs,
                    shift=self.signed[name] / self.pairs,
                    ks=_kolmogorov_smirnov(first, second),
                    wasserstein=_wasserstein(first, second),
                    sampled=len(first),
                    deciles=_deciles(first, second),
                )
            )
        return tuple(found)


class Comparing:
    """Comparisons of one system's versions."""

    def __init__(
        self,
        reader: PayloadReader,
        task: Task,
        *,
        slices: Sequence[str],
        shows: Sequence[str],
    ) -> None:
        """`slices` and `shows` are inputs of a request; of the others of a file's slices nothing is stored."""
        self._reader = reader
        self._task = task
        self._slices = tuple(slices)
        self._shows = tuple(shows)
        self._not_recorded: tuple[str, ...] = ()

    @classmethod
    def of(cls, system: MLSystem, reader: PayloadReader) -> Comparing:
        """With the system's task, its slices and the inputs that it allows to be shown."""
        spec = system.spec
        recorded = {feature.column for feature in spec.features}
        made = cls(
            reader,
            task_of(spec),
            slices=[column for column in spec.evaluation.slices if column in recorded],
            shows=spec.rollout.shown_inputs,
        )
        made._not_recorded = tuple(column for column in spec.evaluation.slices if column not in recorded)
        return made

    def compared(
        self, champion: VersionName, challenger: VersionName, *, since: datetime, as_of: datetime
    ) -> PredictionComparison:
        """Pairs whose event time is in [since, as_of); raises UnavailableError."""
        if as_of <= since:
            return PredictionComparison(slices_not_recorded=self._not_recorded)
        whole, sample, most = _Sums(), _Sample(), _Most()
        slices: dict[str, dict[str, _Sums]] = {column: {} for column in self._slices}
        requests = units = differing_units = 0
        for batch in self._batches(champion, challenger, since, as_of):
            whole.add(slice(None), batch)
            sample.add(batch)
            most.add(batch, self._shows)
            requests += int(batch.is_first.sum())
            count, differing = self._units(batch)
            units, differing_units = units + count, differing_units + differing
            for column, sums in slices.items():
                _add_slices(sums, batch, batch.inputs[column])
        counts = self._reader.fetch(
            _COUNTS, start=since, end=as_of, champion=champion, challenger=challenger
        ).to_pylist()[0]
        pairs = whole.pairs
        return PredictionComparison(
            requests=requests,
            pairs=pairs,
            exact=whole.exact / pairs if pairs else None,
            disagreement=differing_units / units if units else None,
            distance=whole.distance / pairs if pairs else None,
            outputs=sample.outputs(),
            slices=tuple(one for column, sums in slices.items() for one in _told(column, sums)),
            slices_not_recorded=self._not_recorded,
            most_different=most.pairs(),
            unpaired=max(counts["answered"] - requests, 0),
            unsound=counts["copied"] - counts["sound"],
            lost_payloads=lost_payloads(self._reader.folder, (champion, challenger), since, as_of),
        )

    @property
    def _in_groups(self) -> bool:
        return self._task.metrics[self._task.facts.compared_by].facts.unit == "group"

    def _units(self, batch: _Batch) -> tuple[int, int]:
        """Pairs that are decided, and those decided differently; of a task of groups these are groups."""
        if not self._in_groups:
            return len(batch.row), int(batch.disagreeing.sum())
        groups = groups_of(batch.request_id)
        differing = np.bincount(groups, weights=batch.disagreeing) > 0
        return len(differing), int(differing.sum())

    def _batches(
        self, champion: VersionName, challenger: VersionName, since: datetime, as_of: datetime
    ) -> Iterator[_Batch]:
        inputs = tuple(dict.fromkeys([*self._slices, *self._shows]))
        packed = ", ".join(
            f"""'i{index}': "{INPUT_PREFIX}{column.replace('"', '""')}\""""
            for index, column in enumerate(inputs)
        )
        answered = ANSWERED_BY_BOTH.replace("INPUTS", f", 'inputs': {{{packed}}}" if inputs else "")
        named = "".join(f", champion.answer.inputs.i{index} as i{index}" for index in range(len(inputs)))
        query = f"""
with {answered}
select request_id, row, {IS_FIRST}, champion.answer.time as time, champion.answer.outputs as champion,
  challenger.answer.outputs as challenger, hash(request_id, row) as place{named}
{PAIRED_REQUESTS if self._in_groups else PAIRED_ROWS}
{"order by request_id, row" if self._in_groups else ""}
"""
        batches = self._reader.batches(
            query, start=since, end=as_of, inputs=inputs, champion=champion, challenger=challenger
        )
        for table in in_whole_groups(batches, in_groups=self._in_groups):
            yield self._batch(table, inputs)

    def _batch(self, table: pa.Table, inputs: Sequence[str]) -> _Batch:
        plain = {name: table[name].combine_chunks() for name in table.column_names}
        champion, challenger = (
            predictions_of(plain[name], self._task) for name in ("champion", "challenger")
        )
        groups = groups_of(plain["request_id"]) if self._in_groups else None
        levels = _levels(self._task, champion, challenger)
        first, second = next(iter(levels.values()), (np.zeros(len(champion)), np.zeros(len(champion))))
        return _Batch(
            request_id=plain["request_id"],
            row=plain["row"].to_numpy(zero_copy_only=False).astype(np.int64),
            is_first=plain["is_first"].to_numpy(zero_copy_only=False),
            place=plain["place"].to_numpy(zero_copy_only=False),
            time=plain["time"].to_numpy(zero_copy_only=False),
            champion=champion,
            challenger=challenger,
            inputs={column: plain[f"i{index}"] for index, column in enumerate(inputs)},
            exact=_exact(champion, challenger),
            disagreeing=self._task.disagree(champion, challenger, groups),
            distance=_distance(self._task, champion, challenger),
            shift=second - first,
            levels=levels,
        )


@dataclass
class _Most:
    """The pairs that differ most, the largest distance first; of equal ones the first request id."""

    kept: list[tuple[float, str, int, PairShown]] = field(default_factory=list)

    def add(self, batch: _Batch, shows: Sequence[str]) -> None:
        least = self.kept[-1][0] if len(self.kept) == MOST_DIFFERENT else 0.0
        found = np.flatnonzero((batch.distance > 0) & (batch.distance >= least))
        if len(found) > MOST_DIFFERENT:
            # All that equal the last of the largest, so that their ids can decide.
            bound = np.partition(batch.distance[found], len(found) - MOST_DIFFERENT)[-MOST_DIFFERENT]
            found = found[batch.distance[found] >= bound]
            ids = np.array(batch.request_id.take(pa.array(found)).to_pylist(), dtype=np.str_)
            order = np.lexsort((batch.row[found], ids, -batch.distance[found]))
            found = found[order[:MOST_DIFFERENT]]
        for index in found.tolist():
            pair = PairShown(
                request_id=batch.request_id[index].as_py(),
                row=int(batch.row[index]),
                at=from_microseconds(int(batch.time[index])),
                distance=float(batch.distance[index]),
                champion=_said(batch.champion, index),
                challenger=_said(batch.challenger, index),
                inputs={column: shown(batch.inputs[column][index].as_py()) for column in shows},
            )
            self.kept.append((pair.distance, pair.request_id, pair.row, pair))
        self.kept.sort(key=lambda one: (-one[0], one[1], one[2]))
        del self.kept[MOST_DIFFERENT:]

    def pairs(self) -> tuple[PairShown, ...]:
        return tuple(pair for *_, pair in self.kept)


def _said(predictions: Predictions, index: int) -> dict[str, float | str | None]:
    found: dict[str, float | str | None] = {}
    for name, column in list(predictions.columns.items())[:_MOST_OUTPUTS]:
        value = column[index]
        found[name] = (
            float(value) if column.dtype.kind == "f" else None if value is None else str(shown(value))
        )
    return found


def _levels(task: Task, first: Predictions, second: Predictions) -> dict[str, tuple[Floats, Floats]]:
    """The numbers whose distributions are compared, the answer's own first.

    Of probabilities of classes it is that of the class which the champion says.
    """
    found: dict[str, tuple[Floats, Floats]] = {}
    for facts in task.facts.outputs:
        if facts.kind != "Number" or (found and not facts.is_watched) or len(found) == _MOST_OUTPUTS:
            continue
        if not facts.per_class:
            found[facts.name] = (first[facts.name], second[facts.name])
            continue
        both = _of_classes(facts.name, first, second)
        if both is not None:
            said = both[0].argmax(axis=1)
            rows = np.arange(len(said))
            found[facts.name] = (both[0][rows, said], both[1][rows, said])
    return found


def _distance(task: Task, first: Predictions, second: Predictions) -> Floats:
    """How far two answers are apart: |a - b| of a number, half of the sum of that of probabilities of classes."""
    for facts in task.facts.outputs:
        if facts.kind != "Number":
            continue
        if not facts.per_class:
            apart: Floats = np.abs(first[facts.name] - second[facts.name])
            return np.nan_to_num(apart)
        both = _of_classes(facts.name, first, second)
        if both is not None:
            total: Floats = np.abs(both[0] - both[1]).sum(axis=1) / 2
            return np.nan_to_num(total)
    return np.zeros(len(first))


def _of_classes(name: str, first: Predictions, second: Predictions) -> tuple[Floats, Floats] | None:
    """(n, classes) of both, 0 for a class that a version does not know; None where there is none."""
    prefix = f"{name}."
    columns = sorted(
        {column for one in (first, second) for column in one.columns if column.startswith(prefix)}
    )
    if not columns:
        return None
    none = np.zeros(len(first))
    sides = [
        np.column_stack([one.columns.get(column, none) for column in columns]) for one in (first, second)
    ]
    return sides[0], sides[1]


def _exact(first: Predictions, second: Predictions) -> npt.NDArray[np.bool_]:
    first, second = first.settled(), second.settled()
    equal = np.ones(len(first), dtype=np.bool_)
    for name in {**first.columns, **second.columns}:
        one, other = first.columns.get(name), second.columns.get(name)
        if one is None or other is None:
            equal[:] = False
        elif one.dtype.kind == "f" and other.dtype.kind == "f":
            equal &= (one == other) | (np.isnan(one) & np.isnan(other))
        else:
            equal &= one == other
    return equal


def _add_slices(sums: dict[str, _Sums], batch: _Batch, values: pa.Array) -> None:
    names, place = np.unique(texts_of(values.to_pylist()), return_inverse=True)
    for index, name in enumerate(names.tolist()):
        value = str(shown(name))
        if value not in sums and len(sums) >= _MOST_VALUES:
            value = _OTHER
        sums.setdefault(value, _Sums()).add(place.reshape(-1) == index, batch)


def _told(column: str, sums: dict[str, _Sums]) -> list[SliceCompared]:
    largest = sorted(sums.items(), key=lambda one: (-one[1].pairs, one[0]))[:MOST_SLICES]
    return [
        SliceCompared(
            column=column,
            value=value,
            pairs=each.pairs,
            exact=each.exact / each.pairs,
            disagreement=each.disagreeing / each.pairs,
            mean_distance=each.distance / each.pairs,
            shift=each.shift / each.pairs,
        )
        for value, each in largest
    ]


def _kolmogorov_smirnov(first: Floats, second: Floats) -> float:
    """The statistic alone: scipy's function also computes a p-value, which says nothing about traffic."""
    at = np.concatenate([first, second])
    shares = [np.searchsorted(np.sort(one), at, side="right") / len(one) for one in (first, second)]
    return float(np.abs(shares[0] - shares[1]).max())


def _wasserstein(first: Floats, second: Floats) -> float:
    """Of two samples of one size: the mean distance of their ranks. scipy.stats is half of a loop's start-up."""
    return float(np.abs(np.sort(first) - np.sort(second)).mean())


def _deciles(first: Floats, second: Floats) -> tuple[Decile, ...]:
    edges = np.unique(np.quantile(first, np.linspace(0, 1, 11)[1:-1]))
    place = np.searchsorted(edges, first, side="right")
    found = []
    for index in np.unique(place):
        rows = place == index
        found.append(Decile(int(rows.sum()), float(first[rows].mean()), float(second[rows].mean())))
    return tuple(found)
