"""What stands for a value: the same in a table and in a request, and the same again when it is treated again."""

from __future__ import annotations

import hashlib
import hmac
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.errors import InvalidDataError, InvalidRequestError
from capstan.features.pseudonyms import PseudonymKeys, read_pseudonym_keys
from capstan.features.treatments import Reads, RowTreatments, Treat, Treated, UntreatableError, treat_of
from capstan.features.values import ColumnType

KEYS = PseudonymKeys({1: b"kept-since-last-year", 2: b"in-use-since-this-year"})
PARENTS = [{"name": "care", "values": ["nurse", "doctor"]}, {"name": "7", "values": ["70", "71.5"]}]
DOCUMENTS: dict[str, dict[str, Any]] = {
    "pseudonym": {"pseudonymise": {}},
    "mask": {"mask": {"keep": 2}},
    "hidden": {"mask": {}},
    "prefix": {"generalise": {"prefix": 3}},
    "parents": {"generalise": {"parents": PARENTS}},
    "band": {"generalise": {"width": 10}},
    "narrow band": {"generalise": {"width": 0.1}},
    **{part: {"generalise": {"date": part}} for part in ("Year", "Quarter", "Month", "Day")},
}


def treat(name: str, kind: ColumnType = ColumnType.TEXT, **reads: Any) -> Treat:
    return treat_of(DOCUMENTS[name], Reads(kind, **reads), KEYS, 2)


@pytest.mark.parametrize(
    ("name", "kind", "value", "made"),
    [
        ("mask", ColumnType.TEXT, "Miller", "Mi***"),
        ("mask", ColumnType.TEXT, "Mi", "***"),
        ("hidden", ColumnType.TEXT, "Miller", "***"),
        ("prefix", ColumnType.TEXT, "80331", "803"),
        ("prefix", ColumnType.NUMBER, 80331, "803"),
        ("parents", ColumnType.TEXT, "nurse", "care"),
        ("parents", ColumnType.TEXT, "pilot", "other"),
        ("parents", ColumnType.NUMBER, 70.0, "7"),
        ("band", ColumnType.NUMBER, 37, 30.0),
        ("band", ColumnType.NUMBER, 30, 30.0),
        ("band", ColumnType.NUMBER, -0.5, -10.0),
        ("Year", ColumnType.TIME, "2013-05-17", "2013-01-01T00:00:00Z"),
        ("Quarter", ColumnType.TIME, "2013-05-17T23:00:00Z", "2013-04-01T00:00:00Z"),
        ("Month", ColumnType.TIME, "2013-05-17", "2013-05-01T00:00:00Z"),
        ("Day", ColumnType.TIME, "2013-05-17T23:00:00Z", "2013-05-17T00:00:00Z"),
        ("band", ColumnType.NUMBER, None, None),
        ("mask", ColumnType.TEXT, None, None),
        ("Month", ColumnType.TIME, None, None),
    ],
)
def test_what_stands_for_a_value(name: str, kind: ColumnType, value: object, made: object) -> None:
    assert treat(name, kind)(value) == made


def test_a_pseudonym_is_the_keyed_hash_of_rfc_2104_and_tells_its_key() -> None:
    wanted = hmac.new(b"in-use-since-this-year", b"ann@example.org", hashlib.sha256).hexdigest()
    assert treat("pseudonym")("ann@example.org") == f"p2-{wanted[:32]}"
    assert KEYS.every("ann@example.org") == [KEYS.pseudonym("ann@example.org", number) for number in (2, 1)]


def test_a_moment_of_a_table_and_its_text_in_a_request_are_one() -> None:
    zone = "America/New_York"
    moment = datetime(2013, 3, 1, 4, 30, tzinfo=UTC)  # The last day of February there.
    for part in ("Year", "Quarter", "Month", "Day"):
        made = treat(part, ColumnType.TIME, zone=zone)
        found = made(moment)
        assert isinstance(found, datetime)
        assert made("2013-02-28T23:30:00-05:00") == f"{found.replace(tzinfo=None).isoformat()}Z"
    assert treat("Month", ColumnType.TIME, zone=zone)(moment) == datetime(2013, 2, 1, 5, tzinfo=UTC)


