"""Rules of what a window is compared with."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from capstan.spec.rule import ARITHMETIC, UNTRIED, Breach, Cel, rule
from capstan.spec.units import format_duration

if TYPE_CHECKING:
    from capstan.spec.system import MLSystemSpec

_DRIFT = ("spec", "monitoring", "drift")
_WINDOW = ("spec", "monitoring", "window")


MOST_LOOKS = 168
"""In one window: each hour of a week."""


@rule(
    "reference: Seasonal and seasonLength belong together; write both, or neither",
    Cel(
        "has(self.seasonLength) == (has(self.reference) && self.reference == 'Seasonal')", "monitoring.drift"
    ),
)
def a_season_has_a_length(spec: MLSystemSpec) -> Iterator[Breach]:
    drift = spec.monitoring.drift
    if (drift.season_length is not None) != (drift.reference == "Seasonal"):
        yield Breach((*_DRIFT, "reference" if drift.season_length is not None else "seasonLength"))


@rule(
    "is shorter than monitoring.window.duration, so a window would be compared with itself; lengthen it",
    why_no_cel=ARITHMETIC,
)
def a_season_is_no_shorter_than_a_window(spec: MLSystemSpec) -> Iterator[Breach]:
    season = spec.monitoring.drift.season_length
    if season is not None and season < spec.monitoring.window.duration:
        yield Breach((*_DRIFT, "seasonLength"), format_duration(season))


@rule(
    "does not divide monitoring.window.duration, so no drift window would end with one of quality; change one of them",
    why_no_cel=ARITHMETIC,
)
def looks_divide_a_window(spec: MLSystemSpec) -> Iterator[Breach]:
    window = spec.monitoring.window
    if window.duration % window.step:
        yield Breach(("spec", "monitoring", "window", "every"), format_duration(window.step))


@rule("gives more looks in a window than a monitor can keep up with; lengthen it", why_no_cel=ARITHMETIC)
def looks_are_not_too_many(spec: MLSystemSpec) -> Iterator[Breach]:
    window = spec.monitoring.window
    looks = window.duration // window.step
    if looks > MOST_LOOKS:
        yield Breach(
            ("spec", "monitoring", "window", "every"),
            message=f"{format_duration(window.step)} gives {looks:,} looks in a window of "
            f"{format_duration(window.duration)}, and each reads the whole window; at most {MOST_LOOKS} are possible, "
            "so lengthen it",
        )


@rule(
    "asks for more windows in a row than a sudden drift lasts: what it is compared with has drifted too by then; "
    "lower consecutive",
    why_no_cel=ARITHMETIC,
)
def a_sudden_drift_lasts_as_long_as_an_alert_needs(spec: MLSystemSpec) -> Iterator[Breach]:
    drift, lag = spec.monitoring.drift, spec.monitoring.reference_lag
    if lag is None or spec.monitoring.window.rows is not None:
        return
    windows = lag // spec.monitoring.window.step
    if windows and drift.consecutive > windows:
        yield Breach(
            (*_DRIFT, "consecutive"),
            message=f"{drift.consecutive} windows in a row are more than a sudden drift lasts: with reference "
            f"{drift.reference}, what it is compared with has drifted too after {windows}; write at most {windows}",
        )


@rule("is below minRows, so that no window would be judged; raise it, or lower minRows", why_no_cel=UNTRIED)
def rows_are_enough(spec: MLSystemSpec) -> Iterator[Breach]:
    window = spec.monitoring.window
    if window.rows is not None and window.rows < window.min_rows:
        message = (
            f"{window.rows:,} is below minRows ({window.min_rows:,}), so that no window would be judged; raise it, or "
            "lower minRows"
        )
        yield Breach((*_WINDOW, "rows"), message=message)


@rule("is a time, and windows by `rows` do not overlap; drop one of them", why_no_cel=UNTRIED)
def windows_by_rows_do_not_overlap(spec: MLSystemSpec) -> Iterator[Breach]:
    window = spec.monitoring.window
    if window.rows is not None and window.every is not None:
        yield Breach((*_WINDOW, "every"), format_duration(window.every))


@rule(
    "compares stretches of the same length, and windows by `rows` differ in length; write reference: Training, or drop "
    "monitoring.window.rows",
    why_no_cel=UNTRIED,
)
def windows_by_rows_are_compared_with_training(spec: MLSystemSpec) -> Iterator[Breach]:
    drift = spec.monitoring.drift
    if spec.monitoring.window.rows is not None and drift.reference != "Training":
        yield Breach((*_DRIFT, "reference"), drift.reference)


RULES = (
    rows_are_enough,
    windows_by_rows_do_not_overlap,
    windows_by_rows_are_compared_with_training,
    a_season_has_a_length,
    a_season_is_no_shorter_than_a_window,
    looks_divide_a_window,
    looks_are_not_too_many,
    a_sudden_drift_lasts_as_long_as_an_alert_needs,
)
