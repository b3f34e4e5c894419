"""What the docs show can be copied: files are valid, fields are known, Python compiles, commands exist."""

from __future__ import annotations

import ast
import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main
from ruamel.yaml import YAML
from unit.docs.test_site import PAGES, name

from capstan.cli.main import app
from capstan.spec import load, schema
from capstan.spec.etl import load_etl

FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<body>.*?)^ *```", re.M | re.S)
INLINE = re.compile(r"`(capstan [^`\n]+)`")
OF_CHARTS_AND_KUBERNETES = {"page.md", "training.md", "gitops.md", "recording.md"}
"""Pages whose YAML is no part of a system's file."""
HEAD_OF_ETL = "apiVersion: capstan.dev/v1alpha1\nkind: ETL"
HEAD = "apiVersion: capstan.dev/v1alpha1\nkind: MLSystem"


def blocks(page: Path, *languages: str) -> list[str]:
    return [
        textwrap.dedent(match["body"])
        for match in FENCE.finditer(page.read_text())
        if match["language"] in languages
    ]


def having(*languages: str) -> list[Path]:
    return [page for page in PAGES if blocks(page, *languages)]


@pytest.mark.parametrize("page", [page for page in PAGES if HEAD in page.read_text()], ids=name)
def test_whole_files_are_valid(page: Path, tmp_path: Path) -> None:
    for number, block in enumerate(block for block in blocks(page, "yaml") if HEAD in block):
        file = tmp_path / f"{number}.yaml"
        file.write_text(block)
        load(file)


@pytest.mark.parametrize("page", [page for page in PAGES if HEAD_OF_ETL in page.read_text()], ids=name)
def test_whole_files_of_etl_are_valid(page: Path, tmp_path: Path) -> None:
    for block in (block for block in blocks(page, "yaml") if HEAD_OF_ETL in block):
        (tmp_path / "etl.yaml").write_text(block)
        load_etl(tmp_path / "etl.yaml")


@pytest.mark.parametrize(
    "page", [page for page in having("yaml") if page.name not in OF_CHARTS_AND_KUBERNETES], ids=name
)
def test_parts_of_files_have_known_fields_and_values(page: Path) -> None:
    yaml = YAML(typ="safe")
    parts = [block for block in blocks(page, "yaml") if "kind: ETL" not in block]
    unknown = [block for block in parts if not taken(yaml.load(block))]
    assert unknown == []


def taken(part: Any) -> bool:
    """Whether the part could stand somewhere in a file."""
    return any(fits(node, part) for node in grammar())


@cache
def grammar() -> tuple[dict[str, Any], ...]:
    return tuple(nodes(schema()))


def nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "properties" in node or "items" in node:
        yield node
    for child in [*node.get("properties", {}).values(), *filter(None, [node.get("items")])]:
        yield from nodes(child)


def fits(node: dict[str, Any], value: Any) -> bool:
    """Whether the grammar knows all fields and values; what is left out may be missing."""
    if isinstance(value, dict):
        if node.get("x-kubernetes-preserve-unknown-fields"):
            return True
        properties, others = node.get("properties", {}), node.get("additionalProperties")
        return all(
            fits(properties[key], inner) if key in properties else bool(others)
            for key, inner in value.items()
        )
    if isinstance(value, list):
        return "items" in node and all(fits(node["items"], inner) for inner in value)
    if "properties" in node or "items" in node or value not in node.get("enum", [value]):
        return False
    return not isinstance(value, str) or re.search(node.get("pattern", ""), value) is not None


def test_a_wrong_part_is_noticed() -> None:
    assert taken({"rollout": {"steps": [{"canary": {"weight": 10}}]}})
    assert not taken({"rollout": {"steps": [{"canary": {"share": 10}}]}})
    assert not taken({"data": {"label": {"maximumDelay": "30 days"}}})


@pytest.mark.parametrize("page", having("python", "json"), ids=name)
def test_python_and_json_can_be_read(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)
    for block in blocks(page, "json"):
        json.loads(block)


def commands(page: Path) -> Iterator[str]:
    """Of consoles and shells, and those named in a sentence."""
    text = page.read_text()
    yield from INLINE.findall(FENCE.sub("", text))
    for block in blocks(page, "", "console", "bash", "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            match = re.match(r"(?:\$ )?(capstan [a-z-].*)", line)
            if match:
                yield match[1]


@pytest.mark.parametrize("page", [page for page in PAGES if list(commands(page))], ids=name)
def test_commands_and_their_options_exist(page: Path) -> None:
    assert [fault for command in commands(page) for fault in faults(command)] == []


@cache
def capstan() -> Any:
    return typer.main.get_command(app)


@cache
def verb(group: Any, name: str) -> Any:
    """A command of the group: each access makes it anew."""
    return group.commands[name]


def faults(line: str) -> list[str]:
    """What is unknown of a command."""
    command = capstan()
    known = {"--help"} | {option for parameter in command.params for option in parameter.opts}
    found = []
    for word in shlex.split(re.split(r"\s+#|\s[|>&]|; |…", line)[0])[1:]:
        if word.startswith("-") and word != "-" and not re.match(r"-\d", word):
            if word.partition("=")[0] not in known:
                found.append(f"{line}: {word}")
        elif hasattr(command, "commands") and word.isupper():
            return found  # A placeholder, as in `capstan VERB`.
        elif hasattr(command, "commands"):
            if word not in command.commands:
                return [f"{line}: {word}"]
            command = verb(command, word)
            for parameter in command.params:
                known |= {*parameter.opts, *parameter.secondary_opts}
    return found


def test_an_unknown_command_or_option_is_noticed() -> None:
    assert faults("capstan status --watch | head") == []
    assert faults("capstan statuses") != []
    assert faults("capstan status --wach") != []
