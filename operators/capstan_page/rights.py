"""What the page may do in a cluster, and why: it reads what it shows and asks for reviews, and writes nothing.

`python -m capstan_page.rights` prints it as the chart reads it, with `--table` as the documentation shows it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from capstan.spec.providers import PROVIDERS, Right
from capstan_page.rendering import as_table, as_yaml

_READ = ("get", "list", "watch")

NAMESPACED: Sequence[Right] = (
    Right("capstan.dev", ("mlsystems", "trainingruns", "modelrollouts"), _READ, "what the page shows"),
    Right("", ("configmaps",), _READ, "story, the gateway's split"),
    Right("", ("pods",), _READ, "which pod trained, and its last words"),
    Right("", ("pods/log",), ("get",), "progress and log of a training, for who may read it too"),
    Right("apps", ("deployments",), _READ, "which parts and versions are ready"),
    Right("machinelearning.seldon.io", ("seldondeployments",), _READ, "versions, where Seldon is installed"),
    *(
        Right(right.group, right.resources, tuple(v for v in right.verbs if v in _READ), right.why)
        for provider in PROVIDERS.values()
        for right in provider.rights
        if set(right.verbs) & set(_READ)
    ),
)
"""In the namespaces of systems: all, or those that the chart names."""

CLUSTER: Sequence[Right] = (
    Right("authentication.k8s.io", ("tokenreviews",), ("create",), "whose token somebody shows"),
    Right(
        "authorization.k8s.io", ("subjectaccessreviews",), ("create",), "what they may see, read and order"
    ),
)
"""Of the whole cluster: reviews belong to no namespace."""


def main() -> int:
    where = {"namespaced": NAMESPACED, "cluster": CLUSTER}
    table = "--table" in sys.argv[1:]
    sys.stdout.write(as_table(where) if table else as_yaml(where))
    return 0


if __name__ == "__main__":
    sys.exit(main())
