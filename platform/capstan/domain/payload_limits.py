"""What a prediction request may hold: one set of limits for the service that answers and the collector that stores.

Whatever a service answers with 200 is a payload that the collector takes, since both ask these rules. A rule says in
words what is wrong, or is None.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from capstan.domain.local_times import in_zone

LONGEST_TEXT = 8192
"""Characters of one input."""
LONGEST_ID = 512
"""Characters of an entity's id or a request's."""
LONGEST_COLUMN = 200
"""Characters of a column's name."""
MOST_INPUTS = 6000
"""Columns of one row: as many features as a file may name, and the keys."""
WIDEST_WHOLE = 2**64
"""Beyond it JSON parsers read whole numbers as something else."""
LARGEST_BATCH = 10 * 2**20
"""Bytes of payloads, or of labels, that the collector takes at once."""
LARGEST_CALL = 65_536
"""Bytes of a webhook's body."""
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)
PLAIN_NAME = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_LONGEST_MOMENT = 40
_FAR_YEAR = re.compile(r"(?P<sign>-)(?=\d{4})|\+?\d{5,}-\d\d-")
"""A year that Python's datetime does not know: of more than four digits, or with a sign."""
_FORM = "such as 2013-02-01T12:00:00Z"


def id_rule(identity: object) -> str | None:
    """Which rule a text breaks as an id."""
    if type(identity) is not str or not 0 < len(identity) <= LONGEST_ID or not is_encodable(identity):
        return f"must be a text of 1 to {LONGEST_ID} characters"
    return None


def column_rule(name: object) -> str | None:
    """Which rule a text breaks as the name of a column."""
    if type(name) is not str or not 0 < len(name) <= LONGEST_COLUMN or not is_encodable(name):
        return f"must be a column's name of 1 to {LONGEST_COLUMN} characters"
    return None


def input_rule(value: object) -> str | None:
    """Which rule a JSON value breaks as an input, whatever its column."""
    kind = type(value)
    if kind is float:
        return None if value - value == 0 else "must be a finite number"  # type: ignore[operator]
    if kind is str:
        if len(value) > LONGEST_TEXT:  # type: ignore[arg-type]
            return f"must have at most {LONGEST_TEXT} characters"
        return None if is_encodable(value) else "must be a text that UTF-8 can hold"  # type: ignore[arg-type]
    if kind is int:
        return None if abs(value) <= WIDEST_WHOLE else "must be between -2^64 and 2^64"  # type: ignore[arg-type]
    if value is None or kind is bool:
        return None
    return "must be a number, a text, true, false or null"


def moment_rule(value: object, *, zone: str | None = None) -> str | None:
    """Which rule a value breaks as a moment.

    `zone`: the IANA zone of times that do not say their distance from UTC; None: all must.
    """
    if type(value) is not str:
        return f"must be a time written as RFC 3339, {_FORM}"
    moment = _parsed(value)
    if moment is not None and EARLIEST.year < moment.year < LATEST.year - 1:
        # Far from both ends, whatever the offset: this runs on every request.
        if moment.tzinfo is None and zone is None:
            return f"has no offset from UTC; write RFC 3339, {_FORM}"
        return None
    if moment is None:
        far = _FAR_YEAR.match(value)
        if far is not None:
            return _beyond(before=far["sign"] == "-")
        return f"is no time of the calendar; write RFC 3339, {_FORM}"
    if moment.tzinfo is None:
        if zone is None:
            return f"has no offset from UTC; write RFC 3339, {_FORM}"
        try:
            moment = in_zone(moment, zone)
        except OverflowError:
            return _beyond(before=moment < EARLIEST.replace(tzinfo=None))
    if not EARLIEST <= moment < LATEST:
        return _beyond(before=moment < EARLIEST)
    return None


def _beyond(*, before: bool) -> str:
    first, last = EARLIEST.year, LATEST.year - 1
    return f"is {f'before {first}' if before else f'after {last}'}; moments are from {first} to {last}"


def parse_moment(value: object) -> datetime | None:
    """The moment in UTC; None if `moment_rule` has something to say."""
    if type(value) is not str:
        return None
    moment = _parsed(value)
    if moment is None:
        return None
    is_far_from_ends = EARLIEST.year < moment.year < LATEST.year - 1
    if is_far_from_ends and moment.tzinfo is not None:
        return moment.astimezone(UTC)
    return None if moment_rule(value) is not None else moment.astimezone(UTC)


def is_encodable(text: str) -> bool:
    """Whether it has no half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _parsed(text: str) -> datetime | None:
    if len(text) > _LONGEST_MOMENT:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
