"""What the verbs of a system return where it is no table, each readable in a notebook."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capstan.api import html
from capstan.domain.planners.training import gates_passed
from capstan.domain.training import RunStatus
from capstan.embedded.training import Trained
from capstan.errors import InvalidSpecError
from capstan.spec.fields import FieldDoc, all_fields
from capstan.verbs.explaining import page
from capstan.verbs.exporting import ExportedVersion
from capstan.verbs.labelling import Tally
from capstan.verbs.planning import Planned
from capstan.verbs.validation import Validated

if TYPE_CHECKING:
    import pandas as pd

TEXT_WIDTH = 100


@dataclass(frozen=True, repr=False)
class Validation(Validated):
    """What is wrong with a file and its data; `bool(...)` says whether nothing is."""

    @classmethod
    def of(cls, checked: Validated) -> Validation:
        return cls(checked.system, checked.mistakes, checked.found, checked.in_vain)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is not wrong and should be known."""
        return (*self.in_vain, *(() if self.found is None else self.found.warnings))

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


@dataclass(frozen=True, repr=False)
class Training:
    """One training that has made a version."""

    run: str
    version: str
    chosen: str
    """The candidate that was taken; of several models one of each."""
    status: RunStatus
    """All that is known of it: steps, gates, failures."""

    @classmethod
    def of(cls, made: Trained) -> Training:
        version = made.status.version
        return cls(
            made.request.run, version.name if version else "", made.status.chosen_in_words, made.status
        )

    @property
    def candidates(self) -> pd.DataFrame:
        """Metrics on the validation rows: one row per candidate, one column per metric."""
        import pandas as pd

        return pd.DataFrame.from_dict(
            {name: dict(metrics) for name, metrics in self.status.candidates.items()}, orient="index"
        )

    @property
    def metrics(self) -> pd.Series[float]:
        """Metrics of the choice on the test rows, by name."""
        import pandas as pd

        version = self.status.version
        return pd.Series(dict(version.metrics) if version else {}, dtype=float, name="test")

    @property
    def gates_passed(self) -> bool:
        """Whether each gate of the file was passed; a version that misses one is registered and not rolled out."""
        return gates_passed(self.status)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What did not stop the run and may make its model worse than it looks."""
        lost = (f"candidate {name} failed: {why}" for name, why in self.status.failed.items())
        return (*lost, *self.status.warnings)

    def __repr__(self) -> str:
        measured = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())
        lines = [f"{self.version} ({self.chosen}) of {self.run}: {measured}"]
        lines += [f"gate {gate.message}" for gate in self.status.gates]
        return "\n".join([*lines, *(f"warning: {text}" for text in self.warnings)])

    def _repr_html_(self) -> str:
        tried = self.status.candidates
        metrics = list(dict.fromkeys(name for values in tried.values() for name in values))
        test = self.status.version.metrics if self.status.version else {}
        rows = [(name, *(values.get(name) for values in tried.values()), test.get(name)) for name in metrics]
        return html.box(
            f"{self.version}: {self.chosen}, of {self.run}",
            html.table(["metric", *(f"{name} (validation)" for name in tried), "chosen (test)"], rows),
            html.listing("gates", (gate.message for gate in self.status.gates)),
            html.listing("warnings", self.warnings),
        )


@dataclass(frozen=True, repr=False)
class Imported:
    """A model that was fitted elsewhere, as a version."""

    version: str
    model: str
    """`imported` and the name of its class."""
    run: str
    """What stands for it among the runs."""
    metrics: dict[str, float]
    """Of the sample's rows, by name, in the units of the task."""
    follows: str
    """What becomes of it, in words."""

    @classmethod
    def of(cls, made: Trained, follows: str) -> Imported:
        version = made.status.version
        return cls(
            version.name if version else "",
            made.status.chosen_in_words,
            made.request.run,
            dict(version.metrics) if version else {},
            follows,
        )

    def __repr__(self) -> str:
        measured = ", ".join(f"{name} {value:.4g}" for name, value in self.metrics.items())
        return f"{self.version} ({self.model}): {measured}\n{self.follows}"

    def _repr_html_(self) -> str:
        return html.box(
            f"{self.version}: {self.model}",
            html.table(["metric", "of the sample"], list(self.metrics.items())),
            html.paragraph(self.follows),
        )


@dataclass(frozen=True, repr=False)
class Exported(ExportedVersion):
    """A version as a file of ONNX."""

    @classmethod
    def of(cls, made: ExportedVersion) -> Exported:
        return cls(**vars(made))

    def __repr__(self) -> str:
        return self.in_words()

    def _repr_html_(self) -> str:
        return html.box(
            f"{self.version.name}: {self.file}",
            html.table(["column", "tensor"], list(self.inputs.items())),
            *map(html.paragraph, self.in_words().splitlines()),
        )


@dataclass(frozen=True, repr=False)
class Feedback:
    """What came of handed in labels."""

    accepted: int
    """New ones."""
    duplicates: int
    """Those that were known already."""
    without_label: int
    """Rows whose label is not known yet; they are left out."""
    matched: int
    """Of answered requests, as the counts that follow: each label is of one kind."""
    waiting: int
    """Of requests that are on their way."""
    never_asked: int
    """Of ids that nobody asked for; kept, should a request come."""
    unknown: int
    """Of requests that could not be looked up; kept."""
    refused: tuple[str, ...] = ()
    """Rows that were not handed in, and why, at most a hundred."""
    never_asked_ids: tuple[str, ...] = ()
    """Some of them, at most a hundred."""

    @classmethod
    def of(cls, tally: Tally) -> Feedback:
        found = tally.found
        return cls(
            accepted=tally.new,
            duplicates=tally.known,
            without_label=tally.without,
            matched=found["matched"],
            waiting=found["waiting"],
            never_asked=found["neverAsked"],
            unknown=found["unknown"],
            refused=tuple(
                f"row {one['row']}, {one['field']}: {one['value']!r} {one['rule']}" for one in tally.refused
            ),
            never_asked_ids=tuple(tally.ids.get("neverAsked", ())),
        )

    @property
    def _counts(self) -> list[tuple[str, object]]:
        return [
            ("new labels", self.accepted),
            ("known already", self.duplicates),
            ("without a label", self.without_label),
            ("of answered requests", self.matched),
            ("of requests on their way", self.waiting),
            ("of ids that nobody asked for", self.never_asked),
            ("not looked up", self.unknown),
        ]

    def __repr__(self) -> str:
        lines = [f"{name}: {count:,}" for name, count in self._counts]
        return "\n".join([*lines, *(f"refused: {one}" for one in self.refused)])

    def _repr_html_(self) -> str:
        return html.box("labels", html.facts(self._counts), html.listing("refused", self.refused))
