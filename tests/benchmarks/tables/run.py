"""Twelve tables that packages ship, each by the commands that somebody new would type: `init` to a rollout.

What is measured of a table is kept, so that a run that was cut off goes on; `--again` measures anew. Tables are taken
one after another. `--write` makes the tables of platform/docs/twelve-tables.md.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import psutil
from catalogue import CACHE, TABLES, Table, fetched
from pages import write_page

PATIENCE_SECONDS = 900
"""For one thing that the running system is waited for."""
MOST_ROWS = 500
"""Rows of a table that are predicted and labelled by hand."""
RATE = 40
FIRST_PORT = 27411


@dataclass
class Cost:
    """What a command took."""

    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    code: int = 0
    text: str = ""


class Place:
    """The folder of one table, and the commands that are run in it."""

    patience_seconds: float = PATIENCE_SECONDS

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.page_port, self.gateway_port = port, port + 1
        self.log = folder / "up.log"
        self.supervisor: subprocess.Popen[bytes] | None = None
        self.environment = {
            **os.environ,
            "CAPSTAN_STATE": str(folder / ".capstan"),
            "PATH": os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])),
            "COLUMNS": "200",
        }

    def run(self, *words: str) -> Cost:
        """The command to its end; its CPU seconds are those of it and its children."""
        before, began = _of_children(), time.monotonic()
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return Cost(time.monotonic() - began, _of_children() - before, done.returncode, done.stdout)

    def up(self, file: str) -> Cost:
        """Until a model serves, or the first training failed."""
        began = time.monotonic()
        words = (
            "capstan",
            "up",
            file,
            *("--page-port", str(self.page_port)),
            *("--gateway-port", str(self.gateway_port)),
        )
        with self.log.open("wb") as log:
            self.supervisor = subprocess.Popen(
                words, cwd=self.folder, env=self.environment, stdout=log, stderr=subprocess.STDOUT
            )
        text = self.told(r"serves; ask it|TrainingFailed|^error")
        code = 0 if "serves; ask it" in text else 1
        return Cost(time.monotonic() - began, self.cpu_seconds(), code, text)

    def told(self, pattern: str) -> str:
        """What `up` has printed once it has printed the pattern, has ended, or patience is over."""
        deadline = time.monotonic() + self.patience_seconds
        while True:
            text = self.log.read_text(errors="replace")
            ended = self.supervisor is None or self.supervisor.poll() is not None
            if re.search(pattern, text, re.MULTILINE) or ended or time.monotonic() > deadline:
                return text
            time.sleep(0.25)

    def cpu_seconds(self) -> float:
        """Of the supervisor, of all that it started and of what has ended below them."""
        if self.supervisor is None or self.supervisor.poll() is not None:
            return 0.0
        top = psutil.Process(self.supervisor.pid)
        total = 0.0
        for process in (top, *top.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.Error:
                continue
            total += times.user + times.system + times.children_user + times.children_system
        return total

    def down(self) -> Cost:
        """By the verb, whatever runs."""
        cost = self.run("capstan", "down")
        if self.supervisor is not None:
            self.supervisor.wait(timeout=120)
        return cost


def measure(table: Table, port: int) -> dict[str, Any]:
    """All that is told of one table."""
    folder = CACHE / "runs" / table.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / table.file).write_bytes(fetched(table))
    place, found = Place(folder, port), dict[str, Any]()
    options = ["--by-requests"] if table.by_requests else []
    found["init"] = _kept(place.run("capstan", "init", table.file, "--target", table.target, *options))
    found["guesses"] = [line for line in found["init"]["text"].splitlines() if re.match(r"[\w.]+: ", line)]
    if found["init"]["code"]:
        return found
    try:
        found["up"] = _kept(place.up("system.yaml"))
        found["first"] = _first_version(found["up"]["text"])
        if found["up"]["code"]:
            return found
        rows = _first_rows(folder, table.file)
        found["predict"] = _kept(place.run("capstan", "predict", "system.yaml", rows, "--out", "answers.csv"))
        labels = _labels(folder, table, rows)
        found["feedback"] = _kept(place.run("capstan", "feedback", "system.yaml", labels))
        found["rollout"] = _rollout(place, table)
        found["fuzz"] = _kept(
            place.run(sys.executable, str(Path(__file__).with_name("asked.py")), ".", str(place.gateway_port))
        )
    finally:
        found["down"] = _kept(place.down())
    return found


def _rollout(place: Place, table: Table) -> dict[str, Any]:
    """A second training, and what its rollout came to while `capstan traffic` stands in for users.

    Where its labels are mixed up, users go on sending the rows as they were, with true labels.
    """
    users: tuple[str, ...] = ()
    if table.mixed_up:
        users = ("users.csv",)
        shutil.copyfile(place.folder / table.file, place.folder / users[0])
        _mix_up(place.folder / table.file, table.target)
    cpu, began = place.cpu_seconds(), time.monotonic()
    asked = place.run("capstan", "retrain", "--note", "a second version")
    place.told(r" RolloutStarted v2| TrainingFailed| NotPromoted")
    trained = time.monotonic() - began
    with (place.folder / "traffic.log").open("w") as log, _traffic(place, log, users):
        text = place.told(r" (Promoted v2|RolledBack v2|StepHeld|TrainingFailed|NotPromoted)\b")
    wall, used = time.monotonic() - began, place.cpu_seconds() - cpu
    return {
        "asked": _kept(asked),
        "training_seconds": round(trained, 1),
        "wall_seconds": round(wall, 1),
        "cpu_seconds": round(used, 1),
        "story": [line for line in text.splitlines() if re.match(r"\d{4}-\d\d-\d\d \d\d:\d\dZ ", line)],
        "traffic": (place.folder / "traffic.log").read_text().strip().splitlines()[-3:],
    }


@contextmanager
def _traffic(place: Place, log: TextIO, users: tuple[str, ...]) -> Any:
    options = ("--rate", str(RATE), "--feedback", "--label-delay", "2s")
    words = ("capstan", "traffic", "system.yaml", *users, *options)
    traffic = subprocess.Popen(
        words, cwd=place.folder, env=place.environment, stdout=log, stderr=subprocess.STDOUT
    )
    try:
        yield
    finally:
        traffic.send_signal(2)
        traffic.wait(timeout=60)


def _mix_up(file: Path, target: str) -> None:
    """Give each row the label of another, as a join by the wrong key does."""
    with file.open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    labels = [row[target] for row in rows]
    random.Random(7).shuffle(labels)
    with file.open("w", encoding="utf-8", newline="") as table:
        writer = csv.DictWriter(table, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, target: label} for row, label in zip(rows, labels, strict=True))


def _first_rows(folder: Path, file: str) -> str:
    """A table of the first rows, as it is written."""
    records = io.StringIO((folder / file).read_text(encoding="utf-8"))
    lines = records.readlines()
    (folder / "rows.csv").write_text("".join(lines[: MOST_ROWS + 1]), encoding="utf-8")
    return "rows.csv"


def _labels(folder: Path, table: Table, rows: str) -> str:
    """The answers with the column of labels, as the docs say; where the file names an id the rows are labels enough."""
    if re.search(r"^ +keys: .*\bid: ", (folder / "system.yaml").read_text(), re.MULTILINE):
        return rows
    answers = folder / "answers.csv"
    if not answers.exists():
        return rows
    with (folder / rows).open(encoding="utf-8", newline="") as file:
        text = file.read()
        delimiter = max(",;\t|", key=text.splitlines()[0].count)
        quote = "'" if text.startswith("'") else '"'
        told = csv.DictReader(io.StringIO(text), delimiter=delimiter, quotechar=quote)
        truths = [row.get(table.target) for row in told]
    with answers.open(encoding="utf-8", newline="") as file:
        found = list(csv.DictReader(file))
    with (folder / "outcomes.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["request_id", table.target])
        for row in found:
            writer.writerow([row["request_id"], truths[int(row["row"]) - 1]])
    return "outcomes.csv"


def _first_version(text: str) -> str:
    found = re.search(r"TrainingSucceeded (v1 .*)", text)
    return found.group(1) if found else ""


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _kept(cost: Cost) -> dict[str, Any]:
    return {
        "wall_seconds": round(cost.wall_seconds, 1),
        "cpu_seconds": round(cost.cpu_seconds, 1),
        "code": cost.code,
        "text": cost.text[-20_000:],
    }


def results() -> dict[str, Mapping[str, Any]]:
    """What is known of each table."""
    folder = CACHE / "results"
    return {
        one.name: json.loads(path.read_text())
        for one in TABLES
        if (path := folder / f"{one.name}.json").exists()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the tables that are not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="Names of tables, with commas between.")
    parser.add_argument("--again", action="store_true", help="Measure what is known too.")
    parser.add_argument(
        "--port", type=int, default=FIRST_PORT, help="Of the page; the gateway has the next one."
    )
    parser.add_argument(
        "--patience", type=float, default=PATIENCE_SECONDS, help="Seconds for one thing that is waited for."
    )
    parser.add_argument(
        "--write", action="store_true", help="Write the tables of the docs from what is known."
    )
    options = parser.parse_args(arguments)
    Place.patience_seconds = options.patience
    wanted = options.only.split(",") if options.only else [one.name for one in TABLES]
    if unknown := set(wanted) - {one.name for one in TABLES}:
        parser.error(
            f"--only: {', '.join(sorted(unknown))} is none of {', '.join(one.name for one in TABLES)}"
        )
    for table in TABLES:
        if table.name not in wanted or (table.name in results() and not options.again):
            continue
        load = os.getloadavg()[0]
        print(f"{table.name}: load {load:.1f}", flush=True)
        found = {**measure(table, options.port), "load": [load, os.getloadavg()[0]]}
        (CACHE / "results").mkdir(parents=True, exist_ok=True)
        (CACHE / "results" / f"{table.name}.json").write_text(json.dumps(found, indent=1))
        print(f"{table.name}: {_in_short(found)}", flush=True)
    if options.write:
        write_page(results())
    return 0


def _in_short(found: Mapping[str, Any]) -> str:
    parts = []
    for step in ("init", "up", "predict", "feedback", "rollout", "fuzz", "down"):
        if step in found:
            one = found[step]
            parts.append(
                f"{step} {one['wall_seconds']:.0f} s ({one['cpu_seconds']:.0f} CPU) rc {one.get('code', '')}"
            )
    story = found.get("rollout", {}).get("story", [])
    return "; ".join(parts) + (f"; {story[-1][:150]}" if story else "")


if __name__ == "__main__":
    sys.exit(main())
