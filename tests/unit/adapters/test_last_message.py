"""What a pod said last is what its own container said, not that an init container had nothing to say."""

from __future__ import annotations

from typing import Any

from capstan.adapters.kubernetes.pods import last_message


def ended(code: int, message: str = "") -> dict[str, Any]:
    return {"state": {"terminated": {"exitCode": code, **({"message": message} if message else {})}}}


def test_an_init_container_that_went_well_hides_no_words_of_the_container() -> None:
    status = {"initContainerStatuses": [ended(0)], "containerStatuses": [ended(1, "nowhere.csv is missing")]}
    assert last_message({"status": status}) == "nowhere.csv is missing"


def test_an_init_container_that_failed_is_heard() -> None:
    waiting = {"state": {"waiting": {"reason": "PodInitializing"}}}
    status = {"initContainerStatuses": [ended(1, "its content hashes to x")], "containerStatuses": [waiting]}
    assert last_message({"status": status}) == "its content hashes to x"
    assert last_message({"status": {"containerStatuses": [{"state": {"running": {}}}]}}) == ""
