"""CSV files as people write them: each is read rightly, or refused with the place, the value and the way out."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ruamel.yaml import YAML
from typer.testing import CliRunner

from capstan.cli.main import app
from capstan.data.asked_rows import asked_rows
from capstan.data.lineage import Uses
from capstan.data.query import SourceTables
from capstan.data.sources import Reading
from capstan.data.workspace import workspace
from capstan.errors import InvalidDataError
from capstan.features.values import ColumnType
from capstan.spec.data import Source

Table = tuple[list[str], list[tuple[Any, ...]]]


def read(folder: Path, content: bytes, name: str = "t.csv", types: Any = (), **csv: Any) -> Table:
    (folder / name).write_bytes(content)
    document = {"name": "t", "types": list(types), "csv": {"path": name, **csv}}
    source = Source.model_validate(document)
    with workspace(threads=1, memory=2**28, zone="UTC") as connection:
        tables = SourceTables(connection, [Reading(connection, source, None, folder, folder, "UTC")])
        tables.read("select * from t", None, Uses(frozenset(), frozenset(), frozenset()))
        found = connection.sql("from t")
        return list(found.columns), found.fetchall()


TWO = [(1, 2.5), (2, 3.0)]
CITIES = [(1, "Köln"), (2, "Málaga")]
PRICES = ["id", "price"]
KOELN = "id,city\n1,Köln\n2,Málaga\n"
NUMBER = {"column": "price", "type": "Number"}

RIGHT: Mapping[str, tuple[bytes, Mapping[str, Any], list[str], list[tuple[Any, ...]]]] = {
    "commas": (b"id,price\n1,2.5\n2,3\n", {}, PRICES, TWO),
    "semicolons and decimal commas": (
        b"id;price\n1;2,5\n2;1.003,0\n",
        {"types": [{**NUMBER, "written": "1.234,5"}]},
        PRICES,
        [(1, 2.5), (2, 1003.0)],
    ),
    "tabs": (b"id\tprice\n1\t2.5\n2\t3\n", {}, PRICES, TWO),
    "pipes": (b"id|price\n1|2.5\n2|3\n", {}, PRICES, TWO),
    "carets": (b"id^price\n1^2.5\n2^3\n", {"delimiter": "^"}, PRICES, TWO),
    "a mark of UTF-8": (b"\xef\xbb\xbfid,price\n1,2.5\n2,3\n", {}, PRICES, TWO),
    "UTF-16 with its mark": (KOELN.encode("utf-16"), {}, ["id", "city"], CITIES),
    "UTF-16 without a mark": (KOELN.encode("utf-16-le"), {"encoding": "utf-16-le"}, ["id", "city"], CITIES),
    "latin-1": (KOELN.encode("latin-1"), {"encoding": "latin-1"}, ["id", "city"], CITIES),
    "windows-1252": (
        "id,note\n1,5 €\n2,„so“\n".encode("cp1252"),
        {"encoding": "windows-1252"},
        ["id", "note"],
        [(1, "5 €"), (2, "„so“")],
    ),
    "Shift JIS": (
        "id,city\n1,東京\n".encode("shift_jis"),
        {"encoding": "shift_jis"},
        ["id", "city"],
        [(1, "東京")],
    ),
    "ends of Windows": (b"id,price\r\n1,2.5\r\n2,3\r\n", {}, PRICES, TWO),
    "ends of two kinds": (b"id,price\r\n1,2.5\n2,3\r\n", {}, PRICES, TWO),
    "ends of old Macs": (b"id,price\r1,2.5\r2,3\r", {}, PRICES, TWO),
    "no end of the last line": (b"id,price\n1,2.5\n2,3", {}, PRICES, TWO),
    "empty lines": (b"id,price\n1,2.5\n\n2,3\n\n", {}, PRICES, TWO),
    "line breaks and quotes in a value": (
        b'id,note\n1,"two\nlines"\n2,"said ""hi"""\n',
        {},
        ["id", "note"],
        [(1, "two\nlines"), (2, 'said "hi"')],
    ),
    "single quotes": (b"id,note\n1,'a,b'\n2,c\n", {"quote": "'"}, ["id", "note"], [(1, "a,b"), (2, "c")]),
    "single quotes around each name": (b"'id','note'\n1,'a,b'\n", {}, ["id", "note"], [(1, "a,b")]),
    "thousands in groups": (
        b'id,price\n1,"1,234"\n2,"12,345.5"\n',
        {"types": [{**NUMBER, "written": "1,234.5"}]},
        PRICES,
        [(1, 1234.0), (2, 12345.5)],
    ),
    "a column without a name": (b",id,price\n0,1,2.5\n1,2,3\n", {}, PRICES, TWO),
    "a delimiter after the last value": (b"id,price,\n1,2.5,\n2,3,\n", {}, PRICES, TWO),
    "spaces around names and numbers": (b"id , price\n1, 2.5 \n2,3\n", {}, PRICES, TWO),
    "words of SQL as names": (
        b"select,from,order\n1,2,a\n2,3,b\n",
        {},
        ["select", "from", "order"],
        [(1, 2, "a"), (2, 3, "b")],
    ),
    "codes with zeros": (b"zip,n\n01234,1\n98765,2\n", {}, ["zip", "n"], [("01234", 1), ("98765", 2)]),
    "ids longer than numbers can be": (
        b"id,n\n12345678901234567890,1\n12345678901234567891,2\n",
        {},
        ["id", "n"],
        [("12345678901234567890", 1), ("12345678901234567891", 2)],
    ),
    "words for missing": (
        b"id,price\n1,-\n2,3\n",
        {"missing": ["-"]},
        PRICES,
        [(1, None), (2, 3)],
    ),
    "a title above the names": (b"Sales of May\n\nid,price\n1,2.5\n2,3\n", {"skipLines": 2}, PRICES, TWO),
    "a comment above the names": (b"# exported\nid,price\n1,2.5\n2,3\n", {"skipLines": 1}, PRICES, TWO),
    "Excel's line of the delimiter": (b"sep=;\r\nid;price\r\n1;2.5\r\n2;3\r\n", {}, PRICES, TWO),
    "numbers with an exponent": (b"id,price\n1,25e-1\n2,0.3E1\n", {}, PRICES, TWO),
    "mixed values stay as they are written": (
        b"id,price\n1,2.5\n2,unknown\n",
        {},
        PRICES,
        [(1, "2.5"), (2, "unknown")],
    ),
    "dates of which nobody knows the order": (
        b"id,day\n1,03/04/2024\n2,05/06/2024\n",
        {},
        ["id", "day"],
        [(1, "03/04/2024"), (2, "05/06/2024")],
    ),
}


