"""Answers the requests of a stretch of event time by the model objects, and stores what a collector would store.

Where a live system has a gateway, a process for each version and a collector, all requests between two boundaries are
one batch here. Each version reads, checks, predicts and judges them by the code of its service.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from capstan.domain.traffic import TrafficSplit
from capstan.domain.verdicts.evidence import OperationEvidence, VersionOperation
from capstan.domain.versions import VersionName
from capstan.embedded.backtest.drawing import arm_of, is_drawn
from capstan.embedded.replay.client import Answered, Prediction
from capstan.errors import CapstanError, InvalidDataError, InvalidRequestError
from capstan.ports.clock import Clock
from capstan.recording.payloads import Kind, Payload, columns_of
from capstan.recording.segments import payload_segment, write_segment
from capstan.serving.model import Model, load
from capstan.serving.plain_rows import PlainRows
from capstan.serving.schema import RequestSchema, Row
from capstan.tasks import Predictions, Task
from capstan.tasks.metric import Groups
from capstan.tasks.task import Outputs
from capstan.training.factories import importable

CHAMPION, CHALLENGER, SHADOW = "champion", "challenger", "shadow"
AT_ONCE = 0.001
"""Seconds of latency of each answer: all are equal, so no guardrail on latency ever holds a version back."""
_OK, _REFUSED, _FAILED = 200, 422, 500


@dataclass(frozen=True)
class Asked:
    """A request of a batch, as one version gets it."""

    number: int
    """Of all requests of the backtest."""
    prediction: Prediction
    arm: VersionName


@dataclass
class _Counted:
    """What a version answered in one role since a moment of wall time."""

    wall: datetime
    requests: int = 0
    errors: int = 0
    refused: int = 0


class LoadedModel:
    """A version's model with what its service checks rows by."""

    def __init__(self, folder: Path) -> None:
        """`folder` holds a verified model; raises InvalidDataError."""
        self._folder, self._factories = folder, folder / "factories"
        with self._importing():
            self.model: Model = load(folder)
        manifest = self.model.manifest
        self._plain = PlainRows(manifest, self.model.known_categories)
        self._schema = RequestSchema(manifest)
        self._is_of_groups = "group" in self.model.task.facts.keys
        self.id_column = manifest.keys.get("id")
        self._row_outputs = self.model.task.row_outputs(manifest.learnt)

    def rows_of(self, body: bytes) -> Sequence[Row]:
        """The rows of a request as the model reads them; raises InvalidRequestError."""
        parsed = orjson.loads(body)
        rows = self._plain.of(parsed)
        if rows is None:
            rows = self._schema.rows_of(parsed)
        if self._is_of_groups:
            self._schema.check_group(rows)
        return rows

    def answer(self, requests: Sequence[Sequence[Row]]) -> list[list[Outputs | None]]:
        """Payload columns of each row of each request; None for an answer that no user may get.

        Raises InvalidDataError for a model that raises.
        """
        with self._asking():
            if self._row_outputs is not None and all(len(rows) == 1 for rows in requests):
                return [[self._row_outputs(score)] for score in self._scores([rows[0] for rows in requests])]
            return [self._of_request(rows) for rows in requests]

    def predictions(self, rows: Sequence[Row], groups: Groups | None = None) -> Predictions:
        """What it says of rows that nobody asks live; `groups`: which of them come in one request."""
        with self._asking():
            scores = self.model.predict_batch(rows) if rows else np.empty(0)
            return self.model.task.predictions(scores, self.model.manifest.learnt, groups)

    def _scores(self, rows: Sequence[Row]) -> Iterable[Any]:
        """As of requests of a row each: by the path that the service takes, or as a batch where it has none."""
        if self.model.fallback:
            return self.model.predict_batch(rows)
        return [self.model.predict_row(row) for row in rows]

    def _of_request(self, rows: Sequence[Row]) -> list[Outputs | None]:
        task, learnt = self.model.task, self.model.manifest.learnt
        predictions = task.predictions(self.model.predict_rows(rows), learnt)
        outputs: list[Outputs | None] = list(task.outputs(predictions))
        for index in np.flatnonzero(task.unsound(predictions)).tolist():
            outputs[index] = None
        return outputs

    @contextmanager
    def _asking(self) -> Iterator[None]:
        with self._importing():
            try:
                yield
            except CapstanError:
                raise
            except Exception as error:
                raise InvalidDataError(
                    f"{self._folder}: the model raised {type(error).__name__}: {error}; a backtest cannot tell what a "
                    "gateway makes of that; mend the code of the model, or use `capstan replay`"
                ) from error

    def _importing(self) -> Any:
        return importable(self._factories) if self._factories.is_dir() else nullcontext()


