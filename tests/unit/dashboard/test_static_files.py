"""Claims about the page's own files: all scripts are fetched at once, packed, and no request touches the disk."""

from __future__ import annotations

import re

import pytest
from browser import flights
from starlette.testclient import TestClient

from capstan.dashboard.access import TokenAccess
from capstan.dashboard.app import create_app
from capstan.dashboard.static_files import STATIC, VERSION, html
from capstan.dashboard.systems import OneSystem

ENTRANCES = {"list.js", "signin.js", "main.js"}
"""Scripts that a page names itself."""


@pytest.fixture(scope="module")
def client() -> TestClient:
    view = flights.empty().view()
    app = create_app(OneSystem(view, view.store, view.system), TokenAccess("t"))
    return TestClient(app, base_url="http://127.0.0.1:7411")


def test_the_page_of_a_system_names_every_script_that_its_panels_import() -> None:
    scripts = {file.relative_to(STATIC).as_posix() for file in STATIC.rglob("*.js")}
    named = re.findall(
        rf'<link rel="modulepreload" href="\.\./static/{VERSION}/(.+?)">', html("index.html", "../")
    )
    assert sorted(named) == sorted(scripts - ENTRANCES)


def test_a_browser_that_takes_gzip_gets_a_third_of_the_bytes_and_the_same_text(client: TestClient) -> None:
    address, plain = f"/static/{VERSION}/panels.css", (STATIC / "panels.css").read_bytes()
    asked = client.get(address, headers={"accept-encoding": "gzip, br"})
    assert (asked.headers["content-encoding"], asked.content) == ("gzip", plain)
    assert int(asked.headers["content-length"]) < len(plain) / 3
    bare = client.get(address, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in bare.headers
    assert bare.content == plain
    assert "accept-encoding" in bare.headers["vary"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("main.js", "text/javascript"), ("page.css", "text/css"), ("icon.svg", "image/svg+xml")],
)
def test_a_file_has_the_type_that_a_browser_insists_on(client: TestClient, name: str, kind: str) -> None:
    assert client.get(f"/static/{VERSION}/{name}").headers["content-type"].startswith(kind)


@pytest.mark.parametrize("name", ["../page.py", "%2e%2e/page.py", "panels", "", "nothing.js"])
def test_only_the_pages_own_files_are_found(client: TestClient, name: str) -> None:
    assert client.get(f"/static/{name}").status_code == 404


def test_files_are_read_and_nothing_else(client: TestClient) -> None:
    assert client.post("/static/main.js").status_code == 405
    head = client.head("/static/main.js", headers={"accept-encoding": "identity"})
    assert (head.status_code, head.content) == (200, b"")