@pytest.mark.parametrize("habit", RIGHT)
def test_a_file_is_read_rightly(tmp_path: Path, habit: str) -> None:
    content, settings, names, rows = RIGHT[habit]
    assert read(tmp_path, content, **settings) == (names, rows)


@pytest.mark.parametrize("habit", ["ends of Windows", "latin-1", "a title above the names"])
def test_a_packed_file_is_read_in_the_same_way(tmp_path: Path, habit: str) -> None:
    content, settings, names, rows = RIGHT[habit]
    assert read(tmp_path, gzip.compress(content), "t.csv.gz", **settings) == (names, rows)


WRONG: Mapping[str, tuple[bytes, Mapping[str, Any], str]] = {
    "latin-1 that nobody told": (
        KOELN.encode("latin-1"),
        {},
        r"t\.csv, line 2, column 'city': is not UTF-8 text .*csv: \{encoding: windows-1252\}",
    ),
    "UTF-8 that is told to be another": (
        KOELN.encode(),
        {"encoding": "windows-1252"},
        r"csv\.encoding: .*t\.csv is UTF-8 text, not windows-1252.*; drop encoding",
    ),
    "bytes that the encoding lacks": (
        b"id,city\n1,a\n2,\x81\n",
        {"encoding": "windows-1252"},
        r"csv\.encoding: .*t\.csv, line 3: is not windows-1252 text",
    ),
    "UTF-16 that nobody told": (KOELN.encode("utf-16-le"), {}, r"zero bytes .*encoding: utf-16-le"),
    "a name twice": (b"id,price,price\n1,2,3\n", {}, r"names 'price' twice, .*; rename one of them"),
    "a name in two spellings": (b"id,Price,price\n1,2,3\n", {}, r"names 'Price' and 'price'"),
    "too few values": (b"id,a,b\n1,2\n3,4,5\n", {}, r"line 2: has 2 values where the header names 3 columns"),
    "too many values": (b"id,a\n1,2,9\n3,4\n", {}, r"line 2: has more values than the 2 columns"),
    "too many values after a title": (
        b"title\nid,a\n1,2\n1,2,9\n",
        {"skipLines": 1},
        r"line 4: has more values than the 2 columns",
    ),
    "a title that nobody told": (
        b"Sales of May\n\nid,price\n1,2.5\n",
        {},
        r"line 3: has more values than the only column that line 1 names, 'Sales of May' .*skipLines: 2",
    ),
    "a quote that is never closed": (
        b'id,note\n1,"open\n2,b\n',
        {},
        r"line 2, column 'note': a double quote is not",
    ),
    "quotes with a backslash": (
        b'id,note\n1,"a \\"b\\", c"\n',
        {},
        r"write a double quote inside a value twice",
    ),
    "an empty file": (b"", {}, r"t\.csv is empty; its first line must name the columns"),
    "a workbook": (b"PK\x03\x04[Content_Types].xml", {}, r"t\.csv is a zip file; unpack it"),
    "a word in a column of numbers": (
        b"id,price\n1,2.5\n2,unknown\n",
        {"types": [NUMBER]},
        r"'price' is stated to be Number, but 1 of its values is not .*t\.csv, line 3: 'unknown'",
    ),
    "a word far below a title": (
        b"title\nid,price\n1,2.5\n2,unknown\n",
        {"types": [NUMBER], "skipLines": 1},
        r"t\.csv, line 4: 'unknown'",
    ),
}


