"""Results as a notebook shows them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def box(title: str, *parts: str) -> str:
    """A heading and what stands below it, which is HTML already."""
    return f"<div><strong>{escape(title)}</strong>{''.join(parts)}</div>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Nothing where there are no rows; cells are text and None is empty."""
    body = "".join(f"<tr>{''.join(_cell(value) for value in row)}</tr>" for row in rows)
    if not body:
        return ""
    titles = "".join(f'<th style="text-align:left">{escape(one)}</th>' for one in head)
    return f"<table><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"


def facts(rows: Iterable[tuple[str, object]]) -> str:
    """Names with their values; those without a value are left out."""
    body = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>{_cell(value)}</tr>'
        for name, value in rows
        if value not in (None, "")
    )
    return f"<table><tbody>{body}</tbody></table>" if body else ""


def paragraph(text: str) -> str:
    return f"<p>{escape(text)}</p>"


def listing(title: str, texts: Iterable[str]) -> str:
    """Nothing where there are no texts."""
    items = "".join(f"<li>{escape(text)}</li>" for text in texts)
    return f"<div>{escape(title)}<ul>{items}</ul></div>" if items else ""


def _cell(value: object) -> str:
    text = "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
    return f'<td style="text-align:left">{escape(text)}</td>'
