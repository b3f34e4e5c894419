"""What Seldon's executor asks a router by protocol v2, and where a loop tells it all rewards at once.

`seldon-core-microservice` listens at neither place. It adds the Flask blueprint that a component has as
`model_error_handler` to its server, and these paths are in that blueprint.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flask import Blueprint, Response, request

ARM, SHARES = "capstan_arm", "capstan_shares"
"""Parameters of a request that say which child it goes to, and by which shares that was drawn."""
PUID = "Seldon-Puid"
"""Header with the request's id, which the executor sends to every node of the graph."""


@dataclass(frozen=True)
class Choice:
    """The child of one request."""

    arm: int
    shares: Sequence[int]
    """Percents by which it was drawn, one for each child."""


class RefusedError(Exception):
    """The document that was sent is not taken; the text says why."""


def blueprint(
    arms: Sequence[str],
    choose: Callable[[str], Choice],
    tell: Callable[[Mapping[str, Any]], None],
    told: Callable[[], Mapping[str, Any] | None],
    exposed: Callable[[], str],
    token_file: str,
) -> Blueprint:
    """`arms`: names of the children. `tell` takes what is put at `/rewards`, or raises RefusedError. `exposed`: what
    Prometheus reads at `/metrics`.

    token_file: file with the bearer token that `/rewards` asks for; empty: anybody may put them.
    """
    made = Blueprint("open_inference", __name__)

    # As TRANSFORM_INPUT: the answer has `inputs`, so the executor hands it to the child as it is.
    @made.route("/v2/models/<model>/infer", methods=["POST"])
    def infer(model: str) -> Response:  # noqa: ARG001
        asked = _object()
        if asked is None:
            return _error(400, "body: must be a JSON object with `inputs`")
        chosen = choose(request.headers.get(PUID, ""))
        known = asked.get("parameters")
        asked["parameters"] = {
            **(known if isinstance(known, dict) else {}),
            ARM: arms[chosen.arm],
            SHARES: spelled(arms, chosen.shares),
        }
        return _json(asked)

    @made.route("/v2/models/<model>/route", methods=["POST"])
    def route(model: str) -> Response:  # noqa: ARG001
        parameters = (_object() or {}).get("parameters")
        named = parameters.get(ARM) if isinstance(parameters, dict) else None
        if named in arms:
            return _json([arms.index(named)])
        return _json([choose(request.headers.get(PUID, "")).arm])

    @made.route("/rewards", methods=["GET", "PUT"])
    def rewards() -> Response:
        if not _is_allowed(token_file):
            return _error(401, "a bearer token is needed")
        if request.method == "GET":
            return _json(told())
        document = _object()
        try:
            if document is None:
                raise RefusedError("body: must be a JSON object")
            tell(document)
        except RefusedError as error:
            return _error(422, str(error))
        return _json(document)

    @made.route("/metrics", methods=["GET"])
    def metrics() -> Response:
        return Response(exposed(), content_type="text/plain; version=0.0.4; charset=utf-8")

    return made


def spelled(arms: Sequence[str], shares: Sequence[int]) -> str:
    """`v1=60 v2=40`."""
    return " ".join(f"{arm}={share}" for arm, share in zip(arms, shares, strict=True))


def _object() -> dict[str, Any] | None:
    try:
        found = json.loads(request.get_data())
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _is_allowed(token_file: str) -> bool:
    if not token_file:
        return True
    # Read at each request: a Secret that is mounted changes while the process runs.
    wanted = f"Bearer {Path(token_file).read_text().strip()}"
    return hmac.compare_digest(request.headers.get("Authorization", "").encode(), wanted.encode())


def _json(document: object) -> Response:
    return Response(json.dumps(document), content_type="application/json")


def _error(status: int, message: str) -> Response:
    return Response(json.dumps({"error": message}), status, content_type="application/json")
