"""What moved, and why losses rose, in three sentences."""

from __future__ import annotations

from collections.abc import Sequence

from capstan.monitoring.windows import (
    Cause,
    Causes,
    DriftWindow,
    FeatureDrift,
    Move,
    OnlineDrift,
    WindowOutcome,
)

_NAMED = 3


def moved_in_words(window: DriftWindow) -> dict[str, list[str]]:
    """What moved, by the question whose alert it explains; without those to which nothing moved."""
    earlier = window.reference
    before = "at training" if earlier is None else f"from {earlier.start:%Y-%m-%d} to {earlier.end:%Y-%m-%d}"
    found = {
        "drift": [*_drift_in_words(window.features, "feature", before), *_slices_in_words(window)],
        "predictions": _drift_in_words(window.outputs, "output", before),
        # Missing values are compared with training whatever distances are compared with.
        "missing": _missing_in_words(window.features),
    }
    return {name: told for name, told in found.items() if told}


def _slices_in_words(window: DriftWindow) -> list[str]:
    """The slices that moved, where the file asks by slices; they can move though no feature does as a whole."""
    found = window.slices
    if found is None or not found.is_asked or not found.above:
        return []
    most = ", ".join(
        f"{one.slice}: {one.feature} ({one.distance:.3f} above {one.threshold:.3f})"
        for one in found.above[:_NAMED]
    )
    return [f"By slice {found.moved} moved: {most}."]


def _drift_in_words(watched: Sequence[FeatureDrift], noun: str, before: str) -> list[str]:
    """How many columns are above their threshold, what moved most in each, and that the others stayed."""
    drifted = [one for one in watched if one.drift is WindowOutcome.BREACH]
    drifted.sort(key=lambda one: (-(one.distance or 0.0) / max(one.threshold, 1e-9), one.feature))
    if not drifted:
        return []
    most = drifted[:_NAMED]
    what = ", ".join(
        f"{_name(one)} ({one.test} {one.distance:.3f} above {one.threshold:.3f})" for one in most
    )
    more = f" and {len(drifted) - len(most)} more" if len(drifted) > len(most) else ""
    there = len([one for one in watched if one.distance is not None])
    told = [f"Of {there} {noun}{'s' * (there != 1)} {len(drifted)} moved: {what}{more}."]
    if moves := [move_in_words(move) for one in most for move in one.moves]:
        told.append(f"Shares of rows {before} and now: {'; '.join(moves)}.")
    if quiet := there - len(drifted):
        told.append(
            f"The other {quiet} stayed within {'their thresholds' if quiet > 1 else 'its threshold'}."
        )
    return told


def _missing_in_words(watched: Sequence[FeatureDrift]) -> list[str]:
    rose = [one for one in watched if one.missing is WindowOutcome.BREACH]
    rose.sort(key=lambda one: (-(one.missing_rise or 0.0), one.feature))
    told = [
        f"{one.feature} missing {_percent(one.missing_rate - one.missing_rise)} -> {_percent(one.missing_rate)}"
        for one in rose[:_NAMED]
        if one.missing_rate is not None and one.missing_rise is not None
    ]
    more = f" and {len(rose) - len(told)} more" if len(rose) > len(told) else ""
    return [f"Shares of rows at training and now: {'; '.join(told)}{more}."] if told else []


def _name(one: FeatureDrift) -> str:
    return one.feature.removeprefix(":")


def move_in_words(move: Move) -> str:
    """Such as `weather=snow 2 % -> 19 %`."""
    return f"{move.what.removeprefix(':')} {_percent(move.before)} -> {_percent(move.now)}"


def causes_in_words(found: Causes) -> tuple[str, ...]:
    """By how much losses rose, which kinds of rows explain it, and what stays unexplained."""
    if found.rise is None or found.rise <= 0 or found.unexplained is None:
        why = found.gap.message if found.gap is not None else "nothing is known of the losses"
        return (f"Which rows they are cannot be said: {why}.",)
    rise = found.rise
    told = [
        f"The mean {found.metric} loss rose from {found.reference:.4g} at the test to {found.loss:.4g} "
        f"({found.rows:,} judged rows)."
    ]
    if not found.causes:
        told.append("No kind of rows by any single feature stands out from the others.")
    else:
        told.append("; ".join(_cause(one, rise) for one in found.causes[:_NAMED]) + ".")
    share, interval = (
        found.unexplained / rise,
        _interval(found.unexplained / rise, found.unexplained_margin, rise),
    )
    if share >= 0:
        told.append(
            f"{_percent(share)} of the rise stays unexplained{interval}: "
            f"all other rows are judged worse by {found.unexplained:.3g} on average."
        )
    else:
        told.append(
            f"Nothing of the rise stays unexplained: all other rows are judged better by {-found.unexplained:.3g} "
            f"on average, {_percent(share)} of the rise{interval}."
        )
    return tuple(told)


def online_in_words(found: OnlineDrift) -> str:
    """Since when requests or their answers have moved, and which columns by how much."""
    above = sorted(
        (one for one in found.features if one.is_above and one.distance is not None),
        key=lambda one: (-(one.distance or 0.0), one.feature),
    )
    told = ", ".join(f"{one.title} ({one.test} {one.distance:.2f})" for one in above[:_NAMED])
    more = f" and {len(above) - _NAMED} more" if len(above) > _NAMED else ""
    level = found.features[0].threshold if found.features else 0.0
    who = "Predictions" if above and all(one.is_output for one in above) else "Requests"
    return (
        f"{who} since {found.since:%Y-%m-%d %H:%M} UTC moved away from the training data: {told}{more}; "
        f"{level:.2f} is the threshold, 1 is usual."
    )


def _cause(cause: Cause, rise: float) -> str:
    share = cause.explained / rise
    told = f"{cause.what} explains {_percent(share)} of the rise{_interval(share, cause.margin, rise)}"
    parts = []
    if abs(cause.mix) >= abs(cause.explained) / 10:
        word = "more rows of it" if cause.share > cause.reference_share else "fewer rows of it"
        parts.append(
            f"{word}, {_percent(cause.reference_share)} -> {_percent(cause.share)} of all"
            f"{_part(cause.mix, cause.explained)}"
        )
    if abs(cause.within) >= abs(cause.explained) / 10 and None not in (cause.loss, cause.reference_loss):
        word = "worse" if cause.within > 0 else "better"
        parts.append(
            f"its rows judged {word}, loss {cause.reference_loss:.3g} -> {cause.loss:.3g}"
            f"{_part(cause.within, cause.explained)}"
        )
    return f"{told}: {' and '.join(parts)}" if parts else told


def _part(part: float, whole: float) -> str:
    return "" if part > 0.9 * whole else f" ({_percent(part / whole)} of that)"


def _interval(share: float, margin: float | None, rise: float) -> str:
    if margin is None:
        return ""
    if margin > rise:
        return " (days differ too much to say how sure that is)"
    low, high = share - margin / rise, share + margin / rise
    return f" (between {_percent(low)} and {_percent(high)})"


def _percent(share: float) -> str:
    if 0 < abs(share) < 0.005:
        return f"{share:.1%}".replace("%", " %")
    return f"{share:.0%}".replace("%", " %")
