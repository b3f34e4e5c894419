"""A version's card as HTML: written from the documents that its training left, with no script, font or address.

It shows what was learnt from as names, counts and shares. Secrets stand in the file by reference only, and neither
addresses nor paths of sources nor the query are shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from typing import Any

from capstan.domain.training import GateOutcome
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
        _section("What it is for", _purpose(card)),
        _section("How good it is", _metrics(card), _gates(card), _warned(card)),
        _section("Curves", _curves(explained.get("curves") or ())),
        _section("What matters to it", _importances(card), _contributions(explained)),
        _section("Candidates", *_tables(card, _OF_CANDIDATES)),
        _section("Confusion, slices and groups", *_tables(card, None)),
        _section("What it learnt from", _data(card), _columns(card)),
        _section("Limits", _list(_limits(card))),
        story_html(card.story),
    ]
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<style>{_STYLE}</style></head><body>\n<header><p>Model card</p><h1>{escape(title)}</h1>"
        f"<p>{escape(spec.objective.business or spec.objective.task)}</p>{_head(card)}</header>\n"
        f"<main>{''.join(parts)}</main>\n</body></html>\n"
    )


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
    return _facts(facts)


def _purpose(card: Card) -> str:
    objective, learnt = card.spec.objective, card.manifest
    classes = learnt.get("classes") or ()
    threshold = learnt.get("threshold")
    return _facts(
        [
            ("purpose", objective.business),
            ("task", objective.task),
            ("predicts", objective.target),
            ("classes", ", ".join(map(str, classes))),
            ("answers the last class from", threshold if len(classes) == 2 else None),
            ("models", ", ".join(str(one["name"]) for one in learnt.get("models") or ())),
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
        line = [metric.title, _number(found[metric.name]), _number(low), _number(high)]
        line += [_number(champion.get(metric.name))] if rival else []
        rows.append([*line, metric.direction.lower()])
    told = (
        f"{card.evaluation['rows']:,} test rows, which no candidate learnt from or was chosen by. "
        f"Chosen by {escape(card.facts.metric(card.spec.training.choose.metric).title)} on other rows."
    )
    return f"<p>{told}</p>{_table(head, rows)}"


def _gates(card: Card) -> str:
    words = {True: ("passed", "good"), False: ("not passed", "bad")}
    lines = []
    for gate in card.gates:
        word, tone = words.get(gate.passed, ("not decided", "warn"))  # type: ignore[arg-type]
        lines.append(f'<li><b class="{tone}">{word}</b> {escape(gate.message)}</li>')
    return f"<h3>Gates</h3><ul>{''.join(lines)}</ul>" if lines else ""


def _warned(card: Card) -> str:
    return f"<h3>Warnings</h3>{_list(card.warnings)}" if card.warnings else ""


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
    return f"{_scrolled(f'<thead><tr>{head}</tr></thead><tbody>{body}</tbody>')}{_notes(found['notes'])}"


def _bar(value: float | None, most: float) -> str:
    width = 0.0 if value is None or most <= 0 else 100 * max(0.0, value) / most
    return f'<td class="bar"><i style="width:{width:.1f}%"></i><span>{_number(value)}</span></td>'


def _contributions(explained: Document) -> str:
    found = explained.get("contributions")
    if not found:
        return ""
    base = ", ".join(f"{name + ' ' if name else ''}{_number(value)}" for name, value in found["base"].items())
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
    rows = [[name, *map(_cell, cells)] for name, cells in pairs[:_MOST_ROWS]]
    more = len(pairs) - len(rows)
    notes = [*found["notes"], *([f"{more} rows more stand in the run's report"] if more > 0 else [])]
    return f"<h3>{escape(found['title'])}</h3>{_table(head, rows)}{_notes(notes)}"


def _data(card: Card) -> str:
    check, learnt, spec = card.check, card.manifest, card.spec
    labels = card.evaluation.get("labels") or {}
    return _facts(
        [
            ("sources", ", ".join(f"{one.name} ({one.kind})" for one in spec.data.sources)),
            ("rows read", _count(check.get("rows"))),
            ("newest row", check.get("newest")),
            ("rows learnt from", _count(learnt.get("rows"))),
            ("test rows", _count(card.evaluation.get("rows"))),
            ("labels of the test", ", ".join(f"{name} {_cell(count)}" for name, count in labels.items())),
        ]
    )


def _columns(card: Card) -> str:
    missing = card.check.get("missing") or {}
    rows = []
    for one in card.manifest.get("columns") or ():
        low, high = one.get("trained_min"), one.get("trained_max")
        span = "" if low is None else f"{_cell(low)} to {_cell(high)}"
        share = missing.get(one["name"]) or 0.0
        rows.append([one["name"], one["kind"], span, f"{100 * share:.1f} %"])
    return f"<h3>Columns of a request</h3>{_table(['column', 'read as', 'range learnt', 'missing'], rows)}"


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


def _section(title: str, *parts: str) -> str:
    body = "".join(parts)
    return f"<section><h2>{escape(title)}</h2>{body}</section>\n" if body else ""


def _facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Those that have a value."""
    body = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>"
        for name, value in pairs
        if value not in (None, "", ())
    )
    return f"<dl>{body}</dl>"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    titles = "".join(f"<th scope='col'>{escape(str(one))}</th>" for one in head)
    body = "".join(
        f"<tr><th scope='row'>{escape(str(first))}</th>"
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return _scrolled(f"<thead><tr>{titles}</tr></thead><tbody>{body}</tbody>")


def _scrolled(inner: str) -> str:
    """A wide table moves by itself, not the whole card."""
    return f'<div class="scroll" tabindex="0"><table>{inner}</table></div>'


def _notes(notes: Iterable[str]) -> str:
    return "".join(f'<p class="note">{escape(note)}</p>' for note in notes)


def _list(texts: Iterable[str]) -> str:
    body = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{body}</ul>" if body else ""


def _cell(value: object) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else _number(value)


def _count(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else ""


def _number(value: object) -> str:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    return f"{value:,.4g}" if abs(value) >= 1 else f"{value:.4f}"


_STYLE = """
:root { color-scheme: light dark; --ink: #1b1b1b; --quiet: #5a5a5a; --line: #d9d9d9; --paper: #fff; --bar: #9dbbdc }
@media (prefers-color-scheme: dark) { :root { --ink: #ececec; --quiet: #b0b0b0; --line: #444; --paper: #1c1c1c;
  --bar: #35577d } figure svg { filter: invert(.87) hue-rotate(180deg) } }
* { box-sizing: border-box }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  max-width: 70rem; padding: 1rem }
header p:first-child { margin: 0; color: var(--quiet) }
h1 { margin: 0 0 .3rem; overflow-wrap: anywhere }
h2 { margin: 2rem 0 .5rem; padding-top: .5rem; border-top: 1px solid var(--line) }
h3 { margin: 1.2rem 0 .3rem }
dl { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .2rem 1rem; margin: .5rem 0 }
dt { color: var(--quiet) }
dd { margin: 0; overflow-wrap: anywhere }
.scroll { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .7rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap }
th:first-child { text-align: left }
thead th { color: var(--quiet); font-weight: normal }
tbody th { font-weight: normal }
.bar { position: relative; min-width: 9rem; text-align: left }
.bar i { position: absolute; inset: .2rem auto .2rem 0; background: var(--bar) }
.bar span { position: relative }
.note { color: var(--quiet); margin: .3rem 0; font-size: .9em }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); gap: 1.2rem }
figure { margin: 0 }
figure svg { width: 100%; height: auto; display: block }
figcaption { font-size: .9em; color: var(--quiet) }
.good { color: #2e7d32 } .bad { color: #c62828 } .warn { color: #b26a00 }
@media (prefers-color-scheme: dark) { .good { color: #81c784 } .bad { color: #ef9a9a } .warn { color: #ffb74d } }
li { margin: .2rem 0; overflow-wrap: anywhere }
time { color: var(--quiet) }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .4rem } }
@media print { .scroll { overflow: visible } }
"""
