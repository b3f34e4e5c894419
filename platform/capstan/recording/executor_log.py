"""What Seldon's executor logs, paired into the payloads that a service of ours would have sent.

The executor posts each half of a prediction as a CloudEvent in binary mode, in any order, and never again: the request
before it asks the model, the response only if that is 200. A half that stays alone is a lost payload: the other one was
lost on its way, or the model failed, which is not to be told apart here. In a graph with a router the node that answers
is named like the version, and the router has told it its arm and the shares in parameters of the request. Halves wait
in memory, for a bounded time and in bounded number; each life of this process is a producer of its own to the ledger,
one boot for every version.
"""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from capstan.domain.drawn_shares import ARM, SHARES, read_shares
from capstan.domain.payload_limits import parse_moment
from capstan.domain.versions import COPY, VersionName
from capstan.errors import InvalidRequestError
from capstan.recording.blocks import blocks_of, count_of
from capstan.recording.collector.boots import Heading
from capstan.recording.collector.ledger import EXECUTOR_BOOT
from capstan.recording.tensors import Row, answered, request_rows
from capstan.spec.combination import Combination
from capstan.tasks import TASKS, task_together
from capstan.tasks.tensors import Tensor

REQUEST = "io.seldon.serving.inference.request"
RESPONSE = "io.seldon.serving.inference.response"
LIVE, SHADOW = "live", "shadow"
"""Arms as the logger's address names them; a shadow predictor stays one, or its pods are made anew."""
LONGEST_WAIT = timedelta(seconds=60)
MOST_WAITING = 10_000
MOST_WAITING_BYTES = 64 * 2**20
RECENT_PAIRS = 50_000
_VERSION = re.compile(rf"v[0-9]{{1,9}}(?:{COPY})?")
_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")


class Origin(NamedTuple):
    """Which model of which system spoke."""

    system: str
    version: str
    arm: str


class Batch(NamedTuple):
    """Payloads of one version, to be taken as a producer's batch."""

    heading: Heading
    blocks: list[dict[str, Any]]

    @property
    def payloads(self) -> int:
        return sum(map(count_of, self.blocks))


@dataclass(frozen=True)
class _Half:
    origin: Origin
    request_id: str
    received: datetime
    time: datetime
    size: int
    rows: list[Row] | None
    """None: the response."""
    tensors: list[Tensor]
    """Of a response; empty: the request."""
    shares: str | None = None
    """Of a request: those by which a router drew this version; None: no router was asked."""

    @property
    def key(self) -> tuple[str, str, str]:
        return self.origin.system, self.origin.version, self.request_id


@dataclass
class _Life:
    """The boot under which a version's payloads are numbered."""

    boot: str
    produced: int = 0
    sequence: int = 0
    lost: int = 0
    told: int = 0
    """Losses that the ledger has heard of."""


