"""Which settings of a family a search can change, and why a value cannot be one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator, ValidationError
from pydantic.fields import FieldInfo

from capstan.spec.families import FamilySettings
from capstan.spec.own_code import OwnCode
from capstan.spec.units import format_share, parse_share

SettingKind = Literal["Whole", "Number", "Share", "Choice"]


@dataclass(frozen=True)
class Searchable:
    """One setting that a search can change."""

    kind: SettingKind
    written: float | int | str | None
    """What the file says, or the default; None: the family decides."""
    choices: tuple[str, ...] = ()
    """Of a Choice; empty: any text."""


def searchable_settings(settings: FamilySettings) -> Mapping[str, Searchable]:
    """The numbers, shares and choices among the settings, by their names in the file; of `custom` its parameters."""
    if isinstance(settings, OwnCode):
        return {name: found for name, value in settings.parameters.items() if (found := _parameter(value))}
    fields = type(settings).model_fields
    return {
        field.alias or name: found
        for name, field in fields.items()
        if (found := _searchable(field, getattr(settings, name)))
    }


def with_values(settings: FamilySettings, values: Mapping[str, float | int | str]) -> FamilySettings:
    """The settings with other values, by their names in the file; they are not checked."""
    if isinstance(settings, OwnCode):
        return settings.model_copy(update={"parameters": {**settings.parameters, **values}})
    names = {field.alias or name: name for name, field in type(settings).model_fields.items()}
    return settings.model_copy(update={names[name]: value for name, value in values.items()})


def why_not(settings: FamilySettings, name: str, value: float | int | str) -> str | None:
    """What the family's grammar says against the value: a rule and a way out; None where it takes the value."""
    from capstan.spec.mistakes import explained, grammar_errors

    known = searchable_settings(settings)[name]
    if isinstance(settings, OwnCode):
        is_whole = isinstance(value, float) and value.is_integer()
        if known.kind == "Whole" and not is_whole:
            return f"{value:g} is no whole number, as {known.written!r} is; write one"
        return None
    written = settings.model_dump(mode="json", by_alias=True, exclude_unset=True)
    try:
        type(settings).model_validate({**written, name: _as_written(known.kind, value)})
    except ValidationError as error:
        return explained(grammar_errors(error)[0], {})
    return None


def _as_written(kind: SettingKind, value: float | int | str) -> object:
    if kind == "Share" and isinstance(value, int | float) and 0 <= value <= 1:
        return format_share(value)
    return int(value) if kind == "Whole" and isinstance(value, float) and value.is_integer() else value


def _parameter(value: Any) -> Searchable | None:
    if isinstance(value, bool):
        return None
    kinds: dict[type, SettingKind] = {int: "Whole", float: "Number", str: "Choice"}
    return Searchable(kinds[type(value)], value)


def _searchable(field: FieldInfo, written: Any) -> Searchable | None:
    annotation, extras = _plain(field.annotation, tuple(field.metadata))
    if get_origin(annotation) is Literal:
        return Searchable("Choice", written, get_args(annotation))
    if any(isinstance(one, BeforeValidator) and one.func is parse_share for one in extras):
        return Searchable("Share", written)
    if annotation is int:
        return Searchable("Whole", written)
    return Searchable("Number", written) if annotation is float else None


def _plain(annotation: Any, extras: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    """The type without None and without what Annotated says of it, which comes second."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _plain(inner, (*extras, *more))
    if get_origin(annotation) in (Union, UnionType):
        (inner,) = (one for one in get_args(annotation) if one is not type(None))
        return _plain(inner, extras)
    return annotation, extras
