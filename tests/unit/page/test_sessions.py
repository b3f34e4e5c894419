"""Claims about sessions: sealed, the same for every replica, over in time; codes let in once."""

from __future__ import annotations

import pytest

from capstan.errors import InvalidSpecError
from capstan_page.sessions import CODE_SECONDS, Codes, Session, Sessions

KEY = b"k" * 40
TOKEN = "eyJhbGciOiJSUzI1NiJ9.payload.signature"


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_another_replica_opens_what_one_has_sealed() -> None:
    sealed = Sessions(KEY, hours=1).seal(Sessions(KEY, hours=1).begin(TOKEN))
    found = Sessions(KEY, hours=1).open(sealed)
    assert found is not None
    assert found.token == TOKEN


def test_a_cookie_tells_nothing_of_the_token_and_is_another_each_time() -> None:
    sessions = Sessions(KEY, hours=1)
    session = sessions.begin(TOKEN)
    one, two = sessions.seal(session), sessions.seal(session)
    assert one != two
    assert TOKEN not in one
    assert "payload" not in one


@pytest.mark.parametrize("at", [0, 20, 60, -1])
def test_a_cookie_that_somebody_has_changed_opens_nothing(at: int) -> None:
    sessions = Sessions(KEY, hours=1)
    sealed = list(sessions.seal(sessions.begin(TOKEN)))
    # The last character of base64 holds bits that mean nothing; the one before it does not.
    at = at if at >= 0 else len(sealed) - 3
    sealed[at] = "A" if sealed[at] != "A" else "B"
    assert sessions.open("".join(sealed)) is None


@pytest.mark.parametrize("text", ["", "x", "eyJ0b2tlbiI6ICJhIn0", "ÄÖÜ", "A" * 5000])
def test_what_was_never_sealed_opens_nothing(text: str) -> None:
    assert Sessions(KEY, hours=1).open(text) is None


def test_another_key_opens_nothing() -> None:
    sealed = Sessions(KEY, hours=1).seal(Session(TOKEN, 9e9))
    assert Sessions(b"o" * 40, hours=1).open(sealed) is None


def test_a_session_is_over_in_time_whatever_the_browser_keeps() -> None:
    clock = Clock()
    sessions = Sessions(KEY, hours=2, clock=clock)
    sealed = sessions.seal(sessions.begin(TOKEN))
    clock.now += 2 * 3600 - 1
    assert sessions.open(sealed) is not None
    clock.now += 1
    assert sessions.open(sealed) is None


def test_a_short_key_is_refused_by_name() -> None:
    with pytest.raises(InvalidSpecError, match="session_key: 5 bytes are fewer than 32"):
        Sessions(b"short", hours=1)


def test_a_code_lets_in_once() -> None:
    codes = Codes()
    code = codes.issue(TOKEN)
    assert codes.redeem("another") == ""
    assert codes.redeem(code) == TOKEN
    assert codes.redeem(code) == ""


def test_a_code_of_a_minute_ago_lets_nobody_in() -> None:
    clock = Clock()
    codes = Codes(clock=clock)
    code = codes.issue(TOKEN)
    clock.now += CODE_SECONDS
    assert codes.redeem(code) == ""
