"""One contender at one stage of the table, in this process alone; prints seconds, processor time and memory as JSON.

It stands alone: each peer runs it by the Python of its own environment. `python one.py CONTENDER STAGE FOLDER`.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

AS_OF = "2014-01-03 05:00:00+00"
NUMBERS = (
    *(
        "distance",
        "day_of_week",
        "sched_dep_minute",
        "sched_arr_minute",
        "block_minutes",
        "temp",
        "dewp",
        "humid",
    ),
    *("wind_dir", "wind_speed", "precip", "pressure", "visib", "plane_age", "seats"),
)
CATEGORIES = ("carrier", "origin", "dest")
JOINED = """
select flight_id, scheduled_departure, actual_arrival, late, tailnum, carrier, origin, dest, distance,
  day_of_week, sched_dep_minute, sched_arr_minute, block_minutes, temp, dewp, humid, wind_dir,
  case when wind_speed < 150 then wind_speed end as wind_speed, precip, pressure, visib,
  year(scheduled_departure) - built as plane_age, seats
from flights left join weather using (origin, time_hour) left join planes using (tailnum)
"""
THREADS = 2
EXTRACTED = "extracted.parquet"


def main() -> None:
    """Run the stage and print one line."""
    contender, stage, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    began = time.perf_counter()
    with watched_memory() as peak:
        rows = STAGES[contender, stage](folder)
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(
        json.dumps(
            {
                "rows": rows,
                "seconds": time.perf_counter() - began,
                "processor_seconds": used.ru_utime + used.ru_stime + peak["child_seconds"],
                "peak_bytes": peak["bytes"],
            }
        )
    )


@contextmanager
def watched_memory() -> Iterator[dict[str, float]]:
    """The most anonymous memory of this process and its children together, looked at every 50 ms.

    Pages of mapped files are not counted: the system takes them back as it needs them.
    """
    import threading

    import psutil

    own, found, ended = psutil.Process(), {"bytes": 0, "child_seconds": 0.0}, threading.Event()

    def look() -> None:
        while not ended.wait(0.05):
            total, seconds = 0, 0.0
            for one in (own, *own.children(recursive=True)):
                try:
                    memory = one.memory_info()
                    total += memory.rss - memory.shared
                    if one is not own:
                        times = one.cpu_times()
                        seconds += times.user + times.system
                except psutil.Error:
                    continue
            found["bytes"] = max(found["bytes"], total)
            found["child_seconds"] = max(found["child_seconds"], seconds)

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield found
    finally:
        ended.set()
        watching.join()


# -- Capstan: its own steps


def capstan_extract(folder: Path) -> int:
    from capstan_pipelines.steps import extract

    extract.run(str(folder / "job"), str(folder / "table"))
    return _arrow_rows(folder / "table")


def capstan_check(folder: Path) -> int:
    from capstan_pipelines.steps import check

    check.run(str(folder / "job"), str(folder / "table"), str(folder / "report"))
    return _arrow_rows(folder / "table")


def capstan_split(folder: Path) -> int:
    from capstan_pipelines.steps import split

    split.run(str(folder / "job"), str(folder / "table"), str(folder / "cases"))
    return _arrow_rows(folder / "cases" / "cases.arrow")


def capstan_transform(folder: Path) -> int:
    return int(_prepared(folder).matrix.shape[0])


def capstan_keep(folder: Path) -> int:
    """The matrix and the labels for the bare libraries."""
    import numpy as np

    lesson = _prepared(folder)
    np.save(folder / "matrix.npy", lesson.matrix)
    np.save(folder / "truth.npy", lesson.truth)
    return len(lesson.truth)


def _prepared(folder: Path) -> Any:
    """What the trees learn from."""
    from capstan.training.cases import Cases
    from capstan.training.job import Job
    from capstan.training.preparing import prepare
    from capstan_pipelines.steps.cases import Parted

    job = Job(folder / "job")
    parted = Parted.read(folder / "cases")
    (model,) = job.system.spec.planned_models
    train = Cases.of_model(parted.rows(parted.training), job.system, model)
    return prepare(model.features, train, seed=job.seed).lesson


def capstan_train(folder: Path) -> int:
    from capstan_pipelines.steps import fit
    from capstan_pipelines.steps.cases import Parted

    fit.run(str(folder / "job"), "trees", str(folder / "cases"), str(folder / "fit"))
    return len(Parted.read(folder / "cases").training)


def _arrow_rows(path: Path) -> int:
    import pyarrow as pa

    return int(pa.ipc.open_file(pa.memory_map(str(path))).read_all().num_rows)


# -- peers


def _duckdb(folder: Path) -> Any:
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"set threads = {THREADS}; set memory_limit = '1800MB'; set TimeZone = 'UTC'")
    connection.execute(f"set temp_directory = '{folder / 'spilled'}'")
    return connection


def duckdb_extract(folder: Path) -> int:
    connection = _duckdb(folder)
    connection.execute(f"create view flights as from '{folder}/flights.parquet'")
    connection.execute(f"create view weather as from '{folder}/weather.parquet'")
    connection.execute(f"create view planes as from '{folder}/planes.csv'")
    connection.execute(
        f"copy (select * from ({JOINED}) where scheduled_departure <= timestamptz '{AS_OF}' "
        f"order by scheduled_departure, flight_id) to '{folder}/{EXTRACTED}' (format parquet)"
    )
    return int(connection.execute(f"select count(*) from '{folder}/{EXTRACTED}'").fetchone()[0])


def duckdb_transform(folder: Path) -> int:
    connection = _duckdb(folder)
    connection.execute(f"create view cases as from '{folder}/{EXTRACTED}'")
    scaled = [
        f"cast((coalesce({name}, m_{name}) - m_{name}) / d_{name} as float) as {name}" for name in NUMBERS
    ]
    codes = [f"cast(list_position(l_{name}, {name}) as float) as {name}" for name in CATEGORIES]
    facts = [f"avg({name}) as m_{name}, greatest(stddev_pop({name}), 1e-9) as d_{name}" for name in NUMBERS]
    lists = [f"list_sort(list(distinct {name})) as l_{name}" for name in CATEGORIES]
    connection.execute(f"create table facts as select {', '.join((*facts, *lists))} from cases")
    rows = 0
    for batch in connection.sql(f"select {', '.join((*scaled, *codes))} from cases, facts").to_arrow_reader(
        100_000
    ):
        rows += batch.num_rows
    return rows


def polars_extract(folder: Path) -> int:
    import polars as pl

    weather = pl.scan_parquet(folder / "weather.parquet")
    planes = pl.scan_csv(folder / "planes.csv").select("tailnum", "built", "seats")
    cases = (
        pl.scan_parquet(folder / "flights.parquet")
        .join(weather, on=["origin", "time_hour"], how="left")
        .join(planes, on="tailnum", how="left")
        .with_columns(
            pl.when(pl.col("wind_speed") < 150).then(pl.col("wind_speed")).alias("wind_speed"),
            (pl.col("scheduled_departure").dt.year() - pl.col("built")).alias("plane_age"),
        )
        .filter(pl.col("scheduled_departure") <= pl.lit(AS_OF[:19]).str.to_datetime(time_zone="UTC"))
        .select(
            "flight_id", "scheduled_departure", "actual_arrival", "late", "tailnum", *CATEGORIES, *NUMBERS
        )
        .sort("scheduled_departure", "flight_id")
    )
    cases.sink_parquet(folder / EXTRACTED)
    return int(pl.scan_parquet(folder / EXTRACTED).select(pl.len()).collect().item())


def polars_transform(folder: Path) -> int:
    import polars as pl

    cases = pl.scan_parquet(folder / EXTRACTED)
    means = {name: pl.col(name).mean() for name in NUMBERS}
    scaled = [
        ((pl.col(name).fill_null(mean) - mean) / pl.col(name).std(ddof=0)).cast(pl.Float32)
        for name, mean in means.items()
    ]
    codes = [pl.col(name).rank("dense").cast(pl.Float32) for name in CATEGORIES]
    return int(cases.select(*scaled, *codes).collect(engine="streaming").height)


def pandas_extract(folder: Path) -> int:
    import pandas as pd

    cases = pd.read_parquet(folder / "flights.parquet")
    cases = cases.merge(pd.read_parquet(folder / "weather.parquet"), on=["origin", "time_hour"], how="left")
    planes = pd.read_csv(folder / "planes.csv")[["tailnum", "built", "seats"]]
    cases = cases.merge(planes, on="tailnum", how="left")
    cases["wind_speed"] = cases["wind_speed"].where(cases["wind_speed"] < 150)
    cases["plane_age"] = cases["scheduled_departure"].dt.year - cases["built"]
    cases = cases[cases["scheduled_departure"] <= pd.Timestamp(AS_OF)]
    kept = ["flight_id", "scheduled_departure", "actual_arrival", "late", "tailnum", *CATEGORIES, *NUMBERS]
    cases = cases[kept].sort_values(["scheduled_departure", "flight_id"])
    cases.to_parquet(folder / EXTRACTED)
    return len(cases)


def pandas_transform(folder: Path) -> int:
    import numpy as np
    import pandas as pd

    cases = pd.read_parquet(folder / EXTRACTED, columns=[*NUMBERS, *CATEGORIES])
    numbers = cases[list(NUMBERS)].astype("float32")
    scaled = (numbers.fillna(numbers.mean()) - numbers.mean()) / numbers.std(ddof=0)
    codes = [pd.Categorical(cases[name]).codes for name in CATEGORIES]
    return int(np.column_stack([scaled.to_numpy(), *codes]).astype("float32").shape[0])


def spark_extract(folder: Path) -> int:
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master(f"local[{THREADS}]")
        .config("spark.driver.memory", "2g")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.local.dir", str(folder / "spilled"))
        .getOrCreate()
    )
    session.read.parquet(str(folder / "flights.parquet")).createOrReplaceTempView("flights")
    session.read.parquet(str(folder / "weather.parquet")).createOrReplaceTempView("weather")
    planes = session.read.csv(str(folder / "planes.csv"), header=True, inferSchema=True)
    planes.createOrReplaceTempView("planes")
    cases = session.sql(
        f"select * from ({JOINED}) where scheduled_departure <= timestamp '{AS_OF}' "
        "order by scheduled_departure, flight_id"
    )
    cases.write.mode("overwrite").parquet(str(folder / "extracted-by-spark"))
    return int(session.read.parquet(str(folder / "extracted-by-spark")).count())


def _matrix(folder: Path) -> Any:
    """The training rows as Capstan's transform gives them to its trees, made before the watch begins to matter."""
    import numpy as np

    return np.load(folder / "matrix.npy", mmap_mode="r"), np.load(folder / "truth.npy")


