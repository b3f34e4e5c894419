"""What many policies came to, side by side: one table, one picture, one page."""

from __future__ import annotations

import html
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from capstan.embedded.backtest.differences import differences_of, in_words
from capstan.embedded.backtest.grid import Finished
from capstan.embedded.backtest.one_policy import PolicyResult
from capstan.errors import InvalidSpecError, Mistake
from capstan.evaluation.experiments.drawing import drawn
from capstan.files import write_whole

KINDS = (".html", ".png", ".svg")
_STATIC = "first model"
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; color: #1b1b1b }
table { border-collapse: collapse; margin: 1rem 0 }
th, td { padding: .3rem .7rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
svg { max-width: 100%; height: auto }
"""


@dataclass(frozen=True)
class Column:
    """One column of the table."""

    title: str
    meaning: str
    text: Callable[[PolicyResult], str]


def columns_of(results: Sequence[PolicyResult]) -> list[Column]:
    """Those that the results have; money only where the file says what answers are worth."""
    first = results[0]
    metric = first["metrics"][0]
    name, title = metric["name"], metric["title"]
    found = [
        Column(
            title, "of all labelled answers, the mean of the months", lambda r: _number(_managed(r, name))
        ),
        Column(
            "gain [95 %]",
            f"in {title}, over the first model kept for the whole history",
            lambda r: _gain(r["gain"], r["gain_interval"]),
        ),
        Column("alerts", "firings", lambda r: str(r["alerts"])),
        Column(
            "false",
            "alerts after which nothing hurt: neither in their window nor in the next four was the version worse "
            "than at its test by more than monitoring.quality.maxDrop",
            lambda r: str(r["false_alarms"]),
        ),
        Column(
            "delay",
            "mean days from the start of a champion's first window that hurts to its alert, or to its end without one",
            lambda r: "-" if r["delay_days"] is None else f"{r['delay_days']:.0f} d",
        ),
        Column(
            "missed", "champions that hurt and had no alert", lambda r: f"{r['missed']} of {r['hurt_reigns']}"
        ),
        Column("trained", "trainings, with the first", lambda r: str(r["trainings"])),
        Column("promoted", "new champions after the first", lambda r: str(r["promotions"])),
    ]
    if first["money"] is not None:
        currency = first["money"]["currency"] or "value"
        found.append(
            Column(
                f"{currency} gained",
                "by objective.value, over the first model",
                lambda r: "-" if r["money"] is None else f"{r['money']['gain']:+,.0f}",
            )
        )
    return found


def document_of(finished: Sequence[Finished], base: int = 0) -> dict[str, Any]:
    """All that is known, as JSON; windows of one policy alone, since those of many would be megabytes.

    `base`: the place of the policy that the others are compared with.
    """
    results = [one.result for one in finished]
    left_out = {"resampled_gains", *(["windows_told"] if len(finished) > 1 else [])}
    return {
        "system": results[0]["system"],
        "start": results[0]["start"],
        "end": results[0]["end"],
        "compared_with": dict(finished[base].policy.values),
        "policies": [
            {
                "policy": dict(one.policy.values),
                "difference": None if difference is None else difference.value,
                "difference_interval": None if difference is None else difference.interval,
                **{name: value for name, value in one.result.items() if name not in left_out},
            }
            for one, difference in zip(finished, differences_of(finished, base), strict=True)
        ],
    }


def require_report(path: Path) -> None:
    """Raises InvalidSpecError for a file that can't be written."""
    if path.suffix not in KINDS:
        raise InvalidSpecError(
            [Mistake(f"--report {path}", f"must end in {', '.join(KINDS)}, which says what is written")]
        )
    if not path.resolve().parent.is_dir():
        raise InvalidSpecError(
            [Mistake(f"--report {path}", f"there is no folder {path.resolve().parent}; make it first")]
        )


def write_report(finished: Sequence[Finished], path: Path, base: int = 0) -> None:
    """The picture, or a page with the picture and the table; raises CapstanError.

    `base`: the place of the policy that the others are compared with.
    """
    if path.suffix != ".html":
        draw(finished, path)
        return
    with tempfile.TemporaryDirectory(prefix="capstan-picture-") as folder:
        picture = Path(folder) / "backtest.svg"
        draw(finished, picture)
        drawing = picture.read_text()
    write_whole(path, _page(finished, drawing[drawing.index("<svg") :], base).encode())


def _page(finished: Sequence[Finished], drawing: str, base: int) -> str:
    results = [one.result for one in finished]
    columns = columns_of(results)
    first = results[0]
    heads = "".join(
        f'<th title="{html.escape(one.meaning)}">{html.escape(one.title)}</th>' for one in columns
    )
    rows = "".join(
        f"<tr><td>{html.escape(one.policy.name)}</td>"
        + "".join(f"<td>{html.escape(column.text(one.result))}</td>" for column in columns)
        + "</tr>\n"
        for one in finished
    )
    meanings = "".join(
        f"<li><b>{html.escape(one.title)}</b>: {html.escape(one.meaning)}</li>\n" for one in columns
    )
    title = f"{first['system']}: {len(results)} {'policy' if len(results) == 1 else 'policies'}"
    told = f"<p>{html.escape(in_words(finished, base))}</p>\n" if len(finished) > 1 else ""
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body>\n<h1>{html.escape(title)}</h1>\n"
        f"<p>{first['requests']:,} requests from {first['start'][:10]} to {first['end'][:10]}</p>\n"
        f"<table><thead><tr><th>policy</th>{heads}</tr></thead>\n<tbody>{rows}</tbody></table>\n{told}"
        f"{drawing}\n<ul>{meanings}</ul>\n</body></html>\n"
    )