@given(st.sampled_from(sorted(DOCUMENTS)), st.text(min_size=1) | st.floats(allow_nan=False) | st.integers())
def test_a_treated_value_stays_as_it_is(name: str, value: object) -> None:
    for kind in ColumnType:
        made = treat(name, kind)
        try:
            once = made(value)
        except UntreatableError:
            continue
        assert made(once) == once


# From 2^50 on neighbouring numbers are farther apart than the narrowest of these bands.
@given(st.floats(-1e14, 1e14), st.sampled_from([0.1, 1.0, 7.0, 10.0, 2.5]))
def test_a_band_holds_its_number(value: float, width: float) -> None:
    low = treat_of({"generalise": {"width": width}}, Reads(ColumnType.NUMBER), None, None)(value)
    assert isinstance(low, float)
    assert low <= value <= low + width * (1 + 1e-9)


@pytest.mark.parametrize(
    ("name", "kind", "value"),
    [
        ("band", ColumnType.NUMBER, "secret"),
        ("band", ColumnType.NUMBER, float("inf")),
        ("prefix", ColumnType.TEXT, 12345),
        ("Month", ColumnType.TIME, "secret"),
        ("prefix", ColumnType.NUMBER, 0.0625),
        ("prefix", ColumnType.TIME, "2013-02-11"),
        ("pseudonym", ColumnType.NUMBER, ["secret"]),
    ],
)
def test_what_cannot_be_treated_is_refused_and_not_quoted(name: str, kind: ColumnType, value: object) -> None:
    with pytest.raises(UntreatableError) as raised:
        treat(name, kind)(value)
    assert str(value) not in str(raised.value)


def secret(folder: Path, text: str) -> Path:
    (folder / "privacy").mkdir(exist_ok=True)
    (folder / "privacy" / "key").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "is empty"),
        ("short", "line 1 of the secret privacy/key is no number and key of 16 characters"),
        ("1 aaaaaaaaaaaaaaaaaaaa\n1 bbbbbbbbbbbbbbbbbbbb", "has number 1 again"),
        ("one aaaaaaaaaaaaaaaaaaaa", "line 1"),
    ],
)
def test_a_bad_secret_is_told_without_its_keys(tmp_path: Path, text: str, rule: str) -> None:
    with pytest.raises(InvalidDataError, match=rule) as raised:
        read_pseudonym_keys(secret(tmp_path, text), "privacy", "key")
    assert "aaaa" not in str(raised.value)
    with pytest.raises(InvalidDataError, match="cannot be read"):
        read_pseudonym_keys(tmp_path, "privacy", "other")


def treated(number: int | None = 2) -> Treated:
    document = {"pseudonymise": {"keyFrom": {"secretKeyRef": {"name": "privacy", "key": "key"}}}}
    return Treated("id", document, Reads(ColumnType.TEXT, is_id=True), number)


def test_a_model_goes_on_with_the_key_that_it_learnt_with_until_it_is_dropped(tmp_path: Path) -> None:
    one, two = "1 kept-since-last-year", "2 in-use-since-this-year"
    rows = RowTreatments((treated(1),), secret(tmp_path, f"{one}\n{two}"))
    row = {"id": 7, "other": "x"}
    rows.apply(row)
    assert row == {"id": KEYS.pseudonym("7", 1), "other": "x"}
    with pytest.raises(
        InvalidDataError, match="key 1 of the pseudonyms of 'id' is not in its secret any more"
    ):
        RowTreatments((treated(1),), secret(tmp_path, two))


def test_a_dropped_column_is_taken_off_and_errors_tell_fields_only(tmp_path: Path) -> None:
    band = Treated("age", DOCUMENTS["band"], Reads(ColumnType.NUMBER))
    rows = RowTreatments((Treated("ssn", {"drop": {}}, Reads(ColumnType.TEXT)), band), tmp_path)
    row = {"ssn": "123-45-6789", "age": 37}
    rows.apply(row)
    assert row == {"age": 30.0}
    with pytest.raises(InvalidRequestError) as raised:
        rows.apply({"age": "thirty-seven"}, "rows[2].")
    assert str(raised.value) == "rows[2].age: must be a number"


def test_what_a_manifest_holds_is_read_as_it_was_written() -> None:
    assert Treated.of_json(treated().as_json()) == treated()
