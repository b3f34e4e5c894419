"""One HTML file that loads nothing: its frame, its styles for light and dark, and the pieces that it is made of."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape


def whole_file(title: str, header: str, parts: Iterable[str]) -> str:
    """The file; `header` and `parts` are HTML, in which all that others wrote is escaped."""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
        f"<style>{_STYLE}</style></head><body>\n<header>{header}</header>\n"
        f"<main>{''.join(parts)}</main>\n</body></html>\n"
    )


def section(title: str, *parts: str) -> str:
    """Nothing where all its parts are empty."""
    body = "".join(parts)
    return f"<section><h2>{escape(title)}</h2>{body}</section>\n" if body else ""


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Those that have a value."""
    body = "".join(
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>"
        for name, value in pairs
        if value not in (None, "", ())
    )
    return f"<dl>{body}</dl>"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The first cell of a row is its name."""
    titles = "".join(f"<th scope='col'>{escape(str(one))}</th>" for one in head)
    body = "".join(
        f"<tr><th scope='row'>{escape(str(first))}</th>"
        + "".join(f"<td>{escape(str(cell))}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return scrolled(f"<thead><tr>{titles}</tr></thead><tbody>{body}</tbody>")


def scrolled(inner: str) -> str:
    """A wide table moves by itself, not the whole page."""
    return f'<div class="scroll" tabindex="0"><table>{inner}</table></div>'


def notes(texts: Iterable[str]) -> str:
    """A quiet line for each."""
    return "".join(f'<p class="note">{escape(text)}</p>' for text in texts)


def listed(texts: Iterable[str]) -> str:
    """A point for each; nothing where there is none."""
    body = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<ul>{body}</ul>" if body else ""


def cell(value: object) -> str:
    """A text as it is, a number with as many digits as tell something."""
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else number(value)


def count(value: object) -> str:
    """Empty where it is none."""
    return f"{value:,}" if isinstance(value, int) else ""


def number(value: object) -> str:
    """A dash where it is none or not finite."""
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
.columns { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 31rem), 1fr)); gap: 0 2rem }
article { min-width: 0; margin: 0 0 1.2rem }
small { color: var(--quiet); font-weight: normal }
.spread { width: 100%; height: 5rem; display: block }
.spread .of-training { fill: var(--bar) }
.spread .of-test { fill: none; stroke: var(--ink); stroke-width: 1.2; vector-effect: non-scaling-stroke }
.ends { display: flex; justify-content: space-between; margin: 0 0 .4rem; color: var(--quiet);
  font-size: .85em }
summary { cursor: pointer; margin: .3rem 0 }
li { margin: .2rem 0; overflow-wrap: anywhere }
time { color: var(--quiet) }
@media (max-width: 30rem) { dl { grid-template-columns: 1fr; gap: 0 } dd { margin-bottom: .4rem }
  tbody th { white-space: normal; overflow-wrap: anywhere; min-width: 7rem } }
@media print { .scroll { overflow: visible } }
"""
