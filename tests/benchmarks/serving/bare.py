"""The limit: a handler without checks, ids, metrics or log around the same compiled model.

`MODEL` is a model folder.
"""

from __future__ import annotations

import os
from pathlib import Path

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from capstan.serving.model import load

model = load(Path(os.environ["MODEL"]))


async def predict(request: Request) -> Response:
    body = orjson.loads(await request.body())
    rows = body.get("rows", [body])
    predictions = [model.predict_row(rows[0])] if len(rows) == 1 else model.predict_rows(rows).tolist()
    answer = {"predictions": [{"probability": p, "label": p >= 0.5} for p in predictions]}
    return Response(orjson.dumps(answer), media_type="application/json")


async def ready(_request: Request) -> Response:
    return Response(b"ok")


app = Starlette(routes=[Route("/predict", predict, methods=["POST"]), Route("/ready", ready)])
