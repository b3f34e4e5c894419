"""The report of a run's data as HTML: written from the document that the run left, with no script, font or address.

It shows names, counts, shares and frequent values, and at most `MOST_LISTED` ids of rows that break a rule; no path,
no query, no secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Any

from capstan.evaluation import html_file
from capstan.evaluation.data_report.distributions import bars, picture

Document = Mapping[str, Any]
MOST_LISTED = 20


def data_html(described: Document, tables: Sequence[Document] = ()) -> str:
    """The whole file; `tables` are those of the run that are about its data, such as parts and groups."""
    title = f"{described['system']} {described['run']}"
    header = f"<p>Data report</p><h1>{escape(title)}</h1>{_head(described)}"
    parts = [
        html_file.section("Checks", _checks(described["checks"])),
        html_file.section("Parts", *(_crossed(one) for one in tables if one["title"] == "Parts")),
        html_file.section("Missing values", _missing(described)),
        html_file.section("With the label", _with_label(described)),
        html_file.section("Columns with each other", _pairs(described["correlations"])),
        html_file.section("Beside the champion's data", _drift(described["drift"])),
        html_file.section("Distributions", _key(described["parts"]), _columns(described)),
        html_file.section("Groups", *(_crossed(one) for one in tables if one["title"].startswith("Groups"))),
        html_file.section("Where it comes from", _lineage(described["lineage"])),
    ]
    return html_file.whole_file(f"data of {title}", header, parts)


def _head(described: Document) -> str:
    lineage = described["lineage"]
    return html_file.facts(
        [
            ("knows data until", f"{datetime.fromisoformat(described['as_of']):%Y-%m-%d %H:%M} UTC"),
            ("rows that were read", f"{lineage['rows']:,}"),
            (
                "label",
                described["target"] if described["is_labelled"] else "none: the task learns without labels",
            ),
            ("digest of the rows", lineage["digest"]),
            ("commit of the code", lineage["code"]),
        ]
    )


def _checks(found: Document) -> str:
    if not found["rules"]:
        told = "The file states no check (data.checks). Types, infinite numbers and double ids are looked at anyway."
    else:
        told = f"Checks in the file: {len(found['rules'])}. Rows: {found['rows']:,}, left out: {found['left_out']:,}."
    broken = [
        [f"{one['column']} {one['rule']}", one["severity"], f"{one['rows']:,}"] for one in found["broken"]
    ]
    lists = "".join(
        f"<details><summary>{escape(one['column'])}: the first {len(one['listed'])} of {one['rows']:,} rows that break "
        f"it</summary>{html_file.table(['id', 'value'], one['listed'])}</details>"
        for one in found["broken"]
        if one["listed"]
    )
    kept = "<p><b class='good'>All rules are kept.</b></p>" if not broken else ""
    table = html_file.table(["rule that is broken", "severity", "rows"], broken) if broken else ""
    return f"<p>{escape(told)}</p>{kept}{table}{lists}{_rules(found['rules'])}"


def _rules(rules: Sequence[str]) -> str:
    if not rules:
        return ""
    return f"<details><summary>all rules of the file</summary>{html_file.listed(rules)}</details>"


def _missing(described: Document) -> str:
    columns, parts = described["columns"], described["parts"]
    rows = []
    for one in columns:
        shares = {part: of["missing"] / max(1, of["rows"]) for part, of in one["parts"].items()}
        if any(shares.values()):
            rows.append([one["name"], *(_share(shares.get(part)) for part in parts)])
    if not rows:
        return "<p>No column lacks a value.</p>"
    whole = len(columns) - len(rows)
    rest = f"{whole} columns lack no value." if whole else ""
    return html_file.table(["column", *parts], rows) + html_file.notes([rest] if rest else [])


def _with_label(described: Document) -> str:
    found = described["correlations"]
    if found is None:
        return "<p>The task learns without labels, so nothing goes with one.</p>"
    most = max((abs(one["value"]) for one in found["label"] if one["value"] is not None), default=0.0)
    lines = "".join(
        f"<tr><th scope='row'>{escape(one['column'])}</th>{_bar(one['value'], most)}<td>{escape(one['by'])}</td></tr>"
        for one in found["label"]
    )
    head = "".join(f"<th scope='col'>{one}</th>" for one in ("column", "strength", "by"))
    drawn = html_file.scrolled(f"<thead><tr>{head}</tr></thead><tbody>{lines}</tbody>") if lines else ""
    words = (
        f"Of {found['rows']:,} evenly spaced rows. Pearson is from -1 to 1, eta and Cramér's V from 0 to 1. A dash: "
        "the column is constant, nearly every row has its own value, or too few rows have both. "
        "A feature with a strength near 1 may know the label."
    )
    return drawn + html_file.notes([words])


def _bar(value: float | None, most: float) -> str:
    width = 0.0 if value is None or most <= 0 else 100 * abs(value) / most
    told = "–" if value is None else f"{value:+.3f}"
    return f'<td class="bar"><i style="width:{width:.1f}%"></i><span>{told}</span></td>'


def _pairs(found: Document | None) -> str:
    if found is None or not found["pairs"]:
        return ""
    rows = [[" and ".join(one["columns"]), f"{one['value']:+.3f}", one["by"]] for one in found["pairs"]]
    notes = [f"The {len(rows)} strongest pairs."]
    if found["left_out"]:
        notes.append(f"{found['left_out']} columns more are not compared with each other.")
    return html_file.table(["columns", "strength", "by"], rows) + html_file.notes(notes)


def _drift(found: Document) -> str:
    if found["champion"] is None:
        return "<p>There is no champion yet, so there are no data to compare with.</p>"
    if found["why_not"]:
        return (
            f"<p>Not compared with the data of {escape(found['champion'])}: {escape(found['why_not'])}.</p>"
        )
    groups = [one["name"] for one in found["groups"]]
    head = ["feature", "distance by"]
    for name in groups:
        head += [f"{name}: distance", "drift above", "missing"]
    rows = []
    for one in found["features"]:
        line = [one["name"], one["test"]]
        for name in groups:
            of = one["groups"][name]
            distance = of.get("distance")
            told = of.get("why_not", "–") if distance is None else f"{distance:.3f}"
            if distance is not None and distance > of["threshold"]:
                told += " drifts"
            line += [told, html_file.number(of.get("threshold")), _share(of.get("missing"))]
        rows.append([*line, _share(one["missing_before"])])
    counts = ", ".join(f"{one['name']} {one['rows']:,}" for one in found["groups"])
    words = (
        f"Distances from the sample of its data that {found['champion']} carries ({counts}). Newer rows are those "
        "that it has not learnt from. Drift begins where the monitor's threshold for so many rows is exceeded."
    )
    return html_file.table([*head, f"missing in {found['champion']}'s data"], rows) + html_file.notes([words])


def _key(parts: Sequence[str]) -> str:
    if "test" not in parts:
        return html_file.notes(["Bars: shares of all rows."])
    return html_file.notes(
        ["Bars: shares of the training rows. Line: shares of the test rows. Numbers beyond the 1st and the 99th "
         "percentile are counted in the outer bars."]
    )  # fmt: skip


def _columns(described: Document) -> str:
    drawn = "".join(_column(one, described["parts"]) for one in described["columns"])
    more = described["columns_left_out"]
    left = [f"{more:,} columns more are read and not drawn."] if more else []
    return f'<div class="columns">{drawn}</div>{html_file.notes(left)}'


def _column(one: Document, parts: Sequence[str]) -> str:
    kind = escape(one["type"].lower())
    if one.get("hidden"):
        told = f"some {one['different']:,} different values, nearly one a row; none is shown"
        body = html_file.notes([told])
    elif "bins" in one:
        body = picture(one, parts) + _ends(one) + _numbers(one, parts)
    else:
        different = one.get("different")
        more = [f"some {different:,} different values"] if different and different > 12 else []
        body = (
            bars(one, parts) + html_file.notes(more)
            if one.get("categories")
            else html_file.notes(["no value"])
        )
    return f"<article><h3>{escape(one['name'])} <small>{kind}</small></h3>{body}</article>"


def _ends(one: Document) -> str:
    bins = one["bins"]
    count = len(next(iter(bins["counts"].values())))
    low, high = bins["from"], bins["from"] + count * bins["width"]
    return (
        f'<p class="ends"><span>{_value(low, one["type"])}</span><span>{_value(high, one["type"])}</span></p>'
    )


def _numbers(one: Document, parts: Sequence[str]) -> str:
    kind = one["type"]
    head = ["part", "rows", "mean", "deviation", "min", "max"]
    rows = []
    for part in parts:
        of = one["parts"].get(part) or {"rows": 0}
        deviation = of.get("deviation")
        spread = _days(deviation) if kind == "Time" else html_file.number(deviation)
        ends = (_value(of.get(end), kind) for end in ("min", "max"))
        rows.append([part, f"{of['rows']:,}", _value(of.get("mean"), kind), spread, *ends])
    quartiles = ", ".join(_value(value, kind) for value in one.get("quartiles", ()))
    return html_file.table(head, rows) + html_file.notes(
        [f"quartiles of all parts: {quartiles}"] if quartiles else []
    )


def _days(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds / 86_400:,.1f} days"


def _value(value: float | None, kind: str) -> str:
    if value is None or kind != "Time":
        return html_file.number(value)
    try:
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return html_file.number(value)


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _crossed(found: Document) -> str:
    head = [found["of_rows"], *found["columns"]]
    rows = [
        [name, *map(html_file.cell, cells)] for name, cells in zip(found["rows"], found["cells"], strict=True)
    ]
    title = "" if found["title"] == "Parts" else f"<h3>{escape(found['title'])}</h3>"
    return title + html_file.table(head, rows) + html_file.notes(found["notes"])


def _lineage(found: Document) -> str:
    rows = [
        [
            one["name"],
            one["kind"],
            html_file.count(one["files"]) if one["files"] else "–",
            html_file.count(one["bytes"]) or "–",
            "–"
            if one["modified"] is None
            else f"{datetime.fromisoformat(one['modified']):%Y-%m-%d %H:%M} UTC",
            (one["digest"] or "–")[:23],
        ]
        for one in found["sources"]
    ]
    head = ["source", "kind", "files", "bytes", "newest change", "digest of the list of files"]
    notes = [
        "A database tells neither bytes nor changes; the digest of the rows says whether they are the same."
    ]
    return html_file.table(head, rows) + html_file.notes(notes)
