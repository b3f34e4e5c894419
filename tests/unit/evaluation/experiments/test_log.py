"""A log becomes units, each once; what cannot be one is refused by column, value and way out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capstan.errors import CapstanError, InvalidDataError
from capstan.evaluation.experiments.columns import Aggregate, Block, Crossed, LogColumns, Missing
from capstan.evaluation.experiments.log import read_units
from capstan.evaluation.experiments.units import SEVERAL, Units

HEADER = "unit,arm,value,at"


def written(folder: Path, *rows: str, header: str = HEADER) -> LogColumns:
    path = folder / "log.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return LogColumns(path, "unit", "arm", ("value",))


def outcomes(units: Units) -> list[tuple[str, float | None]]:
    return [
        (units.arms[place], None if np.isnan(value) else float(value))
        for place, value in zip(units.arm, units.metrics["value"], strict=True)
    ]


def test_units_are_in_the_order_of_their_names(tmp_path: Path) -> None:
    log = written(
        tmp_path, "u2,control,2,2026-01-01", "u1,treatment,1.5,2026-01-02", "u3,control,,2026-01-01"
    )
    units = read_units(log)
    assert outcomes(units) == [("treatment", 1.5), ("control", 2.0), ("control", None)]
    assert (units.rows, units.count, units.blocks) == (3, 3, ())


def test_unit_without_an_outcome_may_count_as_zero(tmp_path: Path) -> None:
    log = written(tmp_path, "u1,control,,2026-01-01", "u2,treatment,1,2026-01-01")
    assert outcomes(read_units(replace(log, missing=Missing.ZERO))) == [("control", 0.0), ("treatment", 1.0)]


def test_true_and_false_are_one_and_zero(tmp_path: Path) -> None:
    log = written(tmp_path, "u1,control,true,2026-01-01", "u2,treatment,False,2026-01-01")
    assert outcomes(read_units(log)) == [("control", 1.0), ("treatment", 0.0)]


def test_repeated_row_is_one_row_also_in_a_sum(tmp_path: Path) -> None:
    log = written(tmp_path, "u1,control,2,2026-01-01", "u1,control,2,2026-01-01", "u2,treatment,1,2026-01-01")
    for aggregate in Aggregate:
        assert outcomes(read_units(replace(log, time="at", aggregate=aggregate)))[0] == ("control", 2.0)


def test_events_that_look_alike_are_told_apart_by_their_column(tmp_path: Path) -> None:
    log = written(
        tmp_path,
        "u1,control,2,e1",
        "u1,control,2,e2",
        "u1,control,2,e2",
        "u2,treatment,1,e1",
        header="unit,arm,value,id",
    )
    assert outcomes(read_units(replace(log, event="id", aggregate=Aggregate.SUM)))[0] == ("control", 4.0)


@pytest.mark.parametrize(
    ("aggregate", "value"), [(Aggregate.SUM, 6.0), (Aggregate.MEAN, 2.0), (Aggregate.MAX, 3.0)]
)
def test_rows_of_a_unit_become_one_outcome(tmp_path: Path, aggregate: Aggregate, value: float) -> None:
    log = written(
        tmp_path, *(f"u1,control,{one},2026-01-0{one}" for one in (1, 2, 3)), "u2,treatment,1,2026-01-01"
    )
    assert outcomes(read_units(replace(log, aggregate=aggregate)))[0] == ("control", value)


def test_unit_enters_in_the_block_of_its_first_row_by_the_days_of_the_zone(tmp_path: Path) -> None:
    log = written(
        tmp_path,
        "u1,control,1,2026-01-01T23:30:00Z",
        "u1,control,1,2026-01-05T00:00:00Z",
        "u2,treatment,1,2026-01-01T10:00:00Z",
    )
    units = read_units(replace(log, time="at", zone="Europe/Berlin"))
    assert [f"{block:%m-%d}" for block in units.blocks] == ["01-01", "01-02"]
    assert units.block is not None
    assert units.block.tolist() == [1, 0]
    assert len(read_units(replace(log, time="at"), Block.HOUR).blocks) == 2


CROSSED = (
    "u1,control,1,2026-01-01",
    "u1,treatment,1,2026-01-02",
    "u2,treatment,1,2026-01-01",
    "u3,control,1,2026-01-01",
    "u4,control,1,2026-01-01",
    "u4,treatment,1,2026-01-01",
)


def test_unit_in_two_arms_is_counted_told_and_left_out(tmp_path: Path) -> None:
    units = read_units(written(tmp_path, *CROSSED))
    assert (units.crossed, units.crossed_left_out, units.crossed_examples) == (2, 2, ("u1", "u4"))
    assert outcomes(units) == [("treatment", 1.0), ("control", 1.0)]


def test_unit_in_two_arms_may_belong_to_the_first_where_that_is_known(tmp_path: Path) -> None:
    units = read_units(replace(written(tmp_path, *CROSSED), time="at", crossed=Crossed.FIRST))
    assert (units.crossed, units.crossed_left_out) == (2, 1)
    assert outcomes(units) == [("control", 1.0), ("treatment", 1.0), ("control", 1.0)]


def test_slice_of_a_unit_that_says_two_things_is_its_own(tmp_path: Path) -> None:
    log = written(
        tmp_path,
        "u1,control,1,DE",
        "u1,control,1,FR",
        "u2,treatment,1,FR",
        "u3,control,1,",
        header="unit,arm,value,land",
    )
    names, codes = read_units(replace(log, slices=("land",))).slices["land"]
    assert [names[code] for code in codes] == [SEVERAL, "FR", "(none)"]


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "unit": [3, 1, 2],
            "arm": ["control", "treatment", "control"],
            "value": [1.0, None, 2.5],
            "at": pd.to_datetime(["2026-01-01", "2026-01-02", "2026-01-02"], utc=True),
        }
    )
    table.to_csv(tmp_path / "log.csv", index=False)
    table.to_parquet(tmp_path / "log.parquet")
    found = []
    for name in ("log.csv", "log.parquet"):
        units = read_units(LogColumns(tmp_path / name, "unit", "arm", ("value",), time="at"))
        found.append((outcomes(units), units.blocks, units.block.tolist()))  # type: ignore[union-attr]
    assert found[0] == found[1]
    assert found[0][0] == [("treatment", None), ("control", 2.5), ("control", 1.0)]


BAD: dict[str, tuple[tuple[str, ...], dict[str, Any], str]] = {
    "no rows": ((), {}, "has no rows"),
    "missing column": (
        ("u1,control,1,x",),
        {"metrics": ("revenue",)},
        "--metric: .* has no column 'revenue'; its col",
    ),
    "one arm": (("u1,control,1,x",), {}, "--arm: 'arm' holds 'control' alone"),
    "no arm": (("u1,control,1,x", "u2,,1,x"), {}, "--arm: 1 rows have no 'arm'"),
    "no unit": (("u1,control,1,x", ",treatment,1,x"), {}, "--unit: 1 rows have no 'unit'"),
    "text metric": (
        ("u1,control,1,x", "u2,treatment,many,x"),
        {},
        r"--metric: 1 values of 'value' are no finite numbers \(.*log.csv, line 3: 'many'\)",
    ),
    "NaN": (("u1,control,nan,x", "u2,treatment,1,x"), {}, "line 2: 'nan'"),
    "infinity": (("u1,control,1,x", "u2,treatment,-inf,x"), {}, "line 3: '-inf'"),
    "empty metric": (("u1,control,,x", "u2,treatment,NA,x"), {}, "'value' is empty in every row"),
    "bad time": (
        ("u1,control,1,2026-01-01", "u2,treatment,1,yesterday"),
        {"time": "at"},
        "--time: 'at' has values that are no moments .*line 3: 'yesterday'.*RFC 3339",
    ),
    "no time": (
        ("u1,control,1,2026-01-01", "u2,treatment,1,"),
        {"time": "at"},
        "--time: 1 rows have no 'at'",
    ),
    "two outcomes": (
        ("u1,control,1,x", "u1,control,2,x", "u2,treatment,1,x"),
        {},
        "1 units have several values of 'value', such as unit 'u1' with 1 and 2; .*--aggregate",
    ),
    "two covariates": (
        ("u1,control,1,1", "u1,control,1,2", "u2,treatment,1,1"),
        {"covariate": "at"},
        "--covariate: 1 units have several values of 'at'",
    ),
    "crossed": (CROSSED, {"crossed": Crossed.REFUSE}, "--arm: 2 units are in two arms, such as 'u1', 'u4'"),
    "too many arms": (
        tuple(f"u{one},arm{one},1,x" for one in range(30)),
        {},
        "--arm: 'arm' has more than 20 values",
    ),
    "too many slices": (
        tuple(f"u{one},{'ab'[one % 2]},1,x{one}" for one in range(60)),
        {"slices": ("at",)},
        "--slice: 'at' has more than 50 values",
    ),
    "broken line": (("u1,control,1,x", "u2,treatment,1,x,y"), {}, "FILE: .*log.csv, line 3: has more values"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD.keys())
def test_bad_log_is_refused_by_its_value(
    tmp_path: Path, case: tuple[tuple[str, ...], dict[str, Any], str]
) -> None:
    rows, changes, said = case
    with pytest.raises(InvalidDataError, match=said):
        read_units(replace(written(tmp_path, *rows), **changes))


def test_nan_in_parquet_is_refused_and_null_is_no_outcome(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for value in (float("nan"), float("inf")):
        table = pa.table(
            {"unit": ["a", "b"], "arm": ["control", "treatment"], "value": pa.array([value, 1.0])}
        )
        pq.write_table(table, tmp_path / "log.parquet")
        with pytest.raises(InvalidDataError, match=r"--metric: 1 values of 'value' are no finite numbers"):
            read_units(LogColumns(tmp_path / "log.parquet", "unit", "arm", ("value",)))


def test_file_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CapstanError, match="does not exist"):
        read_units(LogColumns(tmp_path / "none.csv", "unit", "arm", ("value",)))
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(CapstanError, match="not a whole Parquet file"):
        read_units(LogColumns(tmp_path / "cut.parquet", "unit", "arm", ("value",)))


ROW = st.tuples(
    st.integers(0, 8),
    st.floats(-1e6, 1e6, allow_nan=False).map(lambda value: round(value, 3)),
    st.integers(1, 9),
)


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(ROW, min_size=3, max_size=25), random=st.randoms(use_true_random=False))
def test_no_order_of_rows_and_no_repeated_row_changes_a_unit(
    tmp_path_factory: Any, rows: list[Any], random: Any
) -> None:
    lines = [f"u{unit},{'ab'[unit % 2]},{value},2026-01-0{day}" for unit, value, day in rows]
    lines += ["u0,a,0.1,2026-01-01", "u1,b,0.2,2026-01-01"]
    shuffled = lines + [random.choice(lines) for _ in range(4)]
    random.shuffle(shuffled)
    found = []
    for one in (lines, shuffled):
        log = written(tmp_path_factory.mktemp("log"), *one)
        units = read_units(replace(log, time="at", aggregate=Aggregate.SUM))
        assert units.block is not None
        found.append((outcomes(units), units.block.tolist(), units.blocks))
    assert found[0] == found[1]
