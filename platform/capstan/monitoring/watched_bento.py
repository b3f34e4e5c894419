"""Which version is to be watched, as the operator says it, and its Bento, fetched and verified before that."""

from __future__ import annotations

import re
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import orjson

from capstan.artifacts.content import MODEL_FOLDER
from capstan.domain.payload_limits import parse_moment
from capstan.domain.versions import Digest
from capstan.errors import InvalidRequestError
from capstan.files import write_whole

_VERSION = re.compile(r"[A-Za-z0-9]([-._A-Za-z0-9]{0,61}[A-Za-z0-9])?")
_TAG = re.compile(r"[a-z0-9][-._a-z0-9]{0,126}:[a-z0-9][-._a-z0-9]{0,126}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class BentoSource(Protocol):
    """Where Bentos are fetched from."""

    def pull_bento(self, tag: str, digest: Digest, home: Path) -> Path: ...


@dataclass(frozen=True)
class WatchRequest:
    """The body of `PUT /target`."""

    version: str
    bento_tag: str
    digest: Digest
    since: datetime
    """Windows begin here, in event time."""


def parse_request(document: object) -> WatchRequest:
    """The request; raises InvalidRequestError that names the wrong field."""
    if not isinstance(document, dict):
        raise InvalidRequestError("body", type(document).__name__, "must be an object")
    texts = {
        "version": (_VERSION, "must be the name of a version, such as v3"),
        "bento_tag": (_TAG, "must be NAME:VERSION of a Bento"),
        "digest": (_DIGEST, "must be sha256: and 64 hexadecimal digits"),
    }
    for name, (pattern, rule) in texts.items():
        value = document.get(name)
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise InvalidRequestError(name, str(value)[:80], rule)
    since = parse_moment(document.get("since"))
    if since is None:
        raise InvalidRequestError(
            "since", str(document.get("since"))[:80], "must be an RFC 3339 time with a zone"
        )
    return WatchRequest(document["version"], document["bento_tag"], Digest(document["digest"]), since)


class WatchedBento:
    """Keeps `target.json` and the one Bento that it speaks of; may be called by several threads."""

    def __init__(self, target: Path, source: BentoSource, home: Path) -> None:
        """`home` gets `bentos/NAME/VERSION`; nothing else may lie there."""
        self._target = target
        self._source = source
        self._home = home
        self._lock = threading.Lock()

    def watch(self, request: WatchRequest) -> bool:
        """Make it the target; returns whether that is new. Repeating it changes nothing and fetches nothing.

        Raises UntrustedArtifactError, NotFoundError, UnavailableError or DiskFullError; the former target stays.
        """
        with self._lock:
            before = self._stored()
            wanted: dict[str, Any] = {
                "version": request.version,
                "bento_tag": request.bento_tag,
                "digest": request.digest,
                "since": request.since.astimezone(UTC).isoformat(),
            }
            if wanted.items() <= before.items() and Path(str(before.get("model_dir"))).is_dir():
                return False
            bento = self._source.pull_bento(request.bento_tag, request.digest, self._home)
            content = orjson.dumps({**wanted, "model_dir": str(bento / MODEL_FOLDER)})
            write_whole(self._target, content)
            self._clear(keep=bento)
            return True

    def _stored(self) -> Mapping[str, Any]:
        try:
            document = orjson.loads(self._target.read_bytes())
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def _clear(self, *, keep: Path) -> None:
        """Former Bentos are of no use: a rollback fetches its own again."""
        for folder in (self._home / "bentos").glob("*/*"):
            if folder != keep and folder.is_dir():
                shutil.rmtree(folder, ignore_errors=True)