def sklearn_train(folder: Path) -> int:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    matrix, truth = _matrix(folder)
    with threadpool_limits(THREADS):
        model = HistGradientBoostingClassifier(
            max_iter=100, max_leaf_nodes=15, learning_rate=0.1, early_stopping=False, random_state=7
        )
        model.fit(matrix, truth)
    return len(truth)


def lightgbm_train(folder: Path) -> int:
    import lightgbm

    matrix, truth = _matrix(folder)
    settings = {
        "objective": "binary",
        "num_leaves": 15,
        "learning_rate": 0.1,
        "num_threads": THREADS,
        "verbose": -1,
    }
    lightgbm.train(settings, lightgbm.Dataset(matrix, truth), num_boost_round=100)
    return len(truth)


STAGES: dict[tuple[str, str], Callable[[Path], int]] = {
    ("capstan", "extract"): capstan_extract,
    ("capstan", "check"): capstan_check,
    ("capstan", "split"): capstan_split,
    ("capstan", "transform"): capstan_transform,
    ("capstan", "keep"): capstan_keep,
    ("capstan", "train"): capstan_train,
    ("duckdb", "extract"): duckdb_extract,
    ("duckdb", "transform"): duckdb_transform,
    ("polars", "extract"): polars_extract,
    ("polars", "transform"): polars_transform,
    ("pandas", "extract"): pandas_extract,
    ("pandas", "transform"): pandas_transform,
    ("pyspark", "extract"): spark_extract,
    ("scikit-learn", "train"): sklearn_train,
    ("lightgbm", "train"): lightgbm_train,
}

if __name__ == "__main__":
    main()
