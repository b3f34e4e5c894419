"""What every Pipelines does; subclass it and give it the fixtures `pipelines`, `request_for` and `wait_until`."""

from __future__ import annotations

from collections.abc import Callable

from capstan.domain.training import RunPhase, RunStatus, TrainingRequest
from capstan.domain.versions import RunName
from capstan.ports.pipelines import Pipelines
from capstan.testing.ports.waiting import eventually

RequestFor = Callable[[str], TrainingRequest]
WaitUntil = Callable[[Callable[[], bool]], None]


def ended(pipelines: Pipelines, run: str, seconds: float = 600) -> RunStatus:
    """How a run of real processes ended."""

    def status() -> RunStatus:
        return pipelines.status(RunName(run))

    eventually(lambda: status().phase is not RunPhase.RUNNING, seconds, told=lambda: status().message)
    return status()


class PipelinesContract:
    def test_a_run_that_was_never_started_is_absent(self, pipelines: Pipelines) -> None:
        assert pipelines.status(RunName("nobody")).phase is RunPhase.ABSENT

    def test_a_run_succeeds_with_a_version(
        self, pipelines: Pipelines, request_for: RequestFor, wait_until: WaitUntil
    ) -> None:
        request = request_for("run-a")
        pipelines.start(request)
        wait_until(lambda: pipelines.status(request.run).phase is not RunPhase.RUNNING)
        status = pipelines.status(request.run)
        assert status.phase is RunPhase.SUCCEEDED, status.message
        assert status.version is not None
        assert status.version.run == request.run

    def test_starting_twice_runs_once(
        self, pipelines: Pipelines, request_for: RequestFor, wait_until: WaitUntil
    ) -> None:
        """FAULTS 26."""
        request = request_for("run-a")
        pipelines.start(request)
        wait_until(lambda: pipelines.status(request.run).phase is RunPhase.SUCCEEDED)
        first = pipelines.status(request.run).version
        pipelines.start(request)
        assert pipelines.status(request.run).phase is RunPhase.SUCCEEDED
        assert pipelines.status(request.run).version == first

    def test_cancelling_what_is_over_or_unknown_changes_nothing(
        self, pipelines: Pipelines, request_for: RequestFor, wait_until: WaitUntil
    ) -> None:
        request = request_for("run-a")
        pipelines.start(request)
        wait_until(lambda: pipelines.status(request.run).phase is RunPhase.SUCCEEDED)
        pipelines.cancel(request.run)
        pipelines.cancel(RunName("nobody"))
        assert pipelines.status(request.run).phase is RunPhase.SUCCEEDED
        assert pipelines.status(RunName("nobody")).phase is RunPhase.ABSENT
