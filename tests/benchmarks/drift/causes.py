"""Whether injected causes of a rise of losses are named: `python tests/benchmarks/drift/causes.py --write`.

Worlds of four features, one of which is noise: snow is rare and hard, cold goes along with it, and days differ.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from capstan.files import write_whole
from capstan.monitoring.causes.explaining import Judged, explain
from capstan.monitoring.causes.kinds import Kinds, kinds_of
from capstan.monitoring.windows import Causes
from capstan.spec.features import Feature

PAGE = Path(__file__).resolve().parents[3] / "platform/docs/causes.md"
FEATURES = tuple(
    Feature.model_validate(one)
    for one in (
        {"name": "weather", "categorical": {}},
        {"name": "temp", "numeric": {}},
        {"name": "hour", "numeric": {}},
        {"name": "noise", "numeric": {}},
    )
)
Columns = dict[str, Any]
Worse = Callable[[Columns], Any]


def world(rng: np.random.Generator, rows: int, days: int, snow: float) -> tuple[Columns, Any, Any]:
    """Columns, mean losses and days of rows."""
    shares = [0.7 * (1 - snow) / 0.98, 0.28 * (1 - snow) / 0.98, snow]
    weather = rng.choice(["sun", "rain", "snow"], rows, p=shares)
    temp = rng.normal(12, 6, rows) - 14 * (weather == "snow")
    hour = rng.integers(0, 24, rows).astype(float)
    day = np.arange(rows) * days // rows
    losses = 10 + 20.0 * (weather == "snow") + rng.normal(0, 0.5, days)[day]
    return {"weather": weather, "temp": temp, "hour": hour, "noise": rng.normal(0, 1, rows)}, losses, day


def judged(kinds: tuple[Kinds, ...], table: Columns, losses: Any, days: Any) -> Judged:
    return Judged(np.column_stack([one.codes(table[one.column]) for one in kinds]), losses, days)


def explained(seed: int, rows: int, snow: float, worse: Worse) -> Causes:
    """A test window of two weeks, and a week after it in which something changed."""
    rng = np.random.default_rng(seed)
    before, base, day = world(rng, 2 * rows, 14, 0.02)
    kinds = kinds_of(pa.table(before), FEATURES)
    known = judged(kinds, before, base * rng.exponential(1, len(base)), day)
    now, base, day = world(rng, rows, 7, snow)
    losses = (base + worse(now)) * rng.exponential(1, rows)
    return explain(kinds, known, judged(kinds, now, losses, day), metric="absoluteError")


def evening(table: Columns) -> Any:
    return (table["hour"] >= 17) & (table["hour"] <= 20)


CASES: tuple[tuple[str, float, Worse, tuple[str, ...]], ...] = (
    ("nothing", 0.02, lambda _: 0.0, ()),
    ("all rows worse alike, by half", 0.02, lambda _: 5.0, ()),
    ("snow: 2 % -> 6 % of the rows", 0.06, lambda _: 0.0, ("weather",)),
    ("snow: 2 % -> 20 %", 0.2, lambda _: 0.0, ("weather",)),
    ("hours 17 to 20 worse by half", 0.02, lambda table: 5.0 * evening(table), ("hour",)),
    ("hours 17 to 20 twice as bad", 0.02, lambda table: 10.0 * evening(table), ("hour",)),
    ("rain twice as bad", 0.02, lambda table: 10.0 * (table["weather"] == "rain"), ("weather",)),
    (
        "both: snow 20 %, hours 17 to 20 twice as bad",
        0.2,
        lambda table: 10.0 * evening(table),
        ("weather", "hour"),
    ),
)


def lines(worlds: int) -> list[str]:
    """The table as Markdown."""
    found = [
        "| what was changed | rows a week | all causes named | another feature blamed | unexplained, median |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for title, snow, worse, wanted in CASES:
        for rows in (1_000, 5_000):
            told = [explained(seed, rows, snow, worse) for seed in range(worlds)]
            named = [{cause.feature for cause in one.causes} for one in told]
            hit = np.mean([set(wanted) <= one for one in named])
            wrong = np.mean([bool(one - set(wanted)) for one in named])
            left = [one.unexplained / one.rise for one in told if one.rise and one.unexplained is not None]
            first = f"{hit:.0%}" if wanted else "-"
            last = f"{np.median(left):.0%}" if wanted else "-"
            found.append(f"| {title} | {rows:,} | {first} | {wrong:.0%} | {last} |")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--write", action="store_true", help="Put the table into the page.")
    asked = parser.parse_args()
    table = [
        *lines(asked.worlds),
        "",
        f"{asked.worlds} worlds of each; a test window of two weeks, and a week after it. A loss varies as an "
        "exponential does, and days by a twentieth.",
    ]
    print("\n".join(table))
    if asked.write:
        begin, end = "<!-- causes: begin -->", "<!-- causes: end -->"
        text = PAGE.read_text()
        head, tail = text[: text.index(begin)], text[text.index(end) :]
        write_whole(PAGE, f"{head}{begin}\n\n{chr(10).join(table)}\n\n{tail}".encode(), mode=0o644)


if __name__ == "__main__":
    main()
