"""What every Serving does; subclass it and give it the fixtures `serving`, `version` and `wait_until`."""

from __future__ import annotations

from collections.abc import Callable

from capstan.domain.versions import ModelVersion, Readiness, VersionName
from capstan.ports.serving import Serving

WaitUntil = Callable[[Callable[[], bool]], None]


class ServingContract:
    def test_a_version_that_was_never_deployed_is_absent(self, serving: Serving) -> None:
        assert serving.readiness().get(VersionName("v9"), Readiness.ABSENT) is Readiness.ABSENT
        assert serving.endpoint(VersionName("v9")) is None

    def test_a_deployed_version_becomes_ready_at_an_address(
        self, serving: Serving, version: ModelVersion, wait_until: WaitUntil
    ) -> None:
        serving.deploy(version)
        wait_until(lambda: serving.readiness().get(version.name) is Readiness.READY)
        endpoint = serving.endpoint(version.name)
        assert endpoint is not None
        assert endpoint.port > 0

    def test_deploying_twice_leaves_it_alone(
        self, serving: Serving, version: ModelVersion, wait_until: WaitUntil
    ) -> None:
        serving.deploy(version)
        wait_until(lambda: serving.readiness().get(version.name) is Readiness.READY)
        before = serving.endpoint(version.name)
        serving.deploy(version)
        assert serving.endpoint(version.name) == before
        assert serving.readiness()[version.name] is Readiness.READY

    def test_a_retired_version_is_gone_and_retiring_again_is_no_error(
        self, serving: Serving, version: ModelVersion, wait_until: WaitUntil
    ) -> None:
        serving.deploy(version)
        wait_until(lambda: serving.readiness().get(version.name) is Readiness.READY)
        serving.retire(version.name)
        serving.retire(version.name)
        assert serving.readiness().get(version.name, Readiness.ABSENT) is Readiness.ABSENT
