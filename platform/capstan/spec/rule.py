"""A rule across fields, written once: what breaks it, what it says, and the same for an API server in CEL.

Those who parse a file call `findings`, the custom resource takes `documents`. A rule without CEL says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic_core import PydanticCustomError

from capstan.spec.finding import Finding
from capstan.spec.location import Location

Part = TypeVar("Part")

UNTRIED = "an API server could be told; what it costs there was not tried"
"""Why a rule has no CEL: an API server refuses a whole custom resource for one rule whose cost it cannot bound."""
ARITHMETIC = "CEL would have to compute with durations or sizes as the file writes them"
JOINED_LISTS = "it compares two long lists, which costs more than an API server allows"


@dataclass(frozen=True)
class Breach:
    """One place where a rule is broken."""

    location: Location
    """Of the part to change, from the top of the file."""
    value: object = None
    """Shown before the rule's message; None: nothing is."""
    detail: str = ""
    """Goes into the rule's message before its way out."""
    message: str = ""
    """In place of the rule's, where this case has words of its own."""


@dataclass(frozen=True)
class Cel:
    """What an API server checks at a part of the file."""

    says: str
    """Must hold; `self` is the part."""
    path: str = ""
    """Of the part below `spec`; `[]` are the items of a list; empty: `spec` itself."""
    field: str = ""
    """Below the part, which the API server names in its answer; empty: the part itself."""
    message: str = ""
    """In place of the rule's, where the API server can only look at a whole list."""
    reason: str = "FieldValueInvalid"


@dataclass(frozen=True)
class Rule:
    """A rule across fields."""

    name: str
    message: str
    """What is wrong, a semicolon, and the way out."""
    breaches: Callable[[Any], Iterable[Breach]]
    """Of a `spec`, or of the part that `require` is called with."""
    cel: tuple[Cel, ...] = ()
    why_no_cel: str = ""

    def __post_init__(self) -> None:
        if bool(self.cel) == bool(self.why_no_cel):
            raise ValueError(f"{self.name}: give CEL, or why there is none")

    def findings(self, part: object) -> Iterator[Finding]:
        """Where the part breaks it, in words."""
        for breach in self.breaches(part):
            yield Finding(breach.location, breach.message or self._in_words(breach))

    def documents(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Path of a part of the schema, with what stands among its `x-kubernetes-validations`."""
        for cel in self.cel:
            document = {"rule": cel.says, "message": cel.message or self.message}
            if cel.field:
                document |= {"fieldPath": f".{cel.field}", "reason": cel.reason}
            yield cel.path, document

    def _in_words(self, breach: Breach) -> str:
        fault, semicolon, way = self.message.partition(";")
        shown = "" if breach.value is None else f"{breach.value!r} "
        return f"{shown}{fault}{breach.detail}{semicolon}{way}"


def rule(
    message: str, *cel: Cel, why_no_cel: str = ""
) -> Callable[[Callable[[Any], Iterable[Breach]]], Rule]:
    """Make a rule of the function that finds its breaches in a `spec`; its name is the function's."""

    def made(breaches: Callable[[Any], Iterable[Breach]]) -> Rule:
        return Rule(breaches.__name__.replace("_", " "), message, breaches, cel, why_no_cel)

    return made


def part_rule(message: str, holds: Callable[[Any], bool], *cel: Cel, why_no_cel: str = "") -> Rule:
    """A rule that a part of the file keeps by itself, held where the part is made."""

    def breaches(part: object) -> Iterator[Breach]:
        if not holds(part):
            yield Breach(())

    return Rule(message.partition(";")[0], message, breaches, cel, why_no_cel)


def require(part: Part, rules: Sequence[Rule]) -> Part:
    """The part, if it keeps its rules; raises PydanticCustomError with the words of the first that it breaks."""
    for one in rules:
        for finding in one.findings(part):
            raise PydanticCustomError("rule", "{message}", {"message": finding.message})
    return part