@pytest.mark.parametrize("habit", WRONG)
def test_a_file_is_refused_with_the_place_and_the_way_out(tmp_path: Path, habit: str) -> None:
    content, settings, said = WRONG[habit]
    with pytest.raises(InvalidDataError, match=said):
        read(tmp_path, content, **settings)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("encoding", "utf-9", "is no encoding of text; write one such as windows-1252"),
        ("encoding", "base64", "is no encoding of text"),
        ("delimiter", ";;", "delimiter"),
        ("delimiter", '"', "delimiter"),
        ("quote", "`", "quote"),
        ("skipLines", -1, "skipLines"),
    ],
)
def test_what_no_file_can_be_written_as_is_refused(field: str, value: Any, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Source.model_validate({"name": "t", "csv": {"path": "t.csv", field: value}})


def test_a_table_of_requests_is_read_as_the_training_table_is(tmp_path: Path) -> None:
    source = Source.model_validate(
        {"name": "t", "csv": {"path": "t.csv", "encoding": "latin-1", "delimiter": "^", "skipLines": 1}}
    )
    wanted: Mapping[str, ColumnType | None] = {"id": None, "city": ColumnType.TEXT}
    for encoding in ("latin-1", "utf-8"):
        (tmp_path / "new.csv").write_bytes("title\nid^city\n1^Köln\n".encode(encoding))
        rows = list(asked_rows(tmp_path / "new.csv", wanted, zone="UTC", sources=[source]))
        assert rows == [{"id": "1", "city": "Köln"}]


@pytest.mark.parametrize(
    ("before", "encoding", "told"),
    [
        ("", "windows-1252", {"encoding": "windows-1252"}),
        ("Sales of May\n\n", "utf-8", {"skipLines": 2}),
        ("# made by a till, on Monday\n", "windows-1252", {"encoding": "windows-1252", "skipLines": 1}),
        ("", "utf-8", {}),
    ],
)
def test_init_guesses_how_a_file_is_written_and_says_so(
    tmp_path: Path, before: str, encoding: str, told: Mapping[str, Any]
) -> None:
    lines = [f"{n},{('Köln', 'Málaga', 'Oslo')[n % 3]},{'ja' if n % 2 else 'nein'}" for n in range(200)]
    text = before + "\n".join(["size,city,sold", *lines]) + "\n"
    (tmp_path / "shop.csv").write_bytes(text.encode(encoding))
    done = CliRunner().invoke(app, ["init", str(tmp_path / "shop.csv"), "--target", "sold"])
    assert done.exit_code == 0, done.output
    document = YAML(typ="safe").load((tmp_path / "system.yaml").read_text())
    csv = document["spec"]["data"]["sources"][0]["csv"]
    assert csv == {"path": "shop.csv", **told}
    for name, value in told.items():
        assert f"data.sources: {name}: {value}: " in done.output
    checked = CliRunner().invoke(app, ["validate", "--data", str(tmp_path / "system.yaml")])
    assert checked.exit_code == 0, checked.output


def test_a_header_that_begins_with_a_number_sign_is_no_comment(tmp_path: Path) -> None:
    lines = [f"{n % 7},{'ja' if n % 2 else 'nein'}" for n in range(100)]
    (tmp_path / "shop.csv").write_text("\n".join(["#size,sold", *lines]) + "\n")
    done = CliRunner().invoke(app, ["init", str(tmp_path / "shop.csv"), "--target", "sold"])
    assert done.exit_code == 0, done.output
    assert "skipLines" not in done.output


@pytest.mark.parametrize("csv", [{}, {"encoding": "latin-1"}])
def test_a_damaged_packed_file_is_told_in_words(tmp_path: Path, csv: Mapping[str, Any]) -> None:
    packed = bytearray(gzip.compress(b"id,price\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(5000))))
    packed[len(packed) // 2 : len(packed) // 2 + 40] = bytes(40)
    with pytest.raises(InvalidDataError, match=r"data\.sources\.t"):
        read(tmp_path, bytes(packed), "t.csv.gz", **csv)
