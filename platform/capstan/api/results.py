"""What the verbs of a system return where it is no table, each readable in a notebook."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from capstan.api import html
from capstan.errors import InvalidSpecError
from capstan.spec.fields import FieldDoc, all_fields
from capstan.verbs.explaining import page
from capstan.verbs.planning import Planned
from capstan.verbs.validation import Validated

TEXT_WIDTH = 100


@dataclass(frozen=True, repr=False)
class Validation(Validated):
    """What is wrong with a file and its data; `bool(...)` says whether nothing is."""

    @classmethod
    def of(cls, checked: Validated) -> Validation:
        return cls(checked.system, checked.mistakes, checked.found)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not wrong and should be known."""
        return () if self.found is None else self.found.warnings

    def require(self) -> None:
        """Raises InvalidSpecError with all mistakes; nothing if there are none."""
        if self.mistakes:
            raise InvalidSpecError(list(self.mistakes))

    def __bool__(self) -> bool:
        return self.valid

    @property
    def _verdict(self) -> str:
        count = len(self.mistakes)
        return (
            f"{self.system} is valid"
            if self.valid
            else f"{self.system or 'the file'}: {count} mistake{'s' if count > 1 else ''}"
        )

    def __repr__(self) -> str:
        return "\n".join(
            [
                self._verdict,
                *map(str, self.mistakes),
                *(map(str, self.found.parts) if self.found is not None else ()),
                *(f"warning: {text}" for text in self.warnings),
            ]
        )

    def _repr_html_(self) -> str:
        parts = []
        if self.found is not None:
            parts.append(
                html.table(
                    ["part", "labelled rows", "without label", "labels"],
                    [(part.name, part.rows, part.unlabelled, part.labels.words) for part in self.found.parts],
                )
            )
        mistakes = ((one.line, one.path, one.message) for one in self.mistakes)
        return html.box(
            self._verdict,
            html.table(["line", "field", "mistake"], mistakes),
            *parts,
            html.listing("warnings", self.warnings),
        )


@dataclass(frozen=True, repr=False)
class Plan(Planned):
    """What `up` would change, what follows, and how long a verdict will take."""

    @classmethod
    def of(cls, planned: Planned) -> Plan:
        return cls(**vars(planned))

    @property
    def _verdict(self) -> str:
        if self.is_new:
            return f"{self.system}: would be created"
        count = len(self.changes)
        where = f", process {self.running} runs it" if self.running else ", nothing runs"
        return f"{self.system}: {count or 'no'} change{'' if count == 1 else 's'}{where}"

    def __repr__(self) -> str:
        changes = [f"{one.path}: {one.old!r} -> {one.new!r}" for one in self.changes]
        warnings = [f"warning: {text}" for text in self.warnings]
        return "\n".join([self._verdict, *changes, *self.consequences, *warnings])

    def _repr_html_(self) -> str:
        watched = () if self.watched is None else (self.watched.message,)
        return html.box(
            self._verdict,
            html.table(["field", "old", "new"], [(one.path, one.old, one.new) for one in self.changes]),
            html.listing("what follows", self.consequences),
            html.table(
                ["step", "analysis", "median time", "deadline", "computed from"],
                [
                    (one.step + 1, f"{one.analysis} ({one.decide})", one.median, one.deadline, one.basis)
                    for one in self.verdicts
                ],
            ),
            html.listing("what can be watched", watched),
            html.listing("warnings", self.warnings),
        )


@dataclass(frozen=True, repr=False)
class Explanation(FieldDoc):
    """One field of the file."""

    @classmethod
    def of(cls, doc: FieldDoc) -> Explanation:
        return cls(**{one.name: getattr(doc, one.name) for one in dataclasses.fields(doc)})

    def __repr__(self) -> str:
        return page(self, TEXT_WIDTH)

    def _repr_html_(self) -> str:
        inner = [(child, all_fields()[f"{self.path}.{child}"]) for child in self.children]
        return html.box(
            self.path,
            html.paragraph(self.description),
            html.facts(
                [
                    ("type", self.type + (", required" if self.is_required else "")),
                    ("default", self.default),
                    ("choices", ", ".join(self.choices)),
                    ("one of", ", ".join(self.one_of)),
                    ("example", self.example),
                ]
            ),
            html.table(
                ["field", "type", "meaning"], [(name, one.type, one.description) for name, one in inner]
            ),
        )
