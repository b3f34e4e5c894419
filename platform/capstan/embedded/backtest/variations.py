"""The grid of policies that `--vary` asks for: one file for each combination of values, read by the grammar."""

from __future__ import annotations

import copy
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capstan.errors import InvalidSpecError, Mistake
from capstan.spec import MLSystem, parse

MOST_POLICIES = 100
VARIED = ("retraining", "monitoring", "rollout", "evaluation", "training")
"""Parts of the file that may differ between policies: all of them must be asked the same rows."""
_STEP = re.compile(r"([A-Za-z][A-Za-z0-9]*)((?:\[[^\[\]]+\])*)")
_PLACE = re.compile(r"\[([^\[\]]+)\]")
_PAIRS = {"[": "]", "{": "}"}


_THREADS = (
    "can't be varied: one process runs the trainings of all policies, with the threads of the file; it changes the "
    "time of a training, so measure that with `capstan train`"
)


@dataclass(frozen=True)
class Policy:
    """One combination."""

    values: Mapping[str, str]
    """Path -> value, as they were written; empty: the file as it is."""
    system: MLSystem

    @property
    def name(self) -> str:
        """`cooldown=7d minEffect=0.05`, by the last words of the paths if they differ; `the file`: nothing varies."""
        last = [path.rpartition(".")[2] for path in self.values]
        named = zip(self.values.items(), last, strict=True)
        return (
            " ".join(f"{path if last.count(word) > 1 else word}={value}" for (path, value), word in named)
            or "the file"
        )


def policies_of(system: MLSystem, document: Mapping[str, Any], written: Sequence[str]) -> list[Policy]:
    """Every combination of `PATH=VALUE,VALUE,...`, the last path varying fastest.

    `document` is the system's file as plain data. Raises InvalidSpecError that names each option that is wrong.
    """
    mistakes: list[Mistake] = []
    paths: dict[str, list[str]] = {}
    for option in written:
        path, _, values = option.partition("=")
        path = path.strip().removeprefix("spec.")
        wrong = _wrong(path, values, paths)
        if wrong:
            mistakes.append(Mistake(f"--vary {option}", wrong))
            continue
        paths[path] = [value.strip() for value in split_values(values)]
    if mistakes:
        raise InvalidSpecError(mistakes)
    count = math.prod(map(len, paths.values()))
    if count > MOST_POLICIES:
        parts = " x ".join(str(len(values)) for values in paths.values())
        raise InvalidSpecError(
            [
                Mistake(
                    "--vary",
                    f"{parts} = {count} policies, at most {MOST_POLICIES} run at once; give fewer values, or run "
                    "some first: policies that are finished are kept",
                )
            ]
        )
    return list(_combined(system, document, paths))


def _wrong(path: str, values: str, known: Mapping[str, Any]) -> str:
    """What is wrong with an option by itself; empty: nothing."""
    if not path or not values.strip():
        return "must read PATH=VALUE,VALUE, such as retraining.cooldown=7d,14d"
    if path in known:
        return f"{path} is varied twice; write all its values in one --vary"
    if not all(_STEP.fullmatch(step) for step in path.split(".")):
        return (
            f"{path!r} is no path of the file; write names with dots, and [0] or [name] for an item of a list"
        )
    root = path.split(".")[0].partition("[")[0]
    if root not in VARIED:
        return (
            f"{root!r} can't be varied, since all policies are asked the same rows; vary a field of "
            f"{', '.join(VARIED)}, or backtest a copy of the file"
        )
    found = [value.strip() for value in split_values(values)]
    if not all(found):
        return "has an empty value; write each value between two commas"
    twice = [value for value in dict.fromkeys(found) if found.count(value) > 1]
    if twice:
        return f"has {twice[0]} twice; drop one"
    around = [one for one in known if one.startswith((f"{path}.", f"{path}["))]
    around += [one for one in known if path.startswith((f"{one}.", f"{one}["))]
    if around:
        return f"{path} and {around[0]} are of one part of the file, and one would undo the other; vary one of them"
    return ""


def split_values(text: str) -> list[str]:
    """At commas that stand in no brackets and no quotes: a value may be a list or a map."""
    parts, closing, quote = [""], list[str](), ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character in _PAIRS:
            closing.append(_PAIRS[character])
        elif closing and character == closing[-1]:
            closing.pop()
        elif character == "," and not closing:
            parts.append("")
            continue
        parts[-1] += character
    return parts


