"""What a file may ask for and one machine cannot do."""

from __future__ import annotations

from pathlib import Path

from capstan.errors import InvalidDataError, InvalidSpecError, Mistake, UnavailableError
from capstan.features.pseudonyms import read_pseudonym_keys
from capstan.online.redis import require_redis
from capstan.online.stores import read_address
from capstan.recording.webhooks import MADE_BY, read_keys
from capstan.spec import MLSystem
from capstan.spec.providers import DEFAULT, PROVIDERS


def require_one_machine(system: MLSystem) -> None:
    """Raises InvalidSpecError for a file that needs a cluster."""
    provider = system.spec.serving.traffic.provider
    if not PROVIDERS[provider].on_one_machine:
        raise InvalidSpecError(
            [
                Mistake(
                    "serving.traffic.provider",
                    f"{provider!r} only works in a cluster; write {DEFAULT} to run it here, "
                    "or name a cluster with --context",
                )
            ]
        )


def require_privacy_keys(system: MLSystem, secrets: Path) -> None:
    """Raises InvalidSpecError for columns that could not be pseudonymised; `secrets` holds files NAME/KEY."""
    mistakes = []
    for index, column in enumerate(system.spec.data.privacy.columns):
        if column.pseudonymise is None:
            continue
        secret = column.pseudonymise.key_from.secret_key_ref
        try:
            read_pseudonym_keys(secrets, str(secret.name), secret.key)
        except InvalidDataError as error:
            field = f"data.privacy.columns[{index}].pseudonymise.keyFrom"
            mistakes.append(Mistake(field, str(error).removeprefix("data.privacy: ")))
    if mistakes:
        raise InvalidSpecError(mistakes)


def require_event_stores(system: MLSystem, secrets: Path) -> None:
    """Raises InvalidSpecError for events whose server could not be found, and MissingExtraError."""
    mistakes = []
    for index, events in enumerate(system.spec.data.events):
        if events.online is None:
            continue
        require_redis()
        secret = events.online.url_from.secret_key_ref
        try:
            read_address(secrets, str(secret.name), secret.key)
        except UnavailableError as error:
            mistakes.append(Mistake(f"data.events[{index}].online.urlFrom", error.reason))
    if mistakes:
        raise InvalidSpecError(mistakes)


def require_webhook_secrets(system: MLSystem, secrets: Path) -> None:
    """Raises InvalidSpecError for a webhook whose sender could not be let in; `secrets` holds files NAME/KEY."""
    mistakes = []
    for field, webhook in system.spec.retraining.webhooks.items():
        secret = webhook.secret_from.secret_key_ref
        path = secrets / secret.name / secret.key
        keys = read_keys(path)
        if isinstance(keys, str):
            way_out = MADE_BY.format(path=path)
            mistakes.append(
                Mistake(f"{field}.secretFrom", f"the secret {secret.name}/{secret.key} {keys}; {way_out}")
            )
    if mistakes:
        raise InvalidSpecError(mistakes)
