"""`capstan trigger`: what another system posts to have a model trained, sent from here or printed for it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, File, Json, State, honest_errors, out, print_json
from capstan.cli.place import IN_A_CLUSTER, Context, Namespace, folder_of
from capstan.cli.remote_gateway import Url, gateway_address
from capstan.errors import InvalidSpecError, Mistake, NotFoundError

if TYPE_CHECKING:
    from capstan.spec import MLSystem
    from capstan.spec.retraining import OnWebhook

app = App()

_TRIES_SECONDS = 15.0


@app.command(epilog='Example: capstan trigger system.yaml airflow --reason "August is complete"')
def trigger(
    file: File,
    sender: Annotated[
        str, typer.Argument(help="A `sender` of retraining.triggers in the file.", show_default=False)
    ],
    reason: Annotated[str, typer.Option(help="Why; the story tells it.", show_default=False)] = "",
    call_id: Annotated[
        str | None,
        typer.Option("--id", help="Id of the call; the same one twice counts once.", show_default=False),
    ] = None,
    curl: Annotated[
        bool, typer.Option("--curl", help="Print a shell script that the other system can run; send nothing.")
    ] = False,
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    url: Url = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the secret; default: the one that the file names, in the state directory.",
            show_default=False,
            rich_help_panel=IN_A_CLUSTER,
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Ask for a training as another system does: a signed call of `webhook` in retraining.triggers.

    Cooldown, budget, backoff and approval hold it as they hold every trigger. With --curl the script for the other
    system is printed. It signs by openssl, with a secret that it reads from a file and that is never printed.
    """
    with honest_errors(json):
        from capstan.spec import load

        system = load(file)
        webhook = _webhook(system, sender)
        path = secret_file or _local_secret(system, webhook, state, context, url)
        with gateway_address(system, state, context, namespace, url) as elsewhere:
            address = elsewhere or _local_gateway(system, state, otherwise=curl)
            target = f"{address}/webhooks/{sender}"
            if curl:
                script = curl_script(target, reason, path)
                if json:
                    print_json({"script": script})
                else:
                    out.print(script, markup=False, soft_wrap=True, highlight=False)
                return
            answer = _send(target, reason, call_id, _key(path))
    if json:
        print_json(answer)
    else:
        first = "taken" if answer["accepted"] else "taken before, and counts once"
        out.print(f"{answer['id']}: {first}; the loop hears of it at its next look", markup=False)


def _webhook(system: MLSystem, sender: str) -> OnWebhook:
    found = {webhook.sender: webhook for webhook in system.spec.retraining.webhooks.values()}
    if sender not in found:
        known = ", ".join(found) or "there is none; add `webhook: {sender, secretFrom}`"
        raise InvalidSpecError(
            [Mistake("retraining.triggers", f"{sender!r} is no sender of a webhook in the file: {known}")]
        )
    return found[sender]


def _local_secret(
    system: MLSystem, webhook: OnWebhook, state: Path, context: str | None, url: str | None
) -> Path:
    reference = webhook.secret_from.secret_key_ref
    if context is not None or url is not None:
        # The Secret of a cluster is the other system's; this command reads no Secrets.
        raise NotFoundError(
            f"--secret-file: is needed in a cluster: `kubectl get secret {reference.name} -o "
            f"jsonpath='{{.data.{reference.key}}}' | base64 -d` shows whoever may read it"
        )
    return folder_of(system, state).secrets / reference.name / reference.key


def _local_gateway(system: MLSystem, state: Path, *, otherwise: bool) -> str:
    from capstan.verbs.answering import running_gateway

    more = "--url names an address of a gateway, " if otherwise else ""
    return running_gateway(folder_of(system, state), otherwise=more)


def _key(path: Path) -> bytes:
    from capstan.recording.webhooks import MADE_BY, read_keys

    keys = read_keys(path)
    if isinstance(keys, str):
        raise NotFoundError(f"the secret {path} {keys}; {MADE_BY.format(path=path)}")
    return keys[0]


def _send(target: str, reason: str, call_id: str | None, key: bytes) -> Mapping[str, object]:
    import secrets
    from datetime import UTC, datetime

    import httpx
    import orjson

    from capstan.adapters.own.collector import problem_of
    from capstan.domain.signatures import signed
    from capstan.errors import NotAllowedError, UnavailableError
    from capstan.outages import answer_in_words, in_words

    call_id = call_id or f"msg_{secrets.token_hex(12)}"
    body = orjson.dumps({"reason": reason})
    headers = signed(key, call_id, datetime.now(UTC), body)
    try:
        with httpx.Client(timeout=_TRIES_SECONDS, trust_env=False) as client:
            answer = client.post(
                target, content=body, headers={"content-type": "application/json", **headers}
            )
    except httpx.HTTPError as error:
        raise UnavailableError("the gateway", in_words(error, "the gateway")) from error
    if answer.status_code == 200:
        return {"id": call_id, **answer.json()}
    problem = problem_of(answer)
    if answer.status_code in (401, 404, 413, 422, 429) and problem:
        raise NotAllowedError(f"{target}: {problem.get('field')} {problem.get('rule')}")
    raise UnavailableError("the gateway", answer_in_words(answer.status_code, answer.text, "the gateway"))


def curl_script(target: str, reason: str, secret: Path) -> str:
    """A script for a shell with openssl and curl, that signs and sends one call; a second try keeps its id."""
    import json

    body = json.dumps({"reason": reason or "say why"})
    hash_it = 'openssl dgst -sha256 -mac HMAC -macopt "hexkey:$KEY" -binary | openssl base64 -A'
    return f"""\
# Where others can list your processes, sign in Python: openssl is told the key on its command line.
SECRET_FILE={shlex.quote(str(secret))}
ID="msg_$(openssl rand -hex 12)"  # keep it when you try again: an id counts once
NOW="$(date +%s)"
BODY={shlex.quote(body)}
KEY="$(head -n 1 "$SECRET_FILE" | sed 's/^whsec_//' | openssl base64 -d -A | od -An -v -tx1 | tr -d ' \\n')"
SIGNATURE="$(printf '%s.%s.%s' "$ID" "$NOW" "$BODY" | {hash_it})"
curl --fail-with-body --retry 5 -X POST {shlex.quote(target)} -H 'content-type: application/json' \\
  -H "webhook-id: $ID" -H "webhook-timestamp: $NOW" -H "webhook-signature: v1,$SIGNATURE" --data-raw "$BODY\""""