class ExecutorLog:
    """Pairs halves; not for several threads."""

    def __init__(self, systems: Path) -> None:
        """`systems` holds one folder per system; its `monitor/target.json` names the champion."""
        self._systems = systems
        self._lives: dict[tuple[str, str], _Life] = {}
        self._waiting: OrderedDict[tuple[str, str, str], _Half] = OrderedDict()
        self._bytes = 0
        self._recent: OrderedDict[tuple[str, str, str], None] = OrderedDict()
        self.unpaired = 0
        self.repeated = 0

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def add(self, headers: Mapping[str, str], body: bytes, arm: str, received: datetime) -> list[Batch]:
        """Take one half; the payloads that it completes, and what has waited too long.

        Raises InvalidRequestError for what is no half of a prediction of a system that is here.
        """
        half = _half(headers, body, self._origin(headers, arm), received)
        other = self._waiting.get(half.key)
        if half.key in self._recent or (other is not None and (other.rows is None) == (half.rows is None)):
            self.repeated += 1
            return self.expire(received)
        if other is None:
            self._waiting[half.key] = half
            self._bytes += half.size
            return self.expire(received)
        self._forget(other)
        self._recent[half.key] = None
        if len(self._recent) > RECENT_PAIRS:
            self._recent.popitem(last=False)
        batch = self._batch(half, other) if half.rows is not None else self._batch(other, half)
        return [batch, *self.expire(received)]

    def expire(self, now: datetime) -> list[Batch]:
        """Give up the halves that have waited too long or are too many; they are counted as lost."""
        while self._waiting:
            half = next(iter(self._waiting.values()))
            too_many = len(self._waiting) > MOST_WAITING or self._bytes > MOST_WAITING_BYTES
            if not too_many and now - half.received <= LONGEST_WAIT:
                break
            self._give_up(half)
        return list(self._untold())

    def close(self) -> list[Batch]:
        """Give up all that waits; nothing comes after."""
        for half in list(self._waiting.values()):
            self._give_up(half)
        return [Batch(batch.heading._replace(ended=True), []) for batch in self._untold(everybody=True)]

    def lose(self, batch: Batch) -> None:
        """The batch could not be stored: tell it as lost with the next one."""
        for life in self._lives.values():
            if life.boot == batch.heading.boot:
                life.lost += batch.payloads
                life.told = -1

    def _give_up(self, half: _Half) -> None:
        self._forget(half)
        self.unpaired += 1
        life = self._life(half.origin)
        life.produced += 1
        life.lost += 1

    def _forget(self, half: _Half) -> None:
        del self._waiting[half.key]
        self._bytes -= half.size

    def _untold(self, *, everybody: bool = False) -> Iterable[Batch]:
        for origin, life in self._lives.items():
            if everybody or life.told != life.lost:
                life.told = life.lost
                yield Batch(self._heading(*origin, life), [])

    def _life(self, origin: Origin) -> _Life:
        key = (origin.system, origin.version)
        if key not in self._lives:
            self._lives[key] = _Life(f"{EXECUTOR_BOOT}{origin.version}.{secrets.token_hex(8)}")
        return self._lives[key]

    def _heading(self, system: str, version: str, life: _Life) -> Heading:
        return Heading(life.boot, version, life.produced, life.lost, system=system)

    def _batch(self, request: _Half, response: _Half) -> Batch:
        origin, rows = request.origin, request.rows or []
        life = self._life(origin)
        life.produced += len(rows)
        spec = _document(self._systems / origin.system / "spec.json").get("spec") or {}
        outputs = _outputs(spec, response.tensors)
        if len(rows) != len(outputs):
            life.lost += len(rows)
            raise InvalidRequestError("outputs", len(outputs), f"must hold {len(rows)} rows")
        id_column, role = _id_column(spec), self._role(origin)
        payloads = []
        for index, (row, answer) in enumerate(zip(rows, outputs, strict=True)):
            entity = row.get(id_column) if id_column else None
            payloads.append(
                {
                    "request_id": request.request_id,
                    "role": role,
                    "attempt": 1,
                    "row": index,
                    "event_time": request.time.isoformat(),
                    # Without a router nobody tells what it was assigned by, and nobody tells for whom.
                    "arm": origin.version if request.shares is not None else None,
                    "unit": None,
                    "shares": request.shares,
                    "entity_id": None if entity is None else str(entity) or None,
                    "status": 200,
                    "latency_seconds": None,
                    "nonfinite": answer is None,
                    "outputs": answer,
                    "inputs": row,
                }
            )
        first = life.sequence + 1
        life.sequence += len(payloads)
        life.told = life.lost
        blocks = blocks_of(origin.system, origin.version, life.boot, first, payloads)
        return Batch(self._heading(origin.system, origin.version, life), blocks)

    def _origin(self, headers: Mapping[str, str], arm: str) -> Origin:
        """The SeldonDeployment is named `SYSTEM` or `SYSTEM-VERSION`; the predictor, or the node of a graph with a
        router, is named like the version.
        """
        if arm not in (LIVE, SHADOW):
            raise InvalidRequestError("path", arm[:40], f"must end in {LIVE} or {SHADOW}")
        deployment = headers.get("ce-inferenceservicename", "")
        predictor = headers.get("ce-endpoint", "")
        known = sorted(
            (path.name for path in self._systems.glob("*") if path.is_dir()), key=len, reverse=True
        )
        system = next(
            (name for name in known if deployment == name or deployment.startswith(f"{name}-")), None
        )
        if system is None:
            raise InvalidRequestError(
                "ce-inferenceservicename",
                deployment[:80],
                "must begin with the name of a system that is here",
            )
        for version in (predictor, headers.get("ce-modelid", ""), deployment.removeprefix(f"{system}-")):
            if _VERSION.fullmatch(version):
                return Origin(system, version, arm)
        raise InvalidRequestError("ce-endpoint", predictor[:80], "must be a version, such as v3")

    def _role(self, origin: Origin) -> str:
        if origin.arm == SHADOW:
            return "shadow"
        target = _document(self._systems / origin.system / "monitor" / "target.json")
        return "champion" if target.get("version") in (None, origin.version) else "challenger"


def _outputs(spec: Mapping[str, Any], tensors: list[Tensor]) -> list[dict[str, Any] | None]:
    """Payload columns of each row; None where the response holds no answer of the file's task."""
    rows = tensors[0].shape[0]
    name = str((spec.get("objective") or {}).get("task"))
    if name not in TASKS:
        return [None] * rows
    task = task_together(name, Combination.of_file(spec))
    return list(task.of_tensors(tensors) or [None] * rows)


def _id_column(spec: Mapping[str, Any]) -> str | None:
    column = (spec.get("data") or {}).get("keys", {}).get("id")
    return column if isinstance(column, str) else None


def _half(headers: Mapping[str, str], body: bytes, origin: Origin, received: datetime) -> _Half:
    kind = headers.get("ce-type", "")
    if kind not in (REQUEST, RESPONSE):
        raise InvalidRequestError("ce-type", kind[:80], f"must be {REQUEST} or {RESPONSE}")
    request_id = headers.get("ce-requestid", "")
    if not _REQUEST_ID.fullmatch(request_id):
        raise InvalidRequestError("ce-requestid", request_id[:80], "must be 1 to 128 printable characters")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequestError("body", body, f"is not JSON: {error}") from None
    moment = parse_moment(headers.get("ce-time")) or received
    rows = request_rows(document) if kind == REQUEST else None
    answers = answered(document) if kind == RESPONSE else []
    # Only a node that a router chose is named like its version; what a client writes elsewhere is not believed.
    is_drawn = kind == REQUEST and headers.get("ce-modelid") == origin.version
    shares = _shares(document, origin) if is_drawn else None
    return _Half(origin, request_id, received, moment, len(body), rows, answers, shares)


def _shares(document: Any, origin: Origin) -> str | None:
    """Those that the router says beside the arm, where this version is that arm."""
    parameters = document.get("parameters") if isinstance(document, dict) else None
    if not isinstance(parameters, dict) or parameters.get(ARM) != origin.version:
        return None
    text = parameters.get(SHARES)
    shares = read_shares(text)
    return str(text) if shares is not None and shares.get(VersionName(origin.version)) else None


def _document(path: Path) -> dict[str, Any]:
    try:
        document = orjson.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
