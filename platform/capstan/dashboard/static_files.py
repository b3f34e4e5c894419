"""The page's own files, read once, under a name that changes with their content, so that browsers keep them."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
import posixpath
import re
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

STATIC = Path(__file__).parent / "static"
KEEP = "public, max-age=31536000, immutable"
_IMPORT = re.compile(r'^import .*?from "(\./|\.\./)(.+?)";', re.MULTILINE)
_SCRIPT = re.compile(r'<script type="module" src="static/(.+?)"></script>')


@dataclass(frozen=True)
class StaticFile:
    """One file as it is sent."""

    media_type: str
    body: bytes
    packed: bytes
    """By gzip."""


def _read() -> dict[str, StaticFile]:
    found = {}
    for file in sorted(path for path in STATIC.rglob("*") if path.is_file()):
        body = file.read_bytes()
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        found[file.relative_to(STATIC).as_posix()] = StaticFile(kind, body, gzip.compress(body, mtime=0))
    return found


FILES = _read()


def _version() -> str:
    digest = hashlib.sha256()
    for name, file in FILES.items():
        digest.update(name.encode() + b"\0" + file.body)
    return digest.hexdigest()[:12]


VERSION = _version()


def imported(script: str) -> list[str]:
    """Names of all scripts that a script needs, those of its imports too."""
    found: dict[str, None] = {}
    waiting = [script]
    while waiting:
        name = waiting.pop(0)
        for up, rest in _IMPORT.findall(FILES[name].body.decode()):
            other = posixpath.normpath(posixpath.join(posixpath.dirname(name), up + rest))
            if other not in found:
                found[other] = None
                waiting.append(other)
    return list(found)


def _html(file: str) -> str:
    """The file, which names every script: a browser then fetches all at once, not import after import."""
    text = FILES[file].body.decode()
    for script in _SCRIPT.findall(text):
        links = "".join(f'  <link rel="modulepreload" href="static/{name}">\n' for name in imported(script))
        text = text.replace("</head>", f"{links}</head>", 1)
    return text


_HTML = {name: _html(name) for name in FILES if name.endswith(".html")}


def html(file: str, root: str) -> str:
    """An HTML file. What it needs is named from where the page stands, so it works below any prefix."""
    text = re.sub(r'="static/', f'="{root}static/{VERSION}/', _HTML[file])
    return text.replace("<html ", f'<html data-root="{root}" ', 1)


class Files:
    """Answers from memory: no thread and no disk, so that a busy page answers at once."""

    def __init__(self, *, keep: bool) -> None:
        """`keep`: the files never change under their name."""
        self._keep = keep

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        await self._answer(request)(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        if request.method not in ("GET", "HEAD"):
            return PlainTextResponse("files are read\n", status_code=405, headers={"allow": "GET, HEAD"})
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        file = FILES.get(path.lstrip("/"))
        if file is None:
            return PlainTextResponse("there is no such file\n", status_code=404)
        headers = {"vary": "accept-encoding"}
        if self._keep:
            headers["cache-control"] = KEEP
        takes = [
            part.partition(";")[0].strip() for part in request.headers.get("accept-encoding", "").split(",")
        ]
        body = file.body
        if "gzip" in takes:
            headers["content-encoding"] = "gzip"
            body = file.packed
        return Response(body, media_type=file.media_type, headers=headers)
