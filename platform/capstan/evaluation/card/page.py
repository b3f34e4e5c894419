"""A version's card as HTML: written from the documents that its training left, with no script, font or address.

It shows what was learnt from as names, counts and shares. Secrets stand in the file by reference only, and neither
addresses nor paths of sources nor the query are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import Any

from capstan.domain.training import GateOutcome
from capstan.evaluation import html_file
from capstan.evaluation.card.asked import asked_of
from capstan.evaluation.card.story import Moment, story_html
from capstan.spec.system import MLSystemSpec
from capstan.spec.tasks import TaskFacts

Document = Mapping[str, Any]
_MOST_ROWS = 30
"""Of a table of slices or classes."""


@dataclass(frozen=True)
class Card:
    """What a card is written from."""

    system: str
    version: str
    run: str
    digest: str
    as_of: datetime
    candidate: str
    spec: MLSystemSpec
    facts: TaskFacts
    """Of the task, with the metrics of the file's own."""
    evaluation: Document
    check: Document
    manifest: Document
    gates: Sequence[GateOutcome]
    warnings: Sequence[str]
    tables: Sequence[Document]
    """Those of the run's report."""
    story: Sequence[Moment]
    settings: Mapping[str, float | str] = field(default_factory=dict)
    """What a search or the training itself set."""


def card_html(card: Card) -> str:
    """The whole file."""
    spec, explained = card.spec, card.evaluation.get("explained") or {}
    title = f"{card.system} {card.version}"
    parts = [
        html_file.section("What it is for", _purpose(card)),
        html_file.section("How good it is", _metrics(card), _gates(card), _warned(card)),
        html_file.section("Curves", _curves(explained.get("curves") or ())),
        html_file.section("What matters to it", _importances(card), _contributions(explained)),
        html_file.section("Candidates", *_tables(card, _OF_CANDIDATES)),
        html_file.section("Confusion, slices and groups", *_tables(card, None)),
        html_file.section("What it learnt from", _data(card), _columns(card)),
        html_file.section("Limits", html_file.listed(_limits(card))),
        story_html(card.story),
    ]
    header = (
        f"<p>Model card</p><h1>{escape(title)}</h1>"
        f"<p>{escape(spec.objective.business or spec.objective.task)}</p>{_head(card)}"
    )
    return html_file.whole_file(title, header, parts)


def _head(card: Card) -> str:
    facts = [
        ("candidate", card.candidate),
        ("knows data until", f"{card.as_of:%Y-%m-%d %H:%M} UTC"),
        ("run", card.run),
        ("digest", card.digest),
    ]
    facts += [
        (f"setting: {name}", value if isinstance(value, str) else f"{value:g}")
        for name, value in card.settings.items()
    ]
    return html_file.facts(facts)


def _purpose(card: Card) -> str:
    objective, learnt = card.spec.objective, card.manifest
    classes = learnt.get("classes") or ()
    threshold = learnt.get("threshold")
    return html_file.facts(
        [
            ("purpose", objective.business),
            ("asked of the model", objective.ml),
            ("task", objective.task),
            ("predicts", objective.target),
            ("classes", ", ".join(map(str, classes))),
            ("answers the last class from", threshold if len(classes) == 2 else None),
            ("models", ", ".join(str(one["name"]) for one in learnt.get("models") or ())),
            *asked_of(card.spec.requirements, card.as_of),
        ]
    )


def _metrics(card: Card) -> str:
    found, intervals = card.evaluation["metrics"], card.evaluation.get("intervals") or {}
    champion = card.evaluation.get("champion_metrics") or {}
    rival = card.evaluation.get("champion") if champion else None
    head = ["metric", "value", "95 % from", "to", *([str(rival)] if rival else []), "better is"]
    rows = []
    for metric in card.facts.metrics:
        if metric.name not in found:
            continue
        low, high = intervals.get(metric.name) or (None, None)
        line = [
            metric.title,
            html_file.number(found[metric.name]),
            html_file.number(low),
            html_file.number(high),
        ]
        line += [html_file.number(champion.get(metric.name))] if rival else []
        rows.append([*line, metric.direction.lower()])
    told = (
        f"{card.evaluation['rows']:,} test rows, which no candidate learnt from or was chosen by. "
        f"Chosen by {escape(card.facts.metric(card.spec.training.choose.metric).title)} on other rows."
    )
    return f"<p>{told}</p>{html_file.table(head, rows)}"


def _gates(card: Card) -> str:
    words = {True: ("passed", "good"), False: ("not passed", "bad")}
    lines = []
    for gate in card.gates:
        word, tone = words.get(gate.passed, ("not decided", "warn"))  # type: ignore[arg-type]
        lines.append(f'<li><b class="{tone}">{word}</b> {escape(gate.message)}</li>')
    return f"<h3>Gates</h3><ul>{''.join(lines)}</ul>" if lines else ""


def _warned(card: Card) -> str:
    return f"<h3>Warnings</h3>{html_file.listed(card.warnings)}" if card.warnings else ""


def _curves(curves: Sequence[Document]) -> str:
    # The library that draws is large, and who shows a card that is there does not draw.
    from capstan.evaluation.card.pictures import picture

    drawn = []
    for curve in curves:
        svg = picture(curve)
        if svg:
            notes = "".join(f"<br>{escape(note)}" for note in curve["notes"])
            drawn.append(
                f"<figure>{svg}<figcaption><b>{escape(curve['title'])}</b>{notes}</figcaption></figure>"
            )
    return f'<div class="pictures">{"".join(drawn)}</div>' if drawn else ""


