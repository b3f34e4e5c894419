"""Claims about `capstan predict --from --to`: each row of the stretch is written or refused, once, whatever happens."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from unit.cli.served_place import FILE, Place

from capstan.data import partitions
from capstan.embedded.batch import answering, predicting, spark

DATED = FILE.replace("keys: {id: flight_id}", "keys: {id: flight_id, time: departure}")
HEADER = "flight_id,departure,distance,carrier"
DAYS = ("2013-01-31", "2013-02-01", "2013-02-02", "2013-03-01")
PER_DAY = 6


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return Place(tmp_path_factory.mktemp("batch"))


@pytest.fixture
def place(made: Place) -> Place:
    """With the table of below, and nothing predicted yet."""
    for folder in (made.folder / "out", made.folder / "whole", made.state.root / "predictions"):
        shutil.rmtree(folder, ignore_errors=True)
    write(made)
    return made


def write(place: Place, change: Callable[[list[str]], object] = lambda _: None, text: str = DATED) -> None:
    """A table of four days without labels, whose last row of each day has no carrier that the model takes."""
    lines = [HEADER]
    for day in DAYS:
        for hour in range(PER_DAY):
            distance = -5 if hour == PER_DAY - 1 else 500 + hour
            lines.append(f"{day}/{hour:02d},{day}T{hour:02d}:00:00Z,{distance},{'UA' if hour % 2 else 'AA'}")
    change(lines)
    place.table("\n".join(lines) + "\n", "flights.csv")
    (place.folder / "system.yaml").write_text(text)


def run(place: Place, *options: str) -> tuple[int, dict[str, Any]]:
    wanted = ("--from", "2013-02-01", "--to", "2013-03-01", "--output", str(place.folder / "out"))
    result = place.predict(*wanted, "--json", *options)
    return result.exit_code, json.loads(result.stdout)


def rows_in(folder: Path) -> list[dict[str, Any]]:
    files = sorted(folder.glob("*.parquet"))
    return [row for file in files for row in pq.ParquetFile(file).read().to_pylist()]


def test_rows_of_the_stretch_are_written_by_day_and_reconciled_with_those_that_were_refused(
    place: Place,
) -> None:
    code, told = run(place)
    assert code == 3, told
    assert (told["read"], told["written"], told["refused"]) == (12, 10, 2)
    assert told["reasons"] == {"distance: is below the minimum 1": 2}
    out = place.folder / "out"
    assert sorted(path.name for path in out.glob("*.parquet")) == [
        "2013-02-01-0000.parquet", "2013-02-02-0000.parquet",
    ]  # fmt: skip
    found = rows_in(out)
    assert [row["flight_id"] for row in found] == [
        f"{day}/{hour:02d}" for day in DAYS[1:3] for hour in range(PER_DAY - 1)
    ]
    assert set(found[0]) == {"flight_id", "departure", "version", "probability", "label", "outside"}
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"] is True
    assert (manifest["version"], manifest["digest"]) == ("v1", place.versions[0].digest)
    assert [(one["file"], one["read"], one["written"], one["refused"]) for one in manifest["partitions"]] == [
        ("2013-02-01-0000.parquet", 6, 5, 1), ("2013-02-02-0000.parquet", 6, 5, 1),
    ]  # fmt: skip
    assert manifest["examples"][0] == {
        "id": "2013-02-01/05",
        "problems": [{"field": "distance", "value": -5, "rule": "is below the minimum 1"}],
    }


def kept_aside(place: Place) -> list[dict[str, Any]]:
    files = sorted((place.folder / "out" / "refused").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def test_refused_rows_are_kept_aside_with_what_they_hold_and_what_is_wrong(place: Place) -> None:
    run(place)
    assert [(one["id"], one["row"]["distance"]) for one in kept_aside(place)] == [
        ("2013-02-01/05", -5), ("2013-02-02/05", -5),
    ]  # fmt: skip
    assert kept_aside(place)[0]["problems"][0]["rule"] == "is below the minimum 1"
    shutil.rmtree(place.folder / "out" / "refused")
    _, told = run(place)
    assert told["made"] == 2, "a file whose refused rows are lost is not whole"
    assert len(kept_aside(place)) == 2
    write(
        place, lambda lines: lines.__setitem__(slice(None), [line.replace(",-5,", ",5,") for line in lines])
    )
    run(place)
    assert kept_aside(place) == [], "of an earlier run nothing is left"


BOOKINGS = (
    "flight_id,departure,distance,carrier\nb1,2013-02-01T05:00:00Z,300,UA\nb2,2013-02-01T06:00:00Z,far,AA\n"
)


@pytest.mark.parametrize("way", ["file", "name", "path"])
def test_other_rows_than_those_of_the_training_are_predicted_and_a_bad_cell_costs_its_row_alone(
    place: Place, way: str
) -> None:
    place.table(BOOKINGS + "b3,2013-02-01T07:00:00Z,?,UA\nb4,,700,UA\n", "bookings.csv")
    sources = "[{name: bookings, csv: {path: bookings.csv, missing: ['?']}}, {name: flights,"
    text = DATED.replace("[{name: flights,", sources).replace(
        "    keys:", "    query: select * from flights\n    keys:"
    )
    if way == "file":
        batch = 'batch: {schedule: "0 3 * * *", output: p, input: {source: bookings}}'
        text = text.replace("  features:", f"  {batch}\n  features:")
    write(place, text=text)
    options = {
        "file": (),
        "name": ("--input", "bookings"),
        "path": ("--input", str(place.folder / "bookings.csv")),
    }
    code, told = run(place, *options[way])
    assert code == 3, told
    assert [row["flight_id"] for row in rows_in(place.folder / "out")] == ["b1", "b3"]
    (bad,) = kept_aside(place)
    assert (bad["id"], bad["row"]["distance"]) == ("b2", "far")
    assert bad["problems"][0]["field"] == "distance"
    assert told["without_time"] == 1
    assert json.loads((place.folder / "out" / "manifest.json").read_text())["without_time"] == 1


def test_spark_without_its_extra_says_what_to_install(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spark, "find_spec", lambda _: None)
    batch = 'batch: {schedule: "0 3 * * *", output: p, engine: Spark}'
    write(place, text=DATED.replace("  features:", f"  {batch}\n  features:"))
    result = place.predict("--output", str(place.folder / "out"))
    assert result.exit_code == 1
    assert "batch.engine: Spark needs the extra 'spark': pip install" in " ".join(result.output.split())
    assert not (place.folder / "out").exists()


def test_ctrl_c_ends_a_query_that_duckdb_is_at(place: Place) -> None:
    """Without that it would be waited for, here for hours."""
    counts = "(select count(*) from range(1000000000000) t(n) where hash(n) % 7 = 0)"
    endless = f"    query: select * from flights where {counts} > 0\n    keys:"
    write(place, text=DATED.replace("    keys:", endless))
    words = [
        sys.executable, "-m", "capstan", "predict", str(place.folder / "system.yaml"),
        "--output", str(place.folder / "out"), "--state", str(place.state.root),
    ]  # fmt: skip
    run = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert run.stdout is not None
    try:
        while "reading the rows" not in run.stdout.readline():
            assert run.poll() is None
        time.sleep(2)
        run.send_signal(signal.SIGINT)
        said, _ = run.communicate(timeout=60)
    finally:
        run.kill()
    assert run.returncode == 130, said
    assert "stopped while the rows were read" in " ".join(said.split())


def test_a_folder_of_other_rows_is_refused(place: Place) -> None:
    place.table(BOOKINGS, "bookings.csv")
    run(place)
    result = place.predict(
        "--from", "2013-02-01", "--to", "2013-03-01", "--output", str(place.folder / "out"),
        "--input", str(place.folder / "bookings.csv"),
    )  # fmt: skip
    assert result.exit_code == 1
    assert "holds another batch (input open)" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ("nowhere", "'nowhere': is no table of data.sources (flights), and no path that ends in .csv"),
        ("nowhere.csv", "nowhere.csv"),
    ],
)
def test_an_input_that_is_not_there_says_so(place: Place, given: str, rule: str) -> None:
    result = place.predict("--output", str(place.folder / "out"), "--input", given)
    assert result.exit_code == 1
    assert rule in " ".join(result.output.split())


def test_rows_without_a_time_are_told_and_not_dropped_silently(place: Place) -> None:
    write(place, lambda lines: lines.append("nobody knows,,500,UA"))
    wanted = ("--from", "2013-02-01", "--to", "2013-03-01", "--output", str(place.folder / "out"))
    said = " ".join(place.predict(*wanted).output.split())
    assert "1 row has no time and is in no batch" in said


def test_a_file_of_somebody_else_with_a_number_as_its_name_is_left_alone(place: Place) -> None:
    run(place)
    other = place.folder / "out" / "2013.parquet"
    pq.write_table(pa.table({"year": [2013]}), other)
    _, told = run(place)
    assert told["removed"] == []
    assert other.exists()


def test_a_batch_says_what_the_model_folder_says_of_the_same_rows(place: Place) -> None:
    run(place)
    table = "flight_id,distance,carrier\n" + "".join(
        f"{row['flight_id']},{500 + int(row['flight_id'][-2:])},{'UA' if int(row['flight_id'][-2:]) % 2 else 'AA'}\n"
        for row in rows_in(place.folder / "out")
    )
    asked = place.predict(place.table(table, "asked.csv"), "--offline", "--json")
    answers = [json.loads(line) for line in asked.stdout.splitlines()][:-1]
    assert [(one["flight_id"], one["probability"], one["label"]) for one in answers] == [
        (row["flight_id"], row["probability"], row["label"]) for row in rows_in(place.folder / "out")
    ]


def test_what_is_finished_is_kept_and_not_written_again(place: Place) -> None:
    run(place)
    files = {path: path.stat().st_mtime_ns for path in (place.folder / "out").glob("*.parquet")}
    code, told = run(place)
    assert (code, told["made"], told["kept"], told["anew"]) == (3, 0, 2, {})
    assert (told["read"], told["written"], told["refused"]) == (12, 10, 2)
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_a_day_whose_rows_have_changed_is_made_anew_and_said_so(place: Place) -> None:
    run(place)
    write(place, lambda lines: lines.__setitem__(PER_DAY + 1, lines[PER_DAY + 1].replace(",500,", ",900,")))
    _, told = run(place)
    assert (told["made"], told["kept"]) == (1, 1)
    assert told["anew"] == {"the rows of the source have changed": 1}


def test_two_rows_that_change_one_value_with_each_other_are_other_rows(place: Place) -> None:
    run(place)

    def swap(lines: list[str]) -> None:
        first, second = lines[PER_DAY + 1], lines[PER_DAY + 2]
        lines[PER_DAY + 1] = first.replace(",AA", ",UA")
        lines[PER_DAY + 2] = second.replace(",UA", ",AA")

    write(place, swap)
    _, told = run(place)
    assert told["anew"] == {"the rows of the source have changed": 1}


def test_another_version_makes_all_anew_and_said_so(place: Place) -> None:
    run(place)
    before = [row["label"] for row in rows_in(place.folder / "out")]
    _, told = run(place, "--version", "v2")
    assert (told["made"], told["kept"], told["version"]) == (2, 0, "v2")
    assert told["anew"] == {"v1 made it, now v2 predicts": 2}
    assert [row["label"] for row in rows_in(place.folder / "out")] == [not one for one in before]


def test_other_packages_make_all_anew(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    run(place)
    monkeypatch.setattr(predicting, "installed_digest", lambda: "others")
    _, told = run(place)
    assert told["anew"] == {"the installed packages have changed": 2}


@pytest.mark.parametrize("harm", ["cut", "foreign"])
def test_a_damaged_file_is_made_anew(place: Place, harm: str) -> None:
    run(place)
    file = place.folder / "out" / "2013-02-01-0000.parquet"
    whole = pq.ParquetFile(file).read()
    if harm == "cut":
        file.write_bytes(file.read_bytes()[:-20])
    else:
        pq.write_table(whole.replace_schema_metadata(None), file)
    _, told = run(place)
    assert (told["made"], told["anew"]) == (1, {predicting.DAMAGED: 1})
    assert pq.ParquetFile(file).read().equals(whole)


def test_a_day_that_the_source_has_no_more_is_removed(place: Place) -> None:
    run(place)
    write(place, lambda lines: lines.__delitem__(slice(1 + PER_DAY, 1 + 2 * PER_DAY)))
    _, told = run(place)
    assert (told["removed"], told["read"]) == (["2013-02-01-0000"], 6)
    assert [path.name for path in (place.folder / "out").glob("*.parquet")] == ["2013-02-02-0000.parquet"]


def test_a_manifest_says_that_the_batch_is_not_whole_before_a_file_is_removed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(place)
    write(place, lambda lines: lines.__delitem__(slice(1 + PER_DAY, 1 + 2 * PER_DAY)))
    manifest = place.folder / "out" / "manifest.json"
    unlink, said = Path.unlink, []

    def look(path: Path, missing_ok: bool = False) -> None:
        if path.parent == manifest.parent and path.suffix == ".parquet":
            said.append(json.loads(manifest.read_text())["complete"])
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", look)
    run(place)
    assert said == [False]
    assert json.loads(manifest.read_text())["complete"]


def test_a_stopped_run_goes_on_where_it_was_and_each_row_is_there_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = place.folder / "whole"
    place.predict("--from", "2013-02-01", "--to", "2013-03-01", "--output", str(whole))
    monkeypatch.setattr(answering, "REQUESTS", 2)
    written = answering.BatchAnswers.answered

    def killed(self: Any, batches: Any, tally: Any, *more: Any, **named: Any) -> Iterator[pa.Table]:
        if (place.folder / "out" / "2013-02-01-0000.parquet").exists():
            yield next(iter(written(self, batches, tally, *more, **named)))
            raise KeyboardInterrupt
        yield from written(self, batches, tally, *more, **named)

    monkeypatch.setattr(answering.BatchAnswers, "answered", killed)
    place.predict("--from", "2013-02-01", "--to", "2013-03-01", "--output", str(place.folder / "out"))
    manifest = json.loads((place.folder / "out" / "manifest.json").read_text())
    assert manifest["complete"] is False
    assert [path.name for path in (place.folder / "out").glob("*.parquet")] == ["2013-02-01-0000.parquet"]
    monkeypatch.setattr(answering.BatchAnswers, "answered", written)
    _, told = run(place)
    assert (told["made"], told["kept"], told["anew"]) == (1, 1, {})
    assert rows_in(place.folder / "out") == rows_in(whole)
    assert not list((place.folder / "out").glob(".*.unfinished"))


def test_a_killed_process_leaves_whole_files_alone_and_the_next_run_has_each_row_once(place: Place) -> None:
    lines = [f"{day}/{number},{day}T00:00:00Z,{number + 1},AA" for day in DAYS for number in range(20_000)]
    place.table("\n".join([HEADER, *lines]) + "\n", "flights.csv")
    out = place.folder / "out"
    words = ["predict", str(place.folder / "system.yaml"), "--output", str(out), "--json"]
    command = [sys.executable, "-m", "capstan", *words, "--state", str(place.state.root)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(out.glob("*.parquet")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    left = list(out.glob("*.parquet"))
    assert left
    assert all(pq.ParquetFile(path).metadata.num_rows == 20_000 for path in left)
    result = place.predict("--output", str(out), "--json")
    told = json.loads(result.stdout)
    assert result.exit_code == 0, told
    assert (told["kept"], told["made"]) == (len(left), 4 - len(left))
    identities = [row["flight_id"] for row in rows_in(out)]
    assert len(identities) == len(set(identities)) == told["written"] == 80_000
    assert not list(out.glob(".*.unfinished"))


def test_long_days_are_several_files(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions.partitioned_cases.__wrapped__, "__kwdefaults__", {  # type: ignore[attr-defined]
        **partitions.partitioned_cases.__wrapped__.__kwdefaults__, "rows": 4,  # type: ignore[attr-defined]
    })  # fmt: skip
    _, told = run(place)
    assert (told["partitions"], told["read"]) == (4, 12)
    assert sorted(path.stem for path in (place.folder / "out").glob("2013-02-01*")) == [
        "2013-02-01-0000", "2013-02-01-0001",
    ]  # fmt: skip


def test_days_are_those_of_the_files_zone(place: Place) -> None:
    write(place, text=DATED.replace("  data:", "  data:\n    timeZone: America/New_York"))
    _, told = run(place)
    # Midnight of New York is five o'clock UTC: only the last row of a day is not of the day before.
    names = sorted(path.stem for path in (place.folder / "out").glob("*.parquet"))
    assert names == ["2013-02-01-0000", "2013-02-02-0000", "2013-02-28-0000"]
    assert told["from"] == "2013-02-01T05:00:00+00:00"
    found = [row["flight_id"] for row in rows_in(place.folder / "out")]
    assert found == [f"2013-02-02/{hour:02d}" for hour in range(5)] + [
        f"2013-03-01/{hour:02d}" for hour in range(5)
    ]


def test_a_file_without_times_is_predicted_whole(place: Place) -> None:
    write(place, text=FILE)
    result = place.predict("--output", str(place.folder / "out"), "--json")
    told = json.loads(result.stdout)
    assert (told["read"], told["written"], told["refused"]) == (24, 20, 4)
    assert [path.name for path in (place.folder / "out").glob("*.parquet")] == ["0000.parquet"]


def test_a_row_without_an_id_gets_one_of_its_content(place: Place) -> None:
    write(place, text=FILE.replace("keys: {id: flight_id}", "keys: {}"))
    place.predict("--output", str(place.folder / "out"))
    found = rows_in(place.folder / "out")
    assert len({row["_capstan_id"] for row in found}) == len(found) == 20


def test_without_output_it_is_written_below_the_state_directory(place: Place) -> None:
    result = place.predict("--from", "2013-02-01", "--to", "2013-03-01")
    assert result.exit_code == 3, result.output
    folder = place.state.root / "predictions" / "toy" / "2013-02-01--2013-03-01"
    assert (folder / "manifest.json").is_file()
    assert "12 rows read, 10 written, 2 refused by v1; 2 of 2 files made, 0 kept" in result.stderr
    assert "refused: 2 rows, distance: is below the minimum 1" in result.stderr


def test_a_stretch_without_rows_is_an_empty_batch(place: Place) -> None:
    result = place.predict("--from", "2020-01-01", "--output", str(place.folder / "out"))
    assert result.exit_code == 0, result.output
    assert "the sources have no row of this stretch" in result.stderr


@pytest.mark.parametrize(
    ("options", "field", "told"),
    [
        (["--from", "2013-03-01", "--to", "2013-02-01"], "--from", "is not before --to"),
        (["--from", "yesterday"], "--from", "is no day or moment, such as 2013-02-01"),
        (["--to", "0001-01-01T00:00:00+14:00"], "--to", "is no day or moment"),
        (["--to", "2013-02-01", "--row", "{}"], "--row", "a batch reads the file's own sources"),
        (["--to", "2013-02-01", "--out", "a.csv"], "--out", "name its folder with --output"),
        (["--to", "2013-02-01", "--url", "http://x"], "--url", "a batch is predicted on this machine"),
        (["--to", "2013-02-01", "--context", "."], "--context", "a batch is predicted on this machine"),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("--") else "",
)
def test_wrong_options_are_named_with_rule_and_way_out(
    place: Place, options: list[str], field: str, told: str
) -> None:
    result = place.predict(*options, "--json")
    assert result.exit_code == 1, result.output
    (mistake,) = json.loads(result.stdout)["mistakes"]
    assert mistake["path"] == field
    assert told in mistake["message"]


def test_moments_are_refused_where_the_file_has_no_time(place: Place) -> None:
    write(place, text=FILE)
    result = place.predict("--from", "2013-02-01", "--json")
    assert result.exit_code == 1
    assert "the file names no time in data.keys.time" in json.loads(result.stdout)["mistakes"][0]["message"]


def test_a_folder_of_another_batch_or_of_somebody_else_is_left_alone(place: Place) -> None:
    run(place)
    before = sorted(path.name for path in (place.folder / "out").iterdir())
    other = place.predict("--from", "2013-01-01", "--output", str(place.folder / "out"))
    assert other.exit_code == 1
    assert (
        "holds another batch (from 2013-02-01T00:00:00+00:00, to 2013-03-01T00:00:00+00:00)" in other.stderr
    )
    assert sorted(path.name for path in (place.folder / "out").iterdir()) == before
    own = place.predict("--output", str(place.folder))
    assert own.exit_code == 1
    assert "no batch of Capstan; name an empty folder with --output" in own.stderr


def test_a_full_disk_is_told_and_leaves_the_old_files_whole(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(place)
    before = rows_in(place.folder / "out")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(pq.ParquetWriter, "write_table", full)
    code, told = run(place, "--version", "v2")
    assert (code, told["error"]) == (1, "DiskFull")
    assert rows_in(place.folder / "out") == before
    assert not list((place.folder / "out").glob(".*.unfinished"))


def test_two_runs_never_write_one_folder(place: Place) -> None:
    from capstan.embedded.batch.folder import BatchFolder

    with BatchFolder(place.folder / "out").exclusively():
        code, told = run(place)
    assert (code, told["error"]) == (1, "AlreadyRunning")


def test_a_time_that_is_called_like_a_part_of_the_prediction_is_refused(place: Place) -> None:
    write(place, lambda lines: lines.__setitem__(0, HEADER.replace("departure", "outside")))
    text = (place.folder / "system.yaml").read_text().replace("time: departure", "time: outside")
    (place.folder / "system.yaml").write_text(text)
    code, told = run(place)
    assert code == 1
    assert told["message"].startswith("data.keys.time: 'outside' is the name of a part of each prediction")
