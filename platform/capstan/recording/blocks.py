"""What a producer sends: blocks of payloads as columns, judged column by column.

A block holds payloads of one version that are numbered one after the other:

    {"boot": "f3a9", "system": "flights", "version": "v3", "first": 17,
     "names": ["request_id", "status", "output.probability", "input.distance"],
     "rows": [["r1", 200, 0.5, 1400], ["r2", 200, 0.25, 337]], "same": {"role": "champion"}}

Instead of `rows`, `columns` holds the values of each name: so a request of many rows comes. A block of both has columns
of the first names and rows of the others: so requests of one row come, and a row of inputs may also be the object that
a client sent, `{"distance": 1400}`. `same` holds what all its payloads share.

One poisoned payload is refused by field and rule, its neighbours are kept. Values are scalars, so that none can smuggle
in nesting, and a number that is not finite never reaches a detector.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple, TypeGuard

import numpy as np
import numpy.typing as npt
import orjson

from capstan.domain import payload_limits as limits
from capstan.domain.drawn_shares import read_shares
from capstan.domain.payload_limits import parse_moment
from capstan.errors import InvalidRequestError, shown
from capstan.recording.moments import microseconds
from capstan.recording.outputs import INPUT_PREFIX, OUTPUT_PREFIX

MOST_PAYLOADS = 10_000
ROLES = ("champion", "challenger", "shadow", "batch")
SYSTEM_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
INTEGER_RANGE = 2**53
"""Beyond it not every whole number is a float."""
_LONGEST_PLAIN = 63
"""Characters of a name, as `PLAIN_NAME` and `SYSTEM_NAME` have it."""
_DAY, _EPOCH_DAY = 86_400_000_000, date(1970, 1, 1).toordinal()
_MOST_NUMBER = 10**15
_EARLIEST, _LATEST = limits.EARLIEST.timestamp(), limits.LATEST.timestamp()
_NONE, _TEXT, _WHOLE, _TRUTH = ({kind} for kind in (type(None), str, int, bool))
_NUMBERS = {float, int, type(None)}
_PLAIN_SCALARS = {float, int, bool, type(None)}

Values = Sequence[Any]
Moments = npt.NDArray[np.int64]
"""Microseconds since the epoch."""


@dataclass(frozen=True)
class Rows:
    """Payloads of one producer, as columns of equal length."""

    system: str
    version: str
    boot: str
    sequences: Sequence[int]
    """The number of each, rising."""
    moments: Moments
    """The event time of each."""
    same: Mapping[str, Any]
    """What all of them share."""
    fixed: Mapping[str, Values]
    inputs: Mapping[str, Values]
    """By column, without its prefix, as are `outputs`."""
    outputs: Mapping[str, Values]

    def __len__(self) -> int:
        return len(self.sequences)

    def of(self, name: str) -> Values:
        """The values of a fixed column; None of each where nothing is told."""
        values = self.fixed.get(name)
        return values if values is not None else [self.same.get(name)] * len(self)

    def each(self, name: str) -> Values:
        """The different values of a fixed column, at least; what all rows share is told once."""
        values = self.fixed.get(name)
        return values if values is not None else (self.same.get(name),)

    def by_day(self) -> list[tuple[date, Rows]]:
        """Its parts, each of one day of event time (UTC)."""
        if not len(self):
            return []
        days = self.moments // _DAY
        found = [int(days.min()), int(days.max())]
        if found[0] == found[1]:
            return [(_date(found[0]), self)]
        return [
            (_date(day), self.take(np.flatnonzero(days == day).tolist())) for day in np.unique(days).tolist()
        ]

    def take(self, positions: Sequence[int]) -> Rows:
        """Those at the positions."""
        if len(positions) == len(self):
            return self

        def chosen(columns: Mapping[str, Values]) -> dict[str, Values]:
            return {name: [values[at] for at in positions] for name, values in columns.items()}

        return Rows(
            self.system,
            self.version,
            self.boot,
            [self.sequences[at] for at in positions],
            self.moments[np.asarray(positions, dtype=np.int64)],
            self.same,
            chosen(self.fixed),
            chosen(self.inputs),
            chosen(self.outputs),
        )


class Refusal(NamedTuple):
    """One payload that is not taken, and why."""

    id: str
    field: str
    rule: str


class Judged(NamedTuple):
    """A block, and those of its payloads that break a rule."""

    rows: Rows | None
    """None: nothing of it can be read."""
    size: int
    """Of its payloads; 1 where they cannot be counted."""
    refused: Mapping[int, Refusal]
    """By position in the block."""


class Sent(NamedTuple):
    """The blocks of one body."""

    blocks: list[Any]
    strict: bool
    """Whether the body is JSON as the standard has it: all its numbers are finite, all its texts are UTF-8."""


class _RefusedError(Exception):
    def __init__(self, field: str, rule: str) -> None:
        self.field = field
        self.rule = rule


class _Layout(NamedTuple):
    """Where in a row each column is."""

    fixed: tuple[tuple[str, int], ...]
    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]


def parse_blocks(body: bytes) -> Sent:
    """The blocks of a body, unjudged; raises InvalidRequestError if it is no JSON list of bounded size."""
    strict = True
    try:
        blocks = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        # The standard library reads NaN and Infinity; so they are refused one by one, not with their block.
        strict = False
        try:
            blocks = json.loads(body)
        except (ValueError, RecursionError):
            raise InvalidRequestError("body", body, f"is not JSON: {error}") from None
    if not isinstance(blocks, list):
        raise InvalidRequestError("body", type(blocks).__name__, "must be a list of blocks of payloads")
    count = sum(map(count_of, blocks))
    if count > MOST_PAYLOADS:
        raise InvalidRequestError(
            "body", count, f"holds more than {MOST_PAYLOADS} payloads; send fewer at once"
        )
    return Sent(blocks, strict)


def count_of(block: Any) -> int:
    """How many payloads the block holds; 1 where they cannot be counted."""
    try:
        return _counted(block)
    except _RefusedError:
        return 1


def judge(block: Any, *, strict: bool) -> Judged:
    """The block as columns, and the field and rule that each bad payload in it breaks."""
    count = count_of(block)
    try:
        layout = _layout_of(block)
        _check_producer(block)
        columns = _values_of(block)
        bad: dict[int, tuple[str, str]] = {}
        for name, values in _ruled(block, layout, columns):
            for at, rule in _breaches(name, values, count, strict):
                bad.setdefault(at, (name, rule))
    except _RefusedError as broken:
        return Judged(
            None, count, {at: Refusal(_id(block, at), broken.field, broken.rule) for at in range(count)}
        )
    refused = {at: Refusal(_id(block, at), *why) for at, why in bad.items()}
    if len(refused) == count:
        return Judged(None, count, refused)
    return Judged(_rows_of(block, layout, columns, count, refused.keys()), count, refused)


def accepted(block: Any, bad: Collection[int] = ()) -> Rows:
    """The payloads of a block that was judged before; what is not judged again costs a third.

    `bad`: positions of some that may be bad. They are there all the same, with the event time of a good one.
    """
    return _rows_of(block, _layout_of(block), _values_of(block), count_of(block), bad)


def _rows_of(
    block: Any, layout: _Layout, columns: Sequence[Values], count: int, bad: Collection[int]
) -> Rows:
    same = block.get("same") or {}

    def chosen(places: Iterable[tuple[str, int]]) -> dict[str, Values]:
        return {name: columns[at] for name, at in places}

    fixed = chosen(layout.fixed)
    moments: Values = fixed.get("event_time") or [same.get("event_time")] * count
    if bad:
        good = next(at for at in range(count) if at not in bad)
        moments = [moments[good if at in bad else at] for at in range(count)]
    return Rows(
        block["system"],
        block["version"],
        block["boot"],
        range(block["first"], block["first"] + count),
        _microseconds(moments),
        same,
        fixed,
        chosen(layout.inputs),
        chosen(layout.outputs),
    )


def blocks_of(
    system: str, version: str, boot: str, first: int, payloads: Sequence[Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """Payloads, each with its fixed values and the mappings `inputs` and `outputs`, as blocks to be sent."""
    blocks: list[dict[str, Any]] = []
    for number, payload in enumerate(payloads, first):
        parts = {INPUT_PREFIX: payload.get("inputs"), OUTPUT_PREFIX: payload.get("outputs")}
        row = {name: value for name, value in payload.items() if name not in ("inputs", "outputs", "version")}
        for prefix, part in parts.items():
            row |= {f"{prefix}{name}": value for name, value in (part or {}).items()}
        names = list(row)
        if not blocks or blocks[-1]["names"] != names:
            blocks.append(
                {
                    "boot": boot,
                    "system": system,
                    "version": version,
                    "first": number,
                    "names": names,
                    "rows": [],
                }
            )
        blocks[-1]["rows"].append(list(row.values()))
    return blocks


def _counted(block: Any) -> int:
    """Raises _RefusedError for a block whose values are not those of its names."""
    if type(block) is not dict:
        raise _RefusedError("block", "must be an object")
    names, rows, columns = block.get("names"), block.get("rows"), block.get("columns")
    if type(names) is not list or not names:
        raise _RefusedError("names", "must be a list of the names of columns")
    if rows is None and columns is None:
        raise _RefusedError("rows", "must be there, or `columns`")
    if columns is None:
        return _counted_rows(rows, len(names))
    if type(columns) is not list or not {*map(type, columns)} <= {list}:
        raise _RefusedError("columns", "must be a list of lists of values")
    lengths = {*map(len, columns)}
    if len(lengths) != 1 or lengths == {0}:
        raise _RefusedError("columns", "must be equally long, and not empty")
    if len(columns) != len(names) if rows is None else len(columns) > len(names):
        raise _RefusedError("columns", "must be one for each name; of names without one there are `rows`")
    count = int(lengths.pop())
    if rows is not None and _counted_rows(rows, len(names) - len(columns)) != count:
        raise _RefusedError("rows", "must be as many as the columns have values")
    return count


def _counted_rows(rows: Any, width: int) -> int:
    kinds = {*map(type, rows)} if type(rows) is list else set()
    if not kinds or not kinds <= {list, dict}:
        raise _RefusedError("rows", "must be a list of lists of values, or of objects of inputs")
    lists = rows if kinds == {list} else [row for row in rows if type(row) is list] if list in kinds else ()
    if {*map(len, lists)} - {width}:
        raise _RefusedError("rows", "must have as many values in each as there are names")
    return len(rows)


def _layout_of(block: Any) -> _Layout:
    _counted(block)
    try:
        return _layout(tuple(block["names"]))
    except TypeError:
        raise _RefusedError("names", "must be texts") from None


@lru_cache(maxsize=16)
def _layout(names: tuple[object, ...]) -> _Layout:
    """Of the names of a block: those of a version nearly always are the same.

    It raises for bad names, so that only those that are short enough are kept.
    """
    fixed: list[tuple[str, int]] = []
    parts: dict[str, list[tuple[str, int]]] = {INPUT_PREFIX: [], OUTPUT_PREFIX: []}
    for at, name in enumerate(names):
        prefix = next((one for one in parts if type(name) is str and name.startswith(one)), None)
        if prefix is not None:
            column = str(name).removeprefix(prefix)
            rule = limits.column_rule(column)
            if rule is not None:
                raise _RefusedError(prefix.removesuffix("."), rule)
            parts[prefix].append((column, at))
        elif type(name) is str and name in _FIXED:
            fixed.append((name, at))
        else:
            raise _RefusedError("names", "must be columns of payloads, `input.` or `output.` and a column")
    if len(set(names)) != len(names):
        raise _RefusedError("names", "must not be given twice")
    for prefix, columns in parts.items():
        if len(columns) > limits.MOST_INPUTS:
            raise _RefusedError(prefix.removesuffix("."), f"must have at most {limits.MOST_INPUTS} columns")
    return _Layout(tuple(fixed), tuple(parts[INPUT_PREFIX]), tuple(parts[OUTPUT_PREFIX]))


def _check_producer(block: Any) -> None:
    boot, first = block.get("boot"), block.get("first")
    if type(boot) is not str or not _is_plain(boot):
        raise _RefusedError("boot", "must be the name of one life of the producer")
    if not _is_number(first):
        raise _RefusedError("first", f"must be the number of its first payload, below {_MOST_NUMBER}")
    system, version = block.get("system"), block.get("version")
    if type(system) is not str or len(system) > _LONGEST_PLAIN or not SYSTEM_NAME.fullmatch(system):
        raise _RefusedError("system", "must be the name of a system")
    if type(version) is not str or not _is_plain(version):
        raise _RefusedError("version", "must be the name of a version")
    same = block.get("same")
    if same is not None and (type(same) is not dict or not same.keys() <= _FIXED.keys()):
        raise _RefusedError("same", "must be an object of columns that all payloads have")


def _values_of(block: Any) -> Sequence[Values]:
    """The values of each name, one column after the other; raises _RefusedError for an input that has no name."""
    columns: list[Values] = block.get("columns") or []
    rows = block.get("rows")
    if rows is None:
        return columns
    names = block["names"][len(columns) :]
    if dict in {*map(type, rows)}:
        if any(not name.startswith(INPUT_PREFIX) for name in names):
            raise _RefusedError("rows", "may be objects only where all that is in them are inputs")
        rows = _in_order(rows, [name.removeprefix(INPUT_PREFIX) for name in names])
    return [*columns, *zip(*rows, strict=True)]


def _in_order(rows: Sequence[Any], inputs: Sequence[str]) -> Sequence[Sequence[Any]]:
    """Each row as a list of the inputs; None where an object lacks one."""
    width = len(inputs)
    if width > 1 and {*map(type, rows)} == {dict} and {*map(len, rows)} == {width}:
        try:
            return [*map(itemgetter(*inputs), rows)]
        except KeyError:
            pass
    known = frozenset(inputs)
    if any(type(row) is dict and not row.keys() <= known for row in rows):
        raise _RefusedError("rows", "must name no other inputs than `names` does")
    return [[row.get(name) for name in inputs] if type(row) is dict else row for row in rows]


def _ruled(block: Any, layout: _Layout, columns: Sequence[Values]) -> Iterable[tuple[str, Values]]:
    """Every column that has a rule, with its values; one value stands for those that all share."""
    for name, at in layout.fixed:
        yield name, columns[at]
    told = {name for name, _ in layout.fixed}
    same = block.get("same") or {}
    for name in _FIXED:
        if name not in told and (name in same or name in _REQUIRED):
            yield name, (same.get(name),)
    for prefix, places in ((INPUT_PREFIX, layout.inputs), (OUTPUT_PREFIX, layout.outputs)):
        for name, at in places:
            yield f"{prefix}{name}", columns[at]


def _breaches(name: str, values: Values, count: int, strict: bool) -> Iterable[tuple[int, str]]:
    """Positions of values that break a rule, and which."""
    rule_of, is_plainly_good = _FIXED.get(name, _INPUT)
    try:
        if strict and is_plainly_good(values, {*map(type, values)}):
            return
    except TypeError:
        # A value that is no scalar.
        pass
    for at, value in enumerate(values):
        rule = rule_of(value)
        if rule is not None:
            yield from ((at, rule),) if len(values) == count else ((each, rule) for each in range(count))


def _id(block: Any, at: int) -> str:
    if type(block) is not dict:
        return str(shown(None))
    boot, first = block.get("boot"), block.get("first")
    # Numbers that are refused are kept as seen, so none may be another's, or too large for what is stored.
    return f"{shown(boot)}-{first + at if _is_number(first) else ''}"


def _is_number(first: object) -> TypeGuard[int]:
    return type(first) is int and 0 <= first < _MOST_NUMBER


def _date(day: int) -> date:
    return date.fromordinal(_EPOCH_DAY + day)


def _microseconds(moments: Values) -> Moments:
    """Of times written as RFC 3339, or as seconds since the epoch; all are good."""
    if {*map(type, moments)} <= {float, int}:
        seconds = np.asarray(moments, dtype=np.float64)
        return np.asarray(np.rint(seconds * 1e6), dtype=np.int64)
    found = [
        round(one * 1e6) if isinstance(one, float | int) else microseconds(datetime.fromisoformat(one))
        for one in moments
    ]
    return np.asarray(found, dtype=np.int64)


def _is_plain(name: str) -> bool:
    # What is kept of anybody's bytes must be short.
    return len(name) <= _LONGEST_PLAIN and _is_short_plain(name)


@lru_cache(maxsize=256)
def _is_short_plain(name: str) -> bool:
    """Asked of the same few names in every block."""
    return limits.PLAIN_NAME.fullmatch(name) is not None


def _optional(rule: Callable[[object], str | None]) -> Callable[[object], str | None]:
    return lambda value: None if value is None else rule(value)


def _are_ids(values: Values, kinds: set[type]) -> bool:
    return kinds <= _TEXT and min(map(len, values)) > 0 and max(map(len, values)) <= limits.LONGEST_ID


def _are_ids_or_none(values: Values, kinds: set[type]) -> bool:
    if kinds <= _NONE:
        return True
    if kinds <= _TEXT:
        return _are_ids(values, kinds)
    return kinds <= _TEXT | _NONE and _are_ids([one for one in values if one is not None], _TEXT)


def _arm_rule(value: object) -> str | None:
    is_good = value is None or (type(value) is str and _is_plain(value))
    return None if is_good else "must be the name of a version or null"


def _shares_rule(value: object) -> str | None:
    is_good = value is None or read_shares(value) is not None
    return None if is_good else "must be whole percents that make 100, such as 'v1=60 v2=40'"


def _role_rule(value: object) -> str | None:
    is_good = type(value) is str and value in ROLES
    return None if is_good else "must be champion, challenger, shadow or batch"


def _truth_rule(value: object) -> str | None:
    return None if type(value) is bool or value is None else "must be true or false"


def _finite_rule(value: object) -> str | None:
    if type(value) is float:
        is_good = math.isfinite(value)
    else:
        is_good = value is None or (type(value) is int and abs(value) <= INTEGER_RANGE)
    return None if is_good else "must be a finite number or null"


def _moment_rule(value: object) -> str | None:
    if type(value) is float or type(value) is int:
        is_good = _EARLIEST <= value < _LATEST
        return None if is_good else "must be seconds since the epoch, or a time written as RFC 3339"
    if parse_moment(value) is None:
        return limits.moment_rule(value) or "is no time"
    return None


def _whole(least: int, most: int) -> _Rule:
    def rule(value: object) -> str | None:
        is_good = type(value) is int and least <= value <= most
        return None if is_good else f"must be a whole number from {least} to {most}"

    return rule, lambda values, kinds: kinds <= _WHOLE and least <= min(values) and max(values) <= most


def _each_once(rule: Callable[[object], str | None]) -> _Rule:
    """Of values of which there are few: each is looked at once."""
    return rule, lambda values, _kinds: all(rule(value) is None for value in set(values))


def _are_plain_moments(values: Values, kinds: set[type]) -> bool:
    return kinds <= {float, int} and min(values) >= _EARLIEST and max(values) < _LATEST


def _are_scalars(values: Values, kinds: set[type]) -> bool:
    if kinds <= _PLAIN_SCALARS:
        return True
    texts = [one for one in values if type(one) is str]
    return kinds <= _PLAIN_SCALARS | _TEXT and max(map(len, texts)) <= limits.LONGEST_TEXT


_Rule = tuple[Callable[[object], str | None], Callable[[Values, set[type]], bool]]
"""Which rule a value breaks; whether all values of a column, of these types, plainly break none."""
_FIXED: dict[str, _Rule] = {
    "request_id": (limits.id_rule, _are_ids),
    "entity_id": (_optional(limits.id_rule), _are_ids_or_none),
    "unit": (_optional(limits.id_rule), _are_ids_or_none),
    "arm": _each_once(_arm_rule),
    "shares": _each_once(_shares_rule),
    "role": _each_once(_role_rule),
    "row": _whole(0, 1_000_000),
    "attempt": _whole(0, 1000),
    "status": _whole(0, 999),
    "latency_seconds": (_finite_rule, lambda _values, kinds: kinds <= {float, type(None)}),
    "nonfinite": (_truth_rule, lambda _values, kinds: kinds <= _TRUTH | _NONE),
    "event_time": (_moment_rule, _are_plain_moments),
}
_REQUIRED = ("request_id", "role", "row", "attempt", "status", "event_time")
_INPUT: _Rule = (limits.input_rule, _are_scalars)
