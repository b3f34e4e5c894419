"""Every error that Capstan raises on purpose, drawn as one tree.

CapstanError
├── InvalidSpecError          the file is wrong; carries one `Mistake` per mistake, each with its line
├── InvalidDataError          a source, a table or a row breaks a rule of the file
│   ├── LeakageError          a feature knows what is only known after the prediction
│   └── UnfitValueError       a model cannot take a value of a request (HTTP 422)
├── InvalidRequestError       a prediction or feedback request breaks the schema (HTTP 422)
├── MissingExtraError         an optional part is not installed; names the extra
├── MissingToolError          a program is not to be found; names the ways to get it
├── PortInUseError            an address is taken; names who sets it
├── DiskFullError             no room left for state
├── AlreadyRunningError       another supervisor holds this state directory
├── NotFoundError             no such system, version, run or rollout
├── ConflictError             the stored record changed since it was read; read again and plan again
│   └── ExistsError           an object of this name is there already
├── NotAllowedError           the command is not possible in the present state
├── UntrustedArtifactError    the bytes differ from the digest that the registry holds; never loaded
└── UnavailableError          a part does not answer now; `part` names it; retried with backoff
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


class CapstanError(Exception):
    """Base of all errors raised on purpose; its text is meant for the user."""

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception's own way calls the class with the text alone, which breaks a pool of processes for good.
        return _restored, (type(self), self.args, dict(self.__dict__))


def _restored(kind: type[CapstanError], args: tuple[Any, ...], known: Mapping[str, Any]) -> CapstanError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(known)
    return error


@dataclass(frozen=True)
class Mistake:
    """One mistake in a file: where it is, what the value was, which rule it breaks and the way out."""

    path: str
    """Dotted path of the field, such as `rollout.steps[2].canary.weight`."""
    message: str
    line: int | None = None
    """Line in the file, from 1; None where the text is not from a file."""

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        return f"{where}{self.path}: {self.message}"


class InvalidSpecError(CapstanError):
    """The file breaks its grammar; `mistakes` lists all of them."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        self.mistakes = mistakes
        super().__init__("\n".join(str(mistake) for mistake in mistakes))


class InvalidDataError(CapstanError):
    """A source, a table or a row breaks a rule of the file."""


class LeakageError(InvalidDataError):
    """A feature knows what is only known after the prediction."""


class UnfitValueError(InvalidDataError):
    """A model cannot take a value that the schema lets in."""

    def __init__(self, column: str, value: object, rule: str) -> None:
        """`value`: None where it is missing."""
        self.column = column
        self.value = value
        self.rule = rule
        super().__init__(f"{column!r} {rule}")


class InvalidRequestError(CapstanError):
    """A prediction or feedback request breaks the schema; answered with 422."""

    def __init__(
        self, field: str, value: object, rule: str, others: Sequence[InvalidRequestError] = ()
    ) -> None:
        """`value` may be anything that was sent; `others` are further breaches of the same request."""
        self.field = _encodable(field)
        self.value = shown(value)
        self.rule = _encodable(rule)
        self.others = tuple(others)
        quoted = "" if self.value is None else f" {json.dumps(self.value, ensure_ascii=False)}"
        own = f"{self.field}:{quoted} {self.rule}"
        super().__init__("; ".join([own, *map(str, self.others)]))

    @property
    def problems(self) -> list[dict[str, Any]]:
        """Every breach as `{"field", "value", "rule"}`, which JSON can hold."""
        own = {"field": self.field, "value": self.value, "rule": self.rule}
        return [own, *(problem for other in self.others for problem in other.problems)]

    def one_by_one(self) -> list[InvalidRequestError]:
        """The breaches as errors of their own."""
        return [InvalidRequestError(self.field, self.value, self.rule), *self.others]

    def document(self) -> dict[str, Any]:
        """The body of an answer: the first breach as `error`, all of them as `errors`."""
        problems = self.problems
        return {"error": problems[0], "errors": problems}


SHOWN_CHARACTERS = 120
"""Texts up to this length are quoted whole, of longer ones the beginning."""
_BEGINNING = 80


def shown(value: object) -> bool | int | float | str | None:
    """The value as an answer may quote it: short, and plain JSON whatever was sent."""
    if value is None or type(value) is bool:
        return value
    if type(value) is int:
        # What 64 bits do not hold, not every JSON writer can write.
        return value if abs(value) < 2**63 else str(value)[:SHOWN_CHARACTERS]
    if type(value) is float:
        names = {math.inf: "Infinity", -math.inf: "-Infinity"}
        return value if value - value == 0 else names.get(value, "NaN")
    if isinstance(value, Mapping):
        return f"an object of {len(value)}"
    if isinstance(value, bytes):
        text = value[: 4 * SHOWN_CHARACTERS].decode("utf-8", "replace")
    elif isinstance(value, Sequence) and not isinstance(value, str):
        return f"a list of {len(value)}"
    else:
        text = _encodable(str(value))
    if len(text) <= SHOWN_CHARACTERS:
        return text
    return f"{text[:_BEGINNING]}… ({len(text)} characters)"


def _encodable(text: str) -> str:
    """Without halves of surrogate pairs, which no answer can hold."""
    return text.encode("utf-8", "backslashreplace").decode()


class MissingExtraError(CapstanError):
    """An optional part is not installed."""

    def __init__(self, feature: str, extra: str) -> None:
        super().__init__(f"{feature} needs the extra {extra!r}: pip install 'capstan-mlops[{extra}]'")


class MissingToolError(CapstanError):
    """A program is not to be found; the text names the ways to get it on this platform."""


class PortInUseError(CapstanError):
    """An address is taken; the text names the setting that moves it."""


class DiskFullError(CapstanError):
    """No room is left for state; nothing was half-written."""


class AlreadyRunningError(CapstanError):
    """Another supervisor holds this state directory."""


class NotFoundError(CapstanError):
    """No such system, version, run or rollout."""


class ConflictError(CapstanError):
    """The stored record changed since it was read: read again and plan again."""


class ExistsError(ConflictError):
    """An object of this name is there already; nothing was changed."""


class NotAllowedError(CapstanError):
    """The command is not possible in the present state; the text says what is."""


class UntrustedArtifactError(CapstanError):
    """The bytes differ from the digest that the registry holds; they were not loaded."""


class ChangedStoryError(CapstanError):
    """The seals of a story do not fit: somebody changed it."""


class UnavailableError(CapstanError):
    """A part does not answer now; the caller retries with backoff."""

    def __init__(self, part: str, reason: str, *, unready: Collection[str] = ()) -> None:
        """unready: versions that are not ready, where the part waits for versions; empty: it waits for none."""
        self.part = part
        self.reason = reason
        self.unready = frozenset(unready)
        super().__init__(f"{part} is unavailable: {reason}")
