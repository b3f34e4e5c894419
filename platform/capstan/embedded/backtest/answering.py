"""Answers the requests of a stretch of event time by the model objects, and stores what a collector would store.

Where a live system has a gateway, a process for each version and a collector, all requests between two boundaries are
one batch here. Each version reads, checks, predicts and judges them by the code of its service; rows that it reads as
they were recorded are predicted as columns, with the same bits.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from capstan.domain.traffic import TrafficSplit
from capstan.domain.verdicts.evidence import OperationEvidence, VersionOperation
from capstan.domain.versions import VersionName
from capstan.embedded.backtest.drawing import arm_of, is_drawn
from capstan.embedded.backtest.history import History
from capstan.embedded.backtest.loaded_model import LoadedModel
from capstan.embedded.backtest.recorded_columns import Numbers, RecordedColumns
from capstan.embedded.replay.client import Answered
from capstan.embedded.replay.replaying import Requests
from capstan.errors import InvalidRequestError
from capstan.ports.clock import Clock
from capstan.recording.blocks import accepted, blocks_of
from capstan.recording.held_rows import HeldRows
from capstan.recording.outputs import OUTPUT_PREFIX
from capstan.recording.payloads import FIXED_COLUMNS, columns_of, output_columns, parts_of, unsound_rows
from capstan.serving.schema import Row
from capstan.tasks import Task
from capstan.tasks.task import Outputs

CHAMPION, CHALLENGER, SHADOW = "champion", "challenger", "shadow"
AT_ONCE = 0.001
"""Seconds of latency of each answer: all are equal, so no guardrail on latency ever holds a version back."""
_OK, _REFUSED, _FAILED = 200, 422, 500
_BOOT = "backtest"


@dataclass(frozen=True)
class Asked:
    """A request of a batch, as one version gets it."""

    number: int
    """Of all requests of the backtest."""
    recorded: int
    """Of all that were recorded."""
    arm: VersionName


@dataclass
class _Counted:
    """What a version answered in one role since a moment of wall time."""

    wall: datetime
    requests: int = 0
    errors: int = 0
    refused: int = 0


@dataclass
class BatchAnswers:
    """Sending of a replay; `split` is what the gateway obeys, `folder` of a version its verified model."""

    system: str
    history: History
    held: HeldRows
    task: Task
    clock: Clock
    split: Callable[[], TrafficSplit | None]
    folder: Callable[[VersionName], Path]
    _models: dict[VersionName, LoadedModel] = field(default_factory=dict)
    _counted: dict[tuple[VersionName, str], list[_Counted]] = field(default_factory=lambda: defaultdict(list))
    _arms: list[tuple[datetime, Counter[VersionName]]] = field(default_factory=list)
    _requests: int = 0
    _rows: int = 0

    def send(self, predictions: Requests, *, stop: Callable[[], bool] = lambda: False) -> Answered:
        """Answer them all under the split of this moment."""
        split, answered = self.split(), Answered()
        if split is None or stop():
            return answered
        first, self._requests = self._requests, self._requests + len(predictions.numbers)
        own: dict[tuple[VersionName, str], list[Asked]] = defaultdict(list)
        arms: Counter[VersionName] = Counter()
        for number, recorded in enumerate(predictions.numbers, first):
            key = self.history.traffic.keys[recorded] or f"request {number}"
            arm = arm_of(split, key)
            arms[arm.version] += 1
            is_champions = arm.version == split.champion or arm.is_vacant
            by = split.champion if is_champions else arm.version
            asked = Asked(number, recorded, arm.version)
            own[by, CHAMPION if is_champions else CHALLENGER].append(asked)
            for mirror in split.mirrors:
                if is_drawn(mirror.percent, str(number)):
                    own[mirror.version, SHADOW].append(asked)
        for (version, role), requests in own.items():
            failures = self._answer(version, role, requests)
            if role != SHADOW:
                answered.sent += len(requests)
                answered.failed += len(failures)
                answered.failures = (answered.failures + failures)[:20]
        self._arms.append((self.clock.wall(), arms))
        return answered

    def model(self, version: VersionName) -> LoadedModel:
        """The version's model, loaded once."""
        if version not in self._models:
            self._models[version] = self.history.model(self.folder(version))
        return self._models[version]

    def operation(
        self, champion: VersionName, challenger: VersionName, since: datetime, now: datetime, shadow: bool
    ) -> OperationEvidence:
        """Counters of both versions since a moment of wall time, as Prometheus would tell them."""
        arms: Counter[VersionName] = Counter()
        for wall, counted in self._arms:
            if since <= wall <= now:
                arms.update(counted)
        return OperationEvidence(
            self._operated(champion, CHAMPION, since, now),
            self._operated(challenger, SHADOW if shadow else CHALLENGER, since, now),
            {name: arms[name] for name in (champion, challenger, *arms)},
        )

    def _operated(self, version: VersionName, role: str, since: datetime, now: datetime) -> VersionOperation:
        counted = [one for one in self._counted[version, role] if since <= one.wall <= now]
        requests = sum(one.requests for one in counted)
        return VersionOperation(
            version,
            requests=requests,
            errors=sum(one.errors for one in counted),
            latency_buckets={AT_ONCE: requests, float("inf"): requests},
            refused=sum(one.refused for one in counted),
        )

    def _answer(self, version: VersionName, role: str, requests: Sequence[Asked]) -> list[str]:
        """Answer and store; returns what went wrong with each request that was answered badly."""
        model, counted = self.model(version), _Counted(self.clock.wall(), len(requests))
        self._counted[version, role].append(counted)
        return self._by_themselves(
            model, counted, version, role, self._together(model, version, role, requests)
        )

    def _together(
        self, model: LoadedModel, version: VersionName, role: str, requests: Sequence[Asked]
    ) -> Sequence[Asked]:
        """Answer well those that can be asked as columns; returns the others."""
        columns = self.history.columns
        if columns is None:
            return requests
        together, others, bodies = list[Asked](), list[Asked](), self.history.traffic.bodies
        for asked in requests:
            is_as_recorded = model.reads_as_recorded(asked.recorded, bodies[asked.recorded])
            (together if is_as_recorded else others).append(asked)
        numbers = np.array([asked.recorded for asked in together], dtype=np.int64)
        scores = model.scores(numbers) if together else None
        outputs = None if scores is None else model.outputs(scores)
        if outputs is None or None in outputs:
            return requests
        said = output_columns(parts_of(one or {} for one in outputs), self.task)
        if unsound_rows(said, self.task, len(together)).any():
            return requests
        self.held.add_payloads(self._table(model, columns, version, role, together, numbers, said))
        self._rows += len(together)
        return others

    def _table(
        self,
        model: LoadedModel,
        columns: RecordedColumns,
        version: VersionName,
        role: str,
        requests: Sequence[Asked],
        numbers: Numbers,
        outputs: Mapping[str, pa.Array],
    ) -> pa.Table:
        rows = len(requests)
        place = pa.array(numbers)
        fixed = {
            "request_id": [f"{asked.number:012d}" for asked in requests],
            "row": np.zeros(rows, dtype=np.int32),
            "version": [version] * rows,
            "role": [role] * rows,
            "attempt": np.ones(rows, dtype=np.int32),
            "event_time": columns.event_times.take(place),
            "received_at": [self.clock.now()] * rows,
            "arm": [asked.arm for asked in requests],
            "unit": columns.units.take(place),
            "entity_id": columns.entities(model.id_column, numbers),
            "status": np.full(rows, _OK, dtype=np.int32),
            "latency_seconds": np.full(rows, AT_ONCE),
            "nonfinite": np.zeros(rows, dtype=np.bool_),
            "boot": [_BOOT] * rows,
            "sequence": np.arange(self._rows, self._rows + rows),
        }
        inputs = columns.inputs.take(place)
        names = [*fixed, *inputs.column_names, *(f"{OUTPUT_PREFIX}{name}" for name in outputs)]
        arrays = [pa.array(fixed[name], type=kind) for name, kind in FIXED_COLUMNS]
        return pa.Table.from_arrays([*arrays, *inputs.columns, *outputs.values()], names=names)

    def _by_themselves(
        self,
        model: LoadedModel,
        counted: _Counted,
        version: VersionName,
        role: str,
        requests: Sequence[Asked],
    ) -> list[str]:
        read: list[Sequence[Row]] = []
        taken: list[Asked] = []
        payloads: list[dict[str, object]] = []
        number = self._rows
        failures: list[str] = []
        for asked in requests:
            try:
                rows = model.rows_of(self.history.traffic.bodies[asked.recorded])
            except InvalidRequestError as error:
                counted.refused += 1
                failures.append(f"status {_REFUSED}: {error}")
                payloads.append(self._payload(role, asked, 0, {}, _REFUSED, None, None))
                continue
            read.append(rows)
            taken.append(asked)
        for asked, rows, outputs in zip(taken, read, model.answer(read), strict=True):
            status = _FAILED if None in outputs else _OK
            if status == _FAILED:
                counted.errors += 1
                failures.append(f"status {status}: not a finite prediction")
            for row, (values, answer) in enumerate(zip(rows, outputs, strict=True)):
                entity = values.get(model.id_column) if model.id_column is not None else None
                payloads.append(self._payload(role, asked, row, values, status, answer, entity))
        if payloads:
            received = self.clock.now()
            self._rows += len(payloads)
            blocks = blocks_of(self.system, version, _BOOT, number, payloads)
            stored = [(accepted(block), received) for block in blocks]
            self.held.add_payloads(columns_of(stored, self.history.kinds, self.task))
        return failures

    def _payload(
        self,
        role: str,
        asked: Asked,
        row: int,
        values: Row,
        status: int,
        outputs: Outputs | None,
        entity: object,
    ) -> dict[str, object]:
        traffic = self.history.traffic
        return {
            "request_id": f"{asked.number:012d}",
            "row": row,
            "role": role,
            "attempt": 1,
            "event_time": int(traffic.event_times[asked.recorded]) / 1e6,
            "arm": asked.arm,
            "unit": traffic.keys[asked.recorded] or None,
            "entity_id": None if entity is None else str(entity),
            "status": status,
            "latency_seconds": AT_ONCE,
            "nonfinite": status == _FAILED and outputs is None,
            "outputs": outputs,
            "inputs": values,
        }
