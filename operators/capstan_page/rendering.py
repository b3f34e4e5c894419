"""Rights as the chart and the documentation read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from capstan.spec.providers import Right


def rules(rights: Sequence[Right]) -> list[dict[str, Any]]:
    """The rights in the form in which a Role or ClusterRole lists them."""
    return [
        {"apiGroups": [right.group], "resources": list(right.resources), "verbs": list(right.verbs)}
        for right in rights
    ]


def as_yaml(where: Mapping[str, Sequence[Right]]) -> str:
    """The content of `charts/capstan/files/page-rights.yaml`."""
    yaml, text = YAML(), StringIO()
    yaml.width = 110
    yaml.default_flow_style = None
    yaml.dump({name: rules(rights) for name, rights in where.items()}, text)
    return "# Written by `python -m capstan_page.rights`; a test holds it to that list.\n" + text.getvalue()


def as_table(where: Mapping[str, Sequence[Right]]) -> str:
    """The rights for people, in Markdown."""
    lines = ["| where | API group | resources | verbs | why |", "|---|---|---|---|---|"]
    words = {"namespaced": "systems", "cluster": "cluster"}
    for name, rights in where.items():
        for right in rights:
            resources = ", ".join(f"`{one}`" for one in right.resources)
            group = f"`{right.group}`" if right.group else "core"
            lines.append(
                f"| {words[name]} | {group} | {resources} | {', '.join(right.verbs)} | {right.why} |"
            )
    return "\n".join(lines) + "\n"
