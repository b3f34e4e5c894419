"""The address of a gateway elsewhere is refused with the reason before anybody is asked."""

from __future__ import annotations

import pytest

from capstan.errors import NotFoundError
from capstan.verbs.elsewhere import address_written


@pytest.mark.parametrize(
    ("url", "said"),
    [
        pytest.param("gateway.example", "must begin with http:// or https://", id="no_scheme"),
        pytest.param("http://gateway:port", "is no address: Invalid port", id="port"),
        pytest.param("http://gateway.example/\n", "is no address", id="line_break"),
        pytest.param("http://", "names no host", id="no_host"),
    ],
)
def test_what_is_no_address_is_refused(url: str, said: str) -> None:
    with pytest.raises(NotFoundError, match=f"^--url {url}: {said}"):
        address_written(url, "--url")


def test_an_address_is_taken_without_its_last_slash() -> None:
    assert address_written("https://gateway.example/ml/", "--url") == "https://gateway.example/ml"


@pytest.mark.parametrize(
    "url", ["ftp://me:hunter2@gateway", "http://me:hunter2@:80", "http://me:hunter2@[::1/x"]
)
def test_a_password_is_not_told(url: str) -> None:
    with pytest.raises(NotFoundError, match=r"--url (ftp|http)://\(hidden\)@") as raised:
        address_written(url, "--url")
    assert "hunter2" not in str(raised.value)
