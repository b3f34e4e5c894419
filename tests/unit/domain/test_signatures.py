"""Claims about signatures of posted messages, held to the example that Standard Webhooks publishes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from capstan.domain.signatures import ID, SIGNATURE, TIMESTAMP, fault_of, key_of, signed

PUBLISHED = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'
AT = datetime.fromtimestamp(1614265330, UTC)
HEADERS = {
    ID: "msg_p5jXN8AQM9LWM0D4loKWxJek",
    TIMESTAMP: "1614265330",
    SIGNATURE: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
"""The test vector of the reference libraries."""


def key(secret: str = PUBLISHED) -> bytes:
    found = key_of(secret)
    assert found is not None
    return found


def test_the_published_example_is_signed_and_verified_alike() -> None:
    assert signed(key(), HEADERS[ID], AT, BODY) == HEADERS
    assert fault_of(HEADERS, BODY, key(), AT) is None
    assert key(f"whsec_{PUBLISHED}\n") == key()


@pytest.mark.parametrize(
    ("change", "body", "header"),
    [
        ({ID: "msg_other"}, BODY, SIGNATURE),
        ({TIMESTAMP: "1614265331"}, BODY, SIGNATURE),
        ({}, BODY + b" ", SIGNATURE),
        ({SIGNATURE: HEADERS[SIGNATURE].replace("v1,", "v2,")}, BODY, SIGNATURE),
        ({SIGNATURE: "v1,\u00e9"}, BODY, SIGNATURE),
        ({SIGNATURE: ""}, BODY, SIGNATURE),
        ({ID: ""}, BODY, ID),
        ({ID: "a\nb"}, BODY, ID),
        ({ID: "a.b"}, BODY, ID),
        ({ID: "x" * 129}, BODY, ID),
        ({TIMESTAMP: "-5"}, BODY, TIMESTAMP),
        ({TIMESTAMP: "\u0661"}, BODY, TIMESTAMP),
        ({TIMESTAMP: "9" * 40}, BODY, TIMESTAMP),
    ],
)
def test_whatever_is_changed_is_told_by_its_header(change: dict[str, str], body: bytes, header: str) -> None:
    fault = fault_of({**HEADERS, **change}, body, key(), AT)
    assert fault is not None
    assert fault.header == header


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_message_of_another_time_is_refused(seconds: int) -> None:
    fault = fault_of(HEADERS, BODY, key(), AT + timedelta(seconds=seconds))
    assert fault is not None
    assert fault.header == TIMESTAMP
    assert fault_of(HEADERS, BODY, key(), AT + timedelta(seconds=seconds // 301 * 299)) is None


def test_one_of_several_signatures_is_enough() -> None:
    several = {**HEADERS, SIGNATURE: f"v1a,zzz v1,AAAA {HEADERS[SIGNATURE]}"}
    assert fault_of(several, BODY, key(), AT) is None


@pytest.mark.parametrize("secret", ["", "short", "whsec_", "no base64!", "A" * 100, "QUJD" * 5])
def test_what_is_no_key_is_none(secret: str) -> None:
    assert key_of(secret) is None
