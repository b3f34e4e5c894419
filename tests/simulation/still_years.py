"""Ten systems of a world that never changes, a year each, through the real monitor in event time.

Payloads and labels go in as a collector takes them; references, thresholds, windows and alerts are the monitor's own.
Only processes and HTTP are left out. Each system has a week like any other, but its rows are of a kind that detectors
of drift are known to get wrong.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from sent_payloads import body

from capstan.monitoring.drift import fitted_detectors
from capstan.monitoring.quality import measure
from capstan.monitoring.watching import Watcher
from capstan.recording.collector.intake import Intake
from capstan.spec import MLSystem, parse
from capstan.tasks import Predictions, task_of

SINCE = datetime(2026, 1, 5, tzinfo=UTC)
WEEK = timedelta(days=7)
WALL = datetime(2027, 6, 1, tzinfo=UTC)
TRAINED = 16
"""Weeks of reference."""
YEAR = 52
"""Weeks that are watched."""
PER_WEEK = 300

Random = np.random.Generator
Columns = dict[str, list[Any]]
"""Raw values as a table or a request has them, by column."""


@dataclass(frozen=True)
class Still:
    """One system: its features as the file has them, and the columns of one week of so many rows."""

    name: str
    features: tuple[dict[str, Any], ...]
    week: Callable[[Random, int], Columns]
    score: Callable[[Random, Columns], np.ndarray]
    jitter: bool = False
    """Requests get another last bit than the training's table had."""
    spelled: bool = False
    """Requests write a boolean now as true, now as "true", "True" or 1."""
    rows: Callable[[Random], int] = lambda rng: PER_WEEK


def _number(name: str) -> dict[str, Any]:
    return {"name": name, "numeric": {}}


def _category(name: str) -> dict[str, Any]:
    return {"name": name, "categorical": {}}


def _logistic(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-values))


_SPELLINGS: dict[bool, tuple[Any, ...]] = {
    True: (True, "true", "True", 1),
    False: (False, "false", "False", 0),
}


def _booleans(rng: Random, n: int) -> Columns:
    return {
        "vip": [bool(value) for value in rng.random(n) < 0.3],
        "member": [bool(value) for value in rng.random(n) < 0.5],
    }


def _atoms(rng: Random, n: int) -> Columns:
    return {
        "plan": [str(value) for value in rng.choice(list("abc"), n)],
        "discount": rng.choice([0.1, 0.2, 0.30000000000000004], n, p=[0.5, 0.3, 0.2]).tolist(),
    }


def _heavy(rng: Random, n: int) -> Columns:
    return {
        "amount": rng.lognormal(3, 2, n).tolist(),
        "balance": np.clip(rng.standard_cauchy(n) * 1e3, -1e12, 1e12).tolist(),
        "pause": rng.pareto(1.1, n).tolist(),
    }


_ZIPF = 1 / np.arange(1, 401) ** 1.1


def _many(rng: Random, n: int) -> Columns:
    shops = rng.choice(400, n, p=_ZIPF / _ZIPF.sum())
    return {
        "shop": [f"shop-{value}" for value in shops],
        "zip": [f"{value:05d}" for value in rng.integers(0, 200, n)],
    }


def _missing(rng: Random, n: int) -> Columns:
    income, town = rng.normal(40, 12, n).tolist(), rng.choice(list("abcd"), n).tolist()
    return {
        "income": [None if gone else value for value, gone in zip(income, rng.random(n) < 0.35, strict=True)],
        "town": [None if gone else str(value) for value, gone in zip(town, rng.random(n) < 0.1, strict=True)],
        "rare": [None if gone else 1.0 for gone in rng.random(n) < 0.97],
    }


def _integers(rng: Random, n: int) -> Columns:
    return {
        "calls": [int(value) for value in rng.poisson(1.2, n)],
        "hour": [int(value) for value in rng.integers(0, 24, n)],
        "tier": [int(value) for value in rng.choice([1, 2, 3], n, p=[0.6, 0.3, 0.1])],
    }


def _near_constant(rng: Random, n: int) -> Columns:
    return {
        "pressure": (101_325 + rng.normal(0, 0.05, n)).tolist(),
        "errors": [
            0.0 if calm else float(value)
            for calm, value in zip(rng.random(n) < 0.99, rng.random(n), strict=True)
        ],
        "country": ["DE" if usual else "AT" for usual in rng.random(n) < 0.995],
        "version": [1.0] * n,
    }


