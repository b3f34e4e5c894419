"""What stands for the ids in posted labels and events, where the system's file pseudonymises them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from capstan.errors import InvalidDataError, UnavailableError
from capstan.features.pseudonyms import PseudonymKeys, read_pseudonym_keys

_KEYS = {"id": "id", "unit": "stickyBy"}
"""Field of an entry -> key of the file whose values it holds."""


class PostedIds(NamedTuple):
    """Fields of entries that hold a raw id, with the secret of its keys."""

    secrets: Mapping[str, tuple[str, str]]
    """`id` or `unit` -> name and key of the secret."""

    @classmethod
    def of_file(cls, spec: Mapping[str, Any]) -> PostedIds:
        """As the file says; `spec` is plain JSON."""
        data = spec.get("data") or {}
        marked = {
            one["name"]: one["pseudonymise"]["keyFrom"]["secretKeyRef"]
            for one in (data.get("privacy") or {}).get("columns", ())
            if one.get("pseudonymise")
        }
        keys = data.get("keys") or {}
        found = {field: marked[keys[key]] for field, key in _KEYS.items() if keys.get(key) in marked}
        return cls({field: (str(one["name"]), str(one["key"])) for field, one in found.items()})

    def treated(self, entries: list[Any], folder: Path | None) -> list[Any]:
        """The entries with pseudonyms of the current key, then those of older keys that are still there.

        A request that was answered before the key was changed is found by the older pseudonym. Raises UnavailableError
        where the keys cannot be read: then nothing is taken.
        """
        if not self.secrets:
            return entries
        keys = {field: _read(folder, *secret) for field, secret in self.secrets.items()}
        made, older = [], []
        for entry in entries:
            first, *others = _versions(entry, keys)
            made.append(first)
            older += others
        return made + older


def _versions(entry: dict[str, Any], keys: Mapping[str, PseudonymKeys]) -> list[dict[str, Any]]:
    for field, of_field in keys.items():
        if entry.get(field) is not None:
            first, *others = of_field.every(str(entry[field]))
            return [{**entry, field: first}, *({**entry, **_named(entry, one), field: one} for one in others)]
    return [entry]


def _named(entry: dict[str, Any], pseudonym: str) -> dict[str, Any]:
    """Of an event an id of its own: of two with one id only the newer counts."""
    if entry.get("eventId") is None:
        return {}
    return {"eventId": f"{entry['eventId']}.{pseudonym.partition('-')[0]}"}


def _read(folder: Path | None, name: str, key: str) -> PseudonymKeys:
    try:
        return read_pseudonym_keys(folder or Path(), name, key)
    except InvalidDataError as error:
        raise UnavailableError("feedback", f"{error}; send again") from None