@dataclass
class BatchAnswers:
    """Sending of a replay; `split` is what the gateway obeys, `folder` of a version its verified model."""

    system: str
    payloads: Path
    kinds: Mapping[str, Kind]
    task: Task
    clock: Clock
    split: Callable[[], TrafficSplit | None]
    folder: Callable[[VersionName], Path]
    _models: dict[VersionName, LoadedModel] = field(default_factory=dict)
    _counted: dict[tuple[VersionName, str], list[_Counted]] = field(default_factory=lambda: defaultdict(list))
    _arms: list[tuple[datetime, Counter[VersionName]]] = field(default_factory=list)
    _requests: int = 0
    _segments: int = 0
    _rows: int = 0

    def send(
        self, predictions: Iterable[Prediction], *, stop: Callable[[], bool] = lambda: False
    ) -> Answered:
        """Answer them all under the split of this moment."""
        split, answered = self.split(), Answered()
        if split is None or stop():
            return answered
        own: dict[tuple[VersionName, str], list[Asked]] = defaultdict(list)
        arms: Counter[VersionName] = Counter()
        for prediction in predictions:
            number, self._requests = self._requests, self._requests + 1
            key = prediction.key or f"request {number}"
            arm = arm_of(split, key)
            arms[arm.version] += 1
            is_champions = arm.version == split.champion or arm.is_vacant
            by = split.champion if is_champions else arm.version
            asked = Asked(number, prediction, arm.version)
            own[by, CHAMPION if is_champions else CHALLENGER].append(asked)
            for mirror in split.mirrors:
                if is_drawn(mirror.percent, str(number)):
                    own[mirror.version, SHADOW].append(asked)
        stored: list[Payload] = []
        for (version, role), requests in own.items():
            payloads, failures = self._answer(version, role, requests)
            stored += payloads
            if role != SHADOW:
                answered.sent += len(requests)
                answered.failed += len(failures)
                answered.failures = (answered.failures + failures)[:20]
        self._arms.append((self.clock.wall(), arms))
        self._store(stored)
        return answered

    def model(self, version: VersionName) -> LoadedModel:
        """The version's model, loaded once."""
        if version not in self._models:
            self._models[version] = LoadedModel(self.folder(version))
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

    def _answer(
        self, version: VersionName, role: str, requests: Sequence[Asked]
    ) -> tuple[list[Payload], list[str]]:
        model, counted = self.model(version), _Counted(self.clock.wall(), len(requests))
        self._counted[version, role].append(counted)
        read: list[Sequence[Row]] = []
        taken: list[Asked] = []
        payloads: list[Payload] = []
        failures: list[str] = []
        for asked in requests:
            try:
                rows = model.rows_of(asked.prediction.body)
            except InvalidRequestError as error:
                counted.refused += 1
                failures.append(f"status {_REFUSED}: {error}")
                payloads.append(self._payload(version, role, asked, 0, {}, _REFUSED, None, None))
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
                payloads.append(self._payload(version, role, asked, row, values, status, answer, entity))
        return payloads, failures

    def _payload(
        self,
        version: VersionName,
        role: str,
        asked: Asked,
        row: int,
        values: Row,
        status: int,
        outputs: Outputs | None,
        entity: object,
    ) -> Payload:
        number, self._rows = self._rows, self._rows + 1
        data = {
            "request_id": f"{asked.number:012d}",
            "row": row,
            "version": version,
            "role": role,
            "attempt": 1,
            "arm": asked.arm,
            "unit": asked.prediction.key or None,
            "entity_id": None if entity is None else str(entity),
            "status": status,
            "latency_seconds": AT_ONCE,
            "nonfinite": status == _FAILED and outputs is None,
            "outputs": outputs,
            "inputs": values,
        }
        moment = datetime.fromisoformat(asked.prediction.event_time).astimezone(UTC)
        return Payload(self.system, "backtest", number, moment, data)

    def _store(self, payloads: Sequence[Payload]) -> None:
        received = self.clock.now()
        by_day: dict[date, list[tuple[Payload, datetime]]] = defaultdict(list)
        for payload in payloads:
            by_day[payload.event_time.date()].append((payload, received))
        for day, rows in sorted(by_day.items()):
            self._segments += 1
            path = payload_segment(self.payloads, day, self._segments)
            write_segment(path, columns_of(rows, self.kinds, self.task))