def _importances(card: Card) -> str:
    (found,) = _named(card, ("Importance of columns",)) or (None,)
    if found is None:
        return ""
    cells = found["cells"]
    lost = max((abs(row[0]) for row in cells if row[0] is not None), default=0.0)
    means = max((row[2] for row in cells if row[2] is not None), default=0.0)
    lines = [
        [
            f"<th scope='row'>{escape(str(name))}</th>",
            _bar(row[0], lost),
            _bar(row[2], means),
        ]
        for name, row in zip(found["rows"], cells, strict=True)
    ]
    head = "".join(f"<th scope='col'>{escape(one)}</th>" for one in ("column", *found["columns"][::2]))
    body = "".join(f"<tr>{''.join(line)}</tr>" for line in lines)
    drawn = html_file.scrolled(f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>")
    return drawn + html_file.notes(found["notes"])


def _bar(value: float | None, most: float) -> str:
    width = 0.0 if value is None or most <= 0 else 100 * max(0.0, value) / most
    return f'<td class="bar"><i style="width:{width:.1f}%"></i><span>{html_file.number(value)}</span></td>'


def _contributions(explained: Document) -> str:
    found = explained.get("contributions")
    if not found:
        return ""
    base = ", ".join(
        f"{name + ' ' if name else ''}{html_file.number(value)}" for name, value in found["base"].items()
    )
    return f"<p>Score: {escape(found['scale'])}. Mean score of the background rows: {escape(base)}.</p>"


_OF_CANDIDATES = ("Ladder", "Searches", "Best trials of")
_ELSEWHERE = (*_OF_CANDIDATES, "Importance of columns", "Learning curve")


def _named(card: Card, titles: tuple[str, ...] | None) -> list[Document]:
    """The report's tables whose titles begin so; None: all that stand in no other part."""
    if titles is None:
        return [one for one in card.tables if not one["title"].startswith(_ELSEWHERE)]
    return [one for one in card.tables if one["title"].startswith(titles)]


def _tables(card: Card, titles: tuple[str, ...] | None) -> list[str]:
    return [_crossed(one) for one in _named(card, titles)]


def _crossed(found: Document) -> str:
    head = [f"{found['of_rows']} \\ {found['of_columns']}", *found["columns"]]
    pairs = list(zip(found["rows"], found["cells"], strict=True))
    rows = [[name, *map(html_file.cell, cells)] for name, cells in pairs[:_MOST_ROWS]]
    more = len(pairs) - len(rows)
    notes = [*found["notes"], *([f"{more} rows more stand in the run's report"] if more > 0 else [])]
    return f"<h3>{escape(found['title'])}</h3>{html_file.table(head, rows)}{html_file.notes(notes)}"


def _data(card: Card) -> str:
    check, learnt, spec = card.check, card.manifest, card.spec
    labels = card.evaluation.get("labels") or {}
    return html_file.facts(
        [
            ("sources", ", ".join(f"{one.name} ({one.kind})" for one in spec.data.sources)),
            ("rows read", html_file.count(check.get("rows"))),
            ("newest row", check.get("newest")),
            ("rows learnt from", html_file.count(learnt.get("rows"))),
            ("test rows", html_file.count(card.evaluation.get("rows"))),
            (
                "labels of the test",
                ", ".join(f"{name} {html_file.cell(count)}" for name, count in labels.items()),
            ),
        ]
    )


def _columns(card: Card) -> str:
    missing = card.check.get("missing") or {}
    rows = []
    for one in card.manifest.get("columns") or ():
        low, high = one.get("trained_min"), one.get("trained_max")
        span = "" if low is None else f"{html_file.cell(low)} to {html_file.cell(high)}"
        share = missing.get(one["name"]) or 0.0
        rows.append([one["name"], one["kind"], span, f"{100 * share:.1f} %"])
    return f"<h3>Columns of a request</h3>{html_file.table(['column', 'read as', 'range learnt', 'missing'], rows)}"


def _limits(card: Card) -> Iterable[str]:
    explained = card.evaluation.get("explained") or {}
    yield (
        f"It knows data until {card.as_of:%Y-%m-%d} and nothing of what changed since; the monitor watches for that."
    )
    yield "Numbers outside the range learnt, and new categories, are answered by what it learnt of others."
    known = card.evaluation.get("details") or {}
    yield from known.get("notes") or ()
    learning = explained.get("learning")
    if learning:
        # The first is a warning of the run where it is a flaw.
        yield from learning["words"][learning["overfits"] or learning["underfits"] :]
    few = [
        f"{one['column']} = {one['value']}"
        for one in card.evaluation.get("slices") or ()
        if one["rows"] < 100
    ]
    if few:
        more = f" and {len(few) - 8} more" if len(few) > 8 else ""
        yield f"Slices of fewer than 100 test rows say little: {', '.join(few[:8])}{more}."
    if not card.spec.evaluation.fairness:
        yield "No fairness between groups was asked for (evaluation.fairness), so none was judged."
    if not card.evaluation.get("intervals"):
        yield "The test rows are of one day, or too few, so no interval is known."
    if not card.spec.evaluation.explanations:
        yield "No explanations were asked for (evaluation.explanations), so nothing tells which columns matter to it."
    for part, why in (explained.get("untold") or {}).items():
        yield f"{part}: not told, because {why}"
    yield "What a column adds to an answer is what the model does with it, not what would follow from changing it."
