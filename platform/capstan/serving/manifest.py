"""What a model folder says about itself: `manifest.json`, read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from capstan.errors import InvalidDataError
from capstan.features.images import Limits
from capstan.features.treatments import Treated
from capstan.features.values import ColumnType
from capstan.online.lookup import AskedEvents
from capstan.spec.combination import Combination
from capstan.tasks import TASKS, Learnt


@dataclass(frozen=True)
class Column:
    """One raw column of a request."""

    name: str
    type: ColumnType
    """What training found in the column."""
    numeric: bool
    """Whether a feature reads it as a number; a category only otherwise."""
    required: bool = False
    """Whether a row must name it, as null where the value is not known."""
    nullable: bool = True
    minimum: float | None = None
    maximum: float | None = None
    allowed: frozenset[object] | None = None
    """Numbers, or categories as text. None: any value is accepted; a category that training never saw is counted."""
    trained_minimum: float | None = None
    trained_maximum: float | None = None
    """None: training saw no number."""
    refuse_outside: bool = False
    """Whether a number outside the range of training is refused, instead of answered and marked."""
    filled: bool = True
    """Whether training had any value; else every value is one that it never saw."""
    unquoted: bool = False
    """Whether a text may stand without quotes, as some of training's did: a number or a boolean for its one text."""
    image: Limits | None = None
    """What an image may take, whose text in base64 the column holds; None: it holds no images."""
    refuse_unreadable: bool = True
    """Whether what is no image that can be read is refused, instead of answered as missing and marked."""


@dataclass(frozen=True)
class Manifest:
    """What the pipeline's refit step wrote beside the model."""

    system: str
    task: str
    target: str
    columns: tuple[Column, ...]
    keys: Mapping[str, str] = field(default_factory=dict)
    """`id`, `time`, `sticky_by` and `group`, where the spec gives them; `entity0` and so on: whose events count."""
    events: tuple[AskedEvents, ...] = ()
    """From which columns are made that a request need not carry."""
    learnt: Learnt = field(default_factory=Learnt)
    """What the model knows about its answers."""
    combination: Combination | None = None
    """How several models answer together; None for one model."""
    time_zone: str = "UTC"
    """IANA zone of days, and of times without offset, in a row."""
    written: Mapping[str, str] = field(default_factory=dict)
    """Column -> how strptime reads its moments, where rows may write them so too."""
    ignored: frozenset[str] = frozenset()
    """Columns that the training's table had and the model does not read: a request may carry them for other versions.
    """
    treated: tuple[Treated, ...] = ()
    """Marked columns: rows hold what stands for their raw values."""


def read_manifest(model_dir: Path) -> Manifest:
    """The folder's manifest; raises InvalidDataError that names the field."""
    path = model_dir / "manifest.json"
    try:
        document = orjson.loads(path.read_bytes())
        if document["task"] not in TASKS:
            raise InvalidDataError(
                f"{path}: there is no task {document['task']!r}; tasks are {', '.join(TASKS)}: train the model again"
            )
        return Manifest(
            system=str(document["system"]),
            task=str(document["task"]),
            target=str(document["target"]),
            columns=tuple(_column(column) for column in document["columns"]),
            ignored=frozenset(map(str, document.get("ignored") or ())),
            keys={name: str(column) for name, column in (document.get("keys") or {}).items() if column},
            events=tuple(map(AskedEvents.of_document, document.get("events") or ())),
            learnt=replace(
                _learnt(document),
                parts={str(part["name"]): _learnt(part) for part in document.get("models") or ()},
            ),
            combination=_combination(document.get("combine")),
            time_zone=str(document.get("time_zone") or "UTC"),
            treated=tuple(map(Treated.of_json, document.get("privacy") or ())),
            written={str(column): str(form) for column, form in (document.get("written") or {}).items()},
        )
    except OSError as error:
        raise InvalidDataError(f"{path}: cannot be read: {error.strerror}") from error
    except KeyError as error:
        raise InvalidDataError(
            f"{path}: the field {error.args[0]!r} is missing; train the model again"
        ) from error
    except (orjson.JSONDecodeError, TypeError, ValueError, AttributeError) as error:
        raise InvalidDataError(f"{path}: is not a manifest: {error}") from error


def _learnt(document: Mapping[str, Any]) -> Learnt:
    threshold = document.get("threshold")
    # Scores of unusual rows may well be parted at 0.
    return Learnt(tuple(document.get("classes") or ()), 0.5 if threshold is None else float(threshold))


def _combination(document: Mapping[str, Any] | None) -> Combination | None:
    return None if document is None else Combination.of_document(document)


def _column(document: Mapping[str, Any]) -> Column:
    allowed = document.get("allowed")
    return Column(
        name=str(document["name"]),
        type=ColumnType(document["type"]),
        numeric=document["kind"] == "numeric",
        required=bool(document.get("required", False)),
        nullable=bool(document.get("nullable", True)),
        minimum=document.get("min"),
        maximum=document.get("max"),
        allowed=frozenset(allowed) if allowed is not None else None,
        trained_minimum=document.get("trained_min"),
        trained_maximum=document.get("trained_max"),
        refuse_outside=document.get("outside") == "Refuse",
        filled=bool(document.get("filled", True)),
        unquoted=bool(document.get("unquoted", False)),
        image=None if document.get("image") is None else Limits(**document["image"]),
        refuse_unreadable=document.get("unreadable") != "Missing",
    )