def _combined(
    system: MLSystem, document: Mapping[str, Any], paths: Mapping[str, Sequence[str]]
) -> Iterator[Policy]:
    mistakes: dict[tuple[str, str], Mistake] = {}
    found = []
    for values in itertools.product(*paths.values()):
        chosen = dict(zip(paths, values, strict=True))
        changed = copy.deepcopy(dict(document))
        options = " ".join(f"{path}={value}" for path, value in chosen.items())
        try:
            for path, value in chosen.items():
                _set(changed["spec"], path, value)
            policy = Policy(chosen, parse(changed, base_dir=system.base_dir))
            if policy.system.spec.training.threads != system.spec.training.threads:
                raise InvalidSpecError([Mistake("training.threads", _THREADS)])
            found.append(policy)
        except InvalidSpecError as error:
            for mistake in error.mistakes:
                one = next((path for path in chosen if path in mistake.path), None)
                told = f"{one}={chosen[one]}" if one is not None else options
                message = mistake.message if mistake.path == one else f"{mistake.path}: {mistake.message}"
                mistakes.setdefault((told, message), Mistake(f"--vary {told}", message))
    if mistakes:
        raise InvalidSpecError(list(mistakes.values()))
    _refuse_equal(found)
    yield from found


def _refuse_equal(policies: Sequence[Policy]) -> None:
    """A value that is written otherwise, or that another option overwrites, makes no other policy."""
    known: dict[str, Policy] = {}
    for policy in policies:
        document = policy.system.model_dump_json()
        former = known.setdefault(document, policy)
        if former is not policy:
            differs = next(path for path, value in policy.values.items() if former.values[path] != value)
            message = (
                f"{former.values[differs]} and {policy.values[differs]} make the same policy ({former.name}); write "
                "one of them, and name each field by one path"
            )
            raise InvalidSpecError([Mistake(f"--vary {differs}", message)])


def _set(spec: dict[str, Any], path: str, value: str) -> None:
    """Write the value there; maps that are missing are made. Raises InvalidSpecError for an item that is not there."""
    node: Any = spec
    steps: list[str | int] = []
    for step in path.split("."):
        match = _STEP.fullmatch(step)
        assert match is not None
        steps.append(match[1])
        places = _PLACE.findall(match[2])
        steps += [int(place) if place.isdecimal() else f"[{place}]" for place in places]
    for depth, wanted in enumerate(steps):
        key = _item(node, wanted, path) if not isinstance(node, dict) else wanted
        if depth == len(steps) - 1:
            node[key] = _read(value)
        elif isinstance(node, dict):
            following = steps[depth + 1]
            is_list = isinstance(following, int) or following.startswith("[")
            node = node.setdefault(key, [] if is_list else {})
        else:
            node = node[key]


def _item(node: Any, step: str | int, path: str) -> int:
    """The number of an item of a list, by its number or its name."""
    if isinstance(node, list):
        if isinstance(step, int) and step < len(node):
            return step
        names = [str(item.get("name", "")) if isinstance(item, dict) else "" for item in node]
        if isinstance(step, str) and step.strip("[]") in names:
            return names.index(step.strip("[]"))
        there = ", ".join(filter(None, names)) or (f"0 to {len(node) - 1}" if node else "none")
        raise InvalidSpecError(
            [Mistake(path, f"has no item {str(step).strip('[]')}; those of the file are {there}")]
        )
    raise InvalidSpecError(
        [Mistake(path, f"{_as_written(step)} is below a value that has no fields; check the path")]
    )


def _as_written(step: str | int) -> str:
    return f"[{step}]" if isinstance(step, int) else step


def _read(value: str) -> Any:
    """As the file's notation reads it."""
    from capstan.spec.document import read_document

    read = read_document(f"value: {value}\n".encode())
    if read.mistakes or not read.is_readable:
        raise InvalidSpecError([mistake for _, mistake in read.mistakes])
    if read.data.keys() != {"value"}:
        raise InvalidSpecError([Mistake("value", "has several lines; write it in one")])
    return read.data["value"]