def draw(finished: Sequence[Finished], path: Path) -> None:
    """The metric by month, what each policy did, and what that was worth, as an SVG or PNG; raises CapstanError."""
    results = [one.result for one in finished]
    has_money = results[0]["money"] is not None
    with drawn(path, 4 + has_money, named="--report") as panels:
        _months(panels[0], finished)
        names = [one.policy.name for one in finished]
        _gains(panels[1], names, results)
        _counts(panels[2], names, results)
        _delays(panels[3], names, results)
        if has_money:
            _money(panels[4], names, results)


def _months(panel: Any, finished: Sequence[Finished]) -> None:
    first = finished[0].result
    name, title = first["metrics"][0]["name"], first["metrics"][0]["title"]
    months = list(first["months"])
    static = [first["months"][month]["metrics"][name]["static"] for month in months]
    panel.plot(months, static, color="#777", linestyle="--", label=_STATIC)
    # Policies that decided alike have one line, since later ones would hide earlier ones.
    lines: dict[tuple[float | None, ...], list[str]] = {}
    for one in finished:
        found = one.result["months"]
        managed = tuple(
            found[month]["metrics"][name]["managed"] if month in found else None for month in months
        )
        lines.setdefault(managed, []).append(one.policy.name)
    for managed, (policy, *alike) in lines.items():
        label = f"{policy}{f', and {len(alike)} alike' if alike else ''}"
        panel.plot(months, [float("nan") if v is None else v for v in managed], marker=".", label=label)
    panel.set_title(f"{title} by month", loc="left")
    panel.tick_params(axis="x", labelrotation=20)
    panel.legend(fontsize=6, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)


def _gains(panel: Any, names: Sequence[str], results: Sequence[PolicyResult]) -> None:
    for place, result in enumerate(results):
        gain, interval = result["gain"], result["gain_interval"]
        if gain is not None and interval is not None:
            panel.hlines(place, *interval, color="#1f5fa8", alpha=0.4, linewidth=6)
            panel.plot([gain], [place], color="#1f5fa8", marker="o")
    panel.axvline(0, color="black", linewidth=0.8)
    _name(panel, names)
    title = results[0]["metrics"][0]["title"]
    panel.set_title(f"Gain in {title} over the first model, 95 % interval", loc="left")


def _counts(panel: Any, names: Sequence[str], results: Sequence[PolicyResult]) -> None:
    parts = (
        ("other alerts", [r["alerts"] - r["false_alarms"] for r in results], "#1f5fa8", None, 0.3),
        (
            "false alarms",
            [r["false_alarms"] for r in results],
            "#b3261e",
            [r["alerts"] - r["false_alarms"] for r in results],
            0.3,
        ),
        ("trainings", [r["trainings"] for r in results], "#8a8a8a", None, 0.0),
        ("promotions", [r["promotions"] for r in results], "#2e7d32", None, -0.3),
    )
    for label, values, colour, left, shift in parts:
        places = [place - shift for place in range(len(results))]
        panel.barh(places, values, height=0.28, left=left or 0, color=colour, label=label)
    _name(panel, names)
    panel.set_title("Alerts, trainings, promotions", loc="left")
    panel.legend(fontsize=6, ncols=4, loc="lower right", bbox_to_anchor=(1, 1), frameon=False)


def _delays(panel: Any, names: Sequence[str], results: Sequence[PolicyResult]) -> None:
    panel.barh(range(len(results)), [r["delay_days"] or 0 for r in results], height=0.6, color="#c77700")
    for place, result in enumerate(results):
        if result["missed"]:
            panel.text(
                result["delay_days"] or 0, place, f" {result['missed']} missed", va="center", fontsize=7
            )
    panel.margins(x=0.15)  # Room for the words beside the longest bar.
    _name(panel, names)
    panel.set_title("Mean days from harm to the alert", loc="left")


def _money(panel: Any, names: Sequence[str], results: Sequence[PolicyResult]) -> None:
    gains = [0.0 if r["money"] is None else r["money"]["gain"] for r in results]
    panel.barh(range(len(results)), gains, height=0.6, color="#2e7d32")
    _name(panel, names)
    currency = (results[0]["money"] or {}).get("currency") or "Value"
    panel.set_title(f"{currency} gained over the first model", loc="left")


def _name(panel: Any, names: Sequence[str]) -> None:
    panel.set_yticks(range(len(names)), names, fontsize=7)
    panel.invert_yaxis()


def _managed(result: PolicyResult, metric: str) -> float | None:
    found: float | None = result["overall"]["metrics"][metric]["managed"]
    return found


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _gain(value: float | None, interval: Sequence[float] | None) -> str:
    if value is None or interval is None:
        return "-"
    return f"{value:+.3f} [{interval[0]:+.3f}, {interval[1]:+.3f}]"
