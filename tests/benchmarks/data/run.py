"""Ten million flights from Parquet to boosted trees: Capstan's steps beside pandas, DuckDB, Polars, PySpark and others.

Each stage of each contender is a process of its own. Progress goes to stderr, the table to stdout.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table
from ruamel.yaml import YAML

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import one
from peers import environment

from capstan.domain.training import TrainingRequest
from capstan.domain.triggers import Trigger, TriggerKind
from capstan.domain.versions import RunName, SystemName
from capstan.training.job import Places, write_job

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parents[2] / "examples" / "flight-delays"
COPIES, QUICK = 31, 1
MEMORY = "3Gi"
OWN = ("capstan", "duckdb", "scikit-learn")
"""Contenders that need no environment of their own."""


def main() -> int:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="336,776 rows, for trying the benchmark itself.")
    parser.add_argument(
        "--copies", type=int, default=COPIES, help="How many times over the flights are taken."
    )
    parser.add_argument("--only", default=",".join(dict.fromkeys(name for name, _ in one.STAGES)))
    parser.add_argument("--stages", default="extract,check,split,transform,train")
    parser.add_argument("--json", type=Path, help="Where the figures are kept, too.")
    parser.add_argument("--seconds", type=int, default=3600, help="After which a stage is ended.")
    options = parser.parse_args()
    names, stages = options.only.split(","), options.stages.split(",")
    if unknown := set(names) - {name for name, _ in one.STAGES}:
        parser.error(
            f"--only: {', '.join(sorted(unknown))} is none of {', '.join({name for name, _ in one.STAGES})}"
        )
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="capstan-data-") as scratch:
        folder = Path(scratch)
        prepare(folder, QUICK if options.quick else options.copies)
        for name, stage in one.STAGES:
            if stage == "keep" or name not in names or stage not in stages:
                continue
            found.append(
                {"contender": name, "stage": stage, **measured(name, stage, folder, options.seconds)}
            )
            print(json.dumps(found[-1]), file=sys.stderr, flush=True)
            if (name, stage) == ("capstan", "split") and "train" in stages and "failed" not in found[-1]:
                keep_matrix(folder)
            if options.json is not None:
                options.json.write_text(json.dumps(found, indent=1))
    show(found)
    return 0


def prepare(folder: Path, copies: int) -> None:
    """The tables of the example, flights many times over with ids of their own, and a job as a training has it."""
    import duckdb

    data = EXAMPLE / "data"
    if not (data / "flights.parquet").exists():
        subprocess.run([sys.executable, str(EXAMPLE / "prepare.py")], check=True)
    began = time.monotonic()
    for name in ("weather.parquet", "planes.csv"):
        (folder / name).write_bytes((data / name).read_bytes())
    with duckdb.connect() as connection:
        connection.execute(
            f"set memory_limit = '2GB'; set preserve_insertion_order = false; copy (select flights.* replace "
            f"(flight_id || '-' || copy as flight_id) from '{data}/flights.parquet' as flights cross join "
            f"range({copies}) as copies(copy)) to '{folder}/flights.parquet' (format parquet, row_group_size 100_000)"
        )
    document = json.loads(
        json.dumps(YAML(typ="safe").load((EXAMPLE / "system.yaml").read_text()), default=str)
    )
    for source in document["spec"]["data"]["sources"]:
        for kind in ("parquet", "csv"):
            if kind in source:
                source[kind]["path"] = Path(source[kind]["path"]).name
    trees = {"learningRate": 0.1, "iterations": 100, "leaves": 15}
    document["spec"]["training"] |= {
        "threads": one.THREADS,
        "candidates": [
            {"name": "baseline", "mostFrequent": {}},
            {"name": "trees", "gradientBoosting": trees},
        ],
        "resources": {"requests": {"cpu": str(one.THREADS), "memory": MEMORY}},
    }
    at = datetime.fromisoformat(one.AS_OF).astimezone(UTC)
    request = TrainingRequest(
        RunName("run"),
        SystemName(document["metadata"]["name"]),
        Trigger(TriggerKind.INITIAL, at, "a benchmark"),
        None,
    )
    places = Places(str(folder), str(folder / "secrets"), "", "", str(folder / "bentos"))
    write_job(folder / "job", request=request, spec=document, places=places, champion=None)
    print(f"the tables are made in {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)


def keep_matrix(folder: Path) -> None:
    """Rows and labels as Capstan's transform gives them to its trees, for the bare libraries."""
    subprocess.run(
        [sys.executable, str(HERE / "one.py"), "capstan", "keep", str(folder)], check=True, stdout=sys.stderr
    )


def measured(name: str, stage: str, folder: Path, seconds: int) -> dict[str, Any]:
    """What the stage took, or what ended it."""
    python = sys.executable if name in OWN else str(environment(name) / "python")
    try:
        ran = subprocess.run(
            [python, str(HERE / "one.py"), name, stage, str(folder)],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"ended after {seconds} s"}
    if ran.returncode:
        lines = ran.stderr.strip().splitlines()
        return {"failed": lines[-1][:200] if lines else f"exit code {ran.returncode}"}
    return {**json.loads(ran.stdout.strip().splitlines()[-1]), "load": psutil.getloadavg()[0]}


def show(found: list[dict[str, Any]]) -> None:
    """One line for each stage of each contender."""
    table = Table("stage", "contender", "rows", "seconds", "processor seconds", "peak GiB", "load")
    for stage in dict.fromkeys(each["stage"] for each in found):
        for each in (each for each in found if each["stage"] == stage):
            if "failed" in each:
                table.add_row(stage, each["contender"], each["failed"])
                continue
            table.add_row(
                stage,
                each["contender"],
                f"{each['rows']:,}",
                f"{each['seconds']:.1f}",
                f"{each['processor_seconds']:.1f}",
                f"{each['peak_bytes'] / 2**30:.2f}",
                f"{each['load']:.1f}",
            )
    Console(width=110).print(table)


if __name__ == "__main__":
    sys.exit(main())
