"""How the values of one column are spread, as a small picture: bars of the training rows, marks of the test rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_WIDTH, _HEIGHT = 260.0, 70.0


def picture(column: Mapping[str, Any], parts: Sequence[str]) -> str:
    """SVG in the colours of the page; empty where there is nothing to draw. Bars are those of the first part."""
    if "bins" in column:
        return _drawn(column["name"], column["bins"]["counts"], parts)
    return ""


def bars(column: Mapping[str, Any], parts: Sequence[str]) -> str:
    """A table of the most frequent values, each with the bar of its share in the first part; HTML."""
    found = column.get("categories")
    if not found or not found["names"]:
        return ""
    totals = {part: max(1, sum(found["counts"][part]) + found["others"][part]) for part in parts}
    lines = [
        _line(name, [found["counts"][part][at] / totals[part] for part in parts])
        for at, name in enumerate(found["names"])
    ]
    if any(found["others"].values()):
        lines.append(_line(None, [found["others"][part] / totals[part] for part in parts]))
    head = "".join(f"<th scope='col'>{escape(one)}</th>" for one in ("value", *parts))
    return (
        f'<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _line(name: str | None, shares: Sequence[float]) -> str:
    told = "<i>all others</i>" if name is None else escape(name) or "<i>an empty text</i>"
    first, *rest = shares
    cells = "".join(f"<td>{share:.1%}</td>" for share in rest)
    bar = f'<td class="bar"><i style="width:{100 * first:.1f}%"></i><span>{first:.1%}</span></td>'
    return f"<tr><th scope='row'>{told}</th>{bar}{cells}</tr>"


def _drawn(name: str, counts: Mapping[str, Sequence[int]], parts: Sequence[str]) -> str:
    first = parts[0]
    shares = {part: [count / max(1, sum(of)) for count in of] for part, of in counts.items()}
    most = max((max(of) for of in shares.values()), default=0.0)
    if not most:
        return ""
    step = _WIDTH / len(shares[first])
    shapes = [
        f'<rect x="{at * step + 0.5:.1f}" y="{_HEIGHT * (1 - share / most):.1f}" width="{step - 1:.1f}" '
        f'height="{_HEIGHT * share / most:.1f}" class="of-training"/>'
        for at, share in enumerate(shares[first])
    ]
    if "test" in shares and first != "test":
        points = []
        for at, share in enumerate(shares["test"]):
            height = _HEIGHT * (1 - share / most)
            points += [f"{at * step:.1f},{height:.1f}", f"{(at + 1) * step:.1f},{height:.1f}"]
        shapes.append(f'<polyline points="{" ".join(points)}" class="of-test"/>')
    label = escape(f"how the values of {name} are spread", quote=True)
    return (
        f'<svg viewBox="0 -2 {_WIDTH:g} {_HEIGHT + 4:g}" class="spread" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}">'
        f"{''.join(shapes)}</svg>"
    )
