"""Claims about what the operator may do."""

from __future__ import annotations

from pathlib import Path

from capstan.adapters.kubernetes.client import RESOURCES
from capstan.cluster.watching.cache import WATCHED
from capstan_operator.rights import NAMESPACED, OWN, as_table, as_yaml

ROOT = Path(__file__).resolve().parents[3]


def verbs_on(resource: str) -> set[str]:
    return {verb for right in NAMESPACED if resource in right.resources for verb in right.verbs}


def test_the_chart_gives_just_these_rights():
    assert (ROOT / "charts/capstan/files/rights.yaml").read_text() == as_yaml()


def test_the_documentation_shows_just_these_rights():
    assert as_table() in (ROOT / "platform/docs/kubernetes/rights.md").read_text()


def test_no_right_is_a_wildcard():
    for right in (*NAMESPACED, *OWN):
        assert "*" not in (right.group, *right.resources, *right.verbs)


def test_secrets_are_created_and_no_verb_is_given_whose_answer_holds_one():
    """A dry run of PATCH with an empty body, or of DELETE in the foreground, answers with all of it."""
    assert verbs_on("secrets") == {"create"}
    assert {verb for right in OWN if "secrets" in right.resources for verb in right.verbs} == set()


def test_nobody_is_impersonated_and_no_shell_is_opened():
    given = {resource for right in (*NAMESPACED, *OWN) for resource in right.resources}
    assert not given & {"pods/exec", "pods/attach", "pods/portforward", "serviceaccounts/token", "nodes"}
    assert not any({"impersonate", "escalate", "bind"} & set(right.verbs) for right in (*NAMESPACED, *OWN))


def test_every_watched_kind_may_be_listed_and_watched():
    for kind in WATCHED:
        assert {"list", "watch"} <= verbs_on(RESOURCES[kind].plural), kind


def test_every_right_says_why():
    assert all(right.why for right in (*NAMESPACED, *OWN))
