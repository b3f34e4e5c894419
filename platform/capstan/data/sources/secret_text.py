"""What a secret of a source holds."""

from __future__ import annotations

from capstan.data.sources.reading import Reading
from capstan.errors import InvalidDataError
from capstan.spec.secrets import ValueFrom


def secret_text(reading: Reading, value: ValueFrom, what: str) -> str:
    """Its text without space around it; raises InvalidDataError that tells where to write `what`."""
    secret = value.secret_key_ref
    path = reading.secrets / secret.name / secret.key
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not UTF-8 text"
        raise InvalidDataError(
            f"{reading.field}: the secret {secret.name}/{secret.key} cannot be read ({reason}); write {what} to {path}"
        ) from None