def _restless(rng: Random, n: int) -> Columns:
    """Weeks differ from each other, as they always did."""
    level = rng.normal(0, 0.4)
    share = np.clip(rng.normal(0.5, 0.06), 0.2, 0.8)
    return {
        "temp": rng.normal(level, 1, n).tolist(),
        "side": ["left" if value else "right" for value in rng.random(n) < share],
    }


def _regulars(rng: Random, n: int) -> Columns:
    """Each caller comes some ten times a week with the same values: there are fewer opinions than rows."""
    callers = max(2, n // 10)
    who = rng.integers(0, callers, n)
    age, city = rng.normal(40, 15, callers).round(1), rng.choice(list("abcde"), callers)
    return {"age": age[who].tolist(), "city": [str(value) for value in city[who]]}


def _plain(rng: Random, n: int) -> Columns:
    return {"value": rng.normal(0, 1, n).tolist(), "kind": [str(v) for v in rng.choice(list("xyz"), n)]}


def _beta(rng: Random, columns: Columns) -> np.ndarray:
    return rng.beta(2, 5, len(next(iter(columns.values()))))


def _by(column: str, center: float, spread: float) -> Callable[[Random, Columns], np.ndarray]:
    def score(_rng: Random, columns: Columns) -> np.ndarray:
        values = np.array([center if value is None else float(value) for value in columns[column]])
        return _logistic(np.clip((values - center) / spread, -6, 6) - 0.5)

    return score


def _of_plan(_rng: Random, columns: Columns) -> np.ndarray:
    chance = {"a": 0.2, "b": 0.4, "c": 0.6}
    return np.array(
        [
            chance[plan] + 0.05 * value
            for plan, value in zip(columns["plan"], columns["discount"], strict=True)
        ]
    )


STILL = (
    Still("booleans", (_category("vip"), _number("member")), _booleans, _by("vip", 0.5, 0.5), spelled=True),
    Still("atoms", (_category("plan"), _number("discount")), _atoms, _of_plan, jitter=True),
    Still("heavy-tails", (_number("amount"), _number("balance"), _number("pause")), _heavy, _by("amount", 20, 40)),
    Still("many-categories", (_category("shop"), _category("zip")), _many, _beta),
    Still("missing", (_number("income"), _category("town"), _number("rare")), _missing, _by("income", 40, 12)),
    Still("integers", (_number("calls"), _number("hour"), _category("tier")), _integers, _by("calls", 1.2, 1)),
    Still(
        "near-constant",
        (_number("pressure"), _number("errors"), _category("country"), _number("version")),
        _near_constant,
        _by("errors", 0, 0.5),
    ),
    Still("restless", (_number("temp"), _category("side")), _restless, _by("temp", 0, 1)),
    Still("regulars", (_number("age"), _category("city")), _regulars, _by("age", 40, 15)),
    Still(
        "uneven",
        (_number("value"), _category("kind")),
        _plain,
        _by("value", 0, 1),
        rows=lambda rng: int(rng.integers(120, 900)),
    ),
)  # fmt: skip


def document(still: Still) -> dict[str, Any]:
    """Its file, with the defaults of monitoring but for the size of a window."""
    return {
        "apiVersion": "capstan.dev/v1alpha1",
        "kind": "MLSystem",
        "metadata": {"name": still.name},
        "spec": {
            "objective": {"task": "BinaryClassification", "target": "bad"},
            "data": {
                "sources": [{"name": "rows", "csv": {"path": "rows.csv", "timeColumn": "at"}}],
                "keys": {"id": "id", "time": "at"},
                "label": {"column": "bad", "availableAt": "known_at", "maximumDelay": "1d"},
            },
            "features": list(still.features),
            "training": {"candidates": [{"name": "linear", "logisticRegression": {}}]},
            "monitoring": {"window": {"duration": "7d", "minRows": 100}},
        },
    }


@dataclass(frozen=True)
class Lived:
    """What a year said."""

    alarms: Counter[str]
    """How often each alert began."""
    longest: int
    """Weeks for which the longest of them held."""
    judged: int
    """Drift windows that were judged."""


def live(still: Still, folder: Path, *, seed: int) -> Lived:
    """A year of the system; the folder gets its record."""
    rng = np.random.default_rng([seed, *still.name.encode()])
    system = parse(document(still), base_dir=folder)
    home = folder / "systems" / still.name
    for name in ("payloads", "labels", "monitor"):
        (home / name).mkdir(parents=True)
    (home / "spec.json").write_bytes(orjson.dumps(document(still)))
    model = _model(still, system, folder / "model", rng)
    _serve(still, Intake(folder / "collector", folder / "systems"), rng)
    target = {"version": "v1", "model_dir": str(model), "since": SINCE.isoformat()}
    (home / "monitor" / "target.json").write_bytes(orjson.dumps(target))
    watcher = Watcher(system, home, detectors="Scipy")
    alarms: Counter[str] = Counter()
    held: set[str] = set()
    weeks: Counter[str] = Counter()
    for week in range(YEAR + 1):
        now = set(watcher.advance(SINCE + week * WEEK + timedelta(days=2)).alerts)
        alarms.update(now - held)
        weeks.update(now)
        held = now
    judged = sum(told["has_enough_rows"] for told in watcher.checkpoint.told)
    return Lived(alarms, max(weeks.values(), default=0), judged)


def _model(still: Still, system: MLSystem, folder: Path, rng: Random) -> Path:
    weeks = [still.week(rng, still.rows(rng)) for _ in range(TRAINED)]
    columns: Columns = {name: [value for week in weeks for value in week[name]] for name in weeks[0]}
    times = [
        SINCE - (TRAINED - number) * WEEK + WEEK * (row / len(rows))
        for number, week in enumerate(weeks)
        for rows in [next(iter(week.values()))]
        for row in range(len(rows))
    ]
    scores = still.score(rng, columns)
    table = pa.table(
        {
            "at": pa.array(times, pa.timestamp("us", tz="UTC")),
            **{name: pa.array(v) for name, v in columns.items()},
        }
    )
    folder.mkdir()
    fitted_detectors.save(
        fitted_detectors.fit(table, system, predictions=Predictions({"probability": scores})),
        folder / "detectors",
    )
    test = np.array([moment >= SINCE - 2 * WEEK for moment in times])
    days = np.array([(moment - SINCE).days for moment in times])[test]
    truth = rng.random(test.sum()) < scores[test]
    metric = task_of(system.spec).metrics["rocAuc"]
    found = measure(metric, truth, Predictions({"probability": scores[test]}), days)
    told = {"metrics": {"rocAuc": found.value}, "standard_errors": {"rocAuc": found.standard_error}}
    (folder / "manifest.json").write_bytes(orjson.dumps(told))
    return folder


def _serve(still: Still, intake: Intake, rng: Random) -> None:
    number = 0
    for week in range(YEAR):
        rows = still.rows(rng)
        columns = still.week(rng, rows)
        scores = still.score(rng, columns)
        truth = rng.random(rows) < scores
        payloads, labels = [], []
        for row in range(rows):
            number += 1
            moment = SINCE + week * WEEK + WEEK * (row / rows)
            score = float(scores[row])
            inputs = {name: values[row] for name, values in columns.items()}
            if still.jitter:
                score = math.nextafter(score, 0.0)
                inputs = {k: math.nextafter(v, 0.0) if type(v) is float else v for k, v in inputs.items()}
            data = {
                "request_id": f"r{number}", "version": "v1", "role": "champion", "attempt": 1, "row": 0,
                "event_time": moment.isoformat(), "entity_id": f"e{number}", "status": 200,
                "latency_seconds": 0.01, "outputs": {"probability": score}, "nonfinite": False, "inputs": inputs,
            }  # fmt: skip
            if still.spelled:
                inputs = {name: _SPELLINGS[value][number % 4] for name, value in inputs.items()}
            payloads.append({"id": f"b-{number}", "source": f"/capstan/{still.name}/v1", "data": data})
            known = (moment + timedelta(hours=2)).isoformat()
            labels.append({"id": f"e{number}", "label": bool(truth[row]), "availableAt": known})
        intake.receive(None, body(payloads), WALL)
        intake.feedback(orjson.dumps({"system": still.name, "labels": labels}), WALL, system=None)
    intake.flush()
    intake.close()
