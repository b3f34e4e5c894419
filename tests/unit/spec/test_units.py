"""Values with units mean the same before and after they are written."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capstan.spec import units


@given(st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=36_500)))
def test_duration_survives_writing_and_reading(duration: timedelta) -> None:
    whole = duration - duration % timedelta(milliseconds=1)
    assert units.parse_duration(units.format_duration(whole)) == whole


@given(st.integers(0, 2**60 - 1))
def test_size_survives_writing_and_reading(size: int) -> None:
    assert units.parse_bytes(units.format_bytes(size)) == size


@given(st.integers(0, 10_000_000))
def test_cores_survive_writing_and_reading(thousandths: int) -> None:
    cores = thousandths / 1000
    assert units.parse_cores(units.format_cores(cores)) == cores


@given(st.integers(0, 100_000_000))
def test_share_survives_writing_and_reading(millionths: int) -> None:
    text = f"{millionths // 1_000_000}.{millionths % 1_000_000:06d}%"
    share = units.parse_share(text)
    assert units.parse_share(units.format_share(share)) == share


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("7d", timedelta(days=7)),
        ("12h", timedelta(hours=12)),
        ("10m", timedelta(minutes=10)),
        ("30s", timedelta(seconds=30)),
        ("500ms", timedelta(milliseconds=500)),
        ("0s", timedelta(0)),
    ],
)
def test_duration_is_read_in_its_unit(text: str, duration: timedelta) -> None:
    assert units.parse_duration(text) == duration
    assert units.format_duration(duration) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [("50Mi", 52_428_800), ("1k", 1000), ("1.5Gi", 1_610_612_736), (1024, 1024), ("0", 0)],
)
def test_size_is_read_as_kubernetes_reads_it(text: str | int, size: int) -> None:
    assert units.parse_bytes(text) == size


@pytest.mark.parametrize(("text", "cores"), [("500m", 0.5), ("1", 1.0), (2, 2.0), (0.25, 0.25), ("2.5", 2.5)])
def test_cores_are_read_as_kubernetes_reads_them(text: str | float, cores: float) -> None:
    assert units.parse_cores(text) == cores


@pytest.mark.parametrize(
    "wrong", ["7", "7 d", "-1d", "1w", "1d12h", "d", "", "٣d", "999999999d", 7, True, None, []]
)
def test_what_is_not_a_duration_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        units.parse_duration(wrong)


@pytest.mark.parametrize("wrong", ["80", 0.8, 80, "101%", "-1%", "80 %", True, None, "٨٠%"])
def test_what_is_not_a_percentage_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="percentage"):
        units.parse_share(wrong)


def test_a_bare_number_is_told_its_percentage() -> None:
    with pytest.raises(ValueError, match="such as 85%"):
        units.parse_share(0.85)


@pytest.mark.parametrize(
    "wrong", ["50MB", "1e3", "-1Mi", "0.3", "2000Pi", float("nan"), float("inf"), True, None]
)
def test_what_is_not_a_size_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="write a"):
        units.parse_bytes(wrong)
