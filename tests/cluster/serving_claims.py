"""What versions do in a real cluster, whoever makes their Deployments: the Serving contract, and how things go wrong.

Subclass it, name its `runtime`, and give it the fixtures `toys` and `bento`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from cluster.toy_versions import INFER, ROW, SETTINGS, ToyBento, ToyNamespace, port_of, toy_system, wait_until

from capstan.adapters.kubernetes.client import KubeClient
from capstan.cluster.wiring.serving import serving_of
from capstan.domain.versions import Digest, ModelVersion, Readiness, VersionName, fresh_copy
from capstan.errors import NotFoundError, UntrustedArtifactError
from capstan.testing.ports.serving import ServingContract, WaitUntil

V1 = VersionName("v1")
Tuned = Callable[..., Any]
"""The serving of a toy system whose file says something else under `serving`."""


class ServingInACluster(ServingContract):
    runtime: str

    @pytest.fixture
    def tuned(self, kube: KubeClient, toys: ToyNamespace) -> Iterator[Tuned]:
        made: list[Any] = []

        def make(image: str | None = None, **serving: Any) -> Any:
            images = SETTINGS.images.model_copy(update={"serving": image} if image else {})
            settings = SETTINGS.model_copy(update={"images": images})
            system = toy_system(runtime=self.runtime, **serving)
            made.append(serving_of(kube, system, toys.names, settings, None))
            return made[-1]

        yield make
        for serving in made[-1:]:
            for name in serving.readiness():
                serving.retire(name)

    @pytest.fixture
    def serving(self, tuned: Tuned) -> Any:
        return tuned()

    @pytest.fixture
    def again(self, tuned: Tuned) -> Callable[[], Any]:
        """As an operator that starts afresh sees it."""
        return tuned

    @pytest.fixture
    def version(self, bento: ToyBento) -> ModelVersion:
        return bento.version("v1")

    @pytest.fixture
    def wait_until(self, toys: ToyNamespace) -> WaitUntil:
        return lambda condition: wait_until(condition, toys.story)

    def test_a_real_bento_answers_through_its_service(
        self, serving: Any, toys: ToyNamespace, version: ModelVersion, wait_until: WaitUntil
    ) -> None:
        started = time.monotonic()
        serving.deploy(version)
        assert time.monotonic() - started < 5, "it returns at once"
        assert serving.readiness()[V1] in (Readiness.STARTING, Readiness.READY)
        wait_until(lambda: serving.readiness()[V1] is Readiness.READY)
        inferred, predicted, metadata = toys.ask(
            port_of(serving.endpoint(V1)),
            [("/v2/models/toy/infer", INFER), ("/predict", ROW), ("/v2/models/toy", None)],
        )
        assert inferred["model_version"] == "v1"
        assert inferred["outputs"][0]["data"][0] > 0.5
        assert predicted["predictions"][0]["label"] is True
        assert metadata["name"] == "toy"
        assert serving.troubles() == {}

    def test_a_fresh_copy_answers_beside_the_version_and_goes_alone(
        self, serving: Any, toys: ToyNamespace, version: ModelVersion, wait_until: WaitUntil
    ) -> None:
        copy = fresh_copy(version)
        for one in (version, copy):
            serving.deploy(one)
        wait_until(lambda: serving.readiness() == {V1: Readiness.READY, copy.name: Readiness.READY})
        infer = ("/v2/models/toy/infer", INFER)
        champion, other = (toys.ask(port_of(serving.endpoint(one)), [infer])[0] for one in (V1, copy.name))
        assert (champion["model_version"], other["model_version"]) == ("v1", "v1-copy")
        assert champion["outputs"] == other["outputs"]
        serving.retire(copy.name)
        wait_until(lambda: not _of(toys, "Pod", copy.name))
        assert serving.readiness() == {V1: Readiness.READY}
        assert toys.ask(port_of(serving.endpoint(V1)), [infer])[0]["outputs"] == champion["outputs"]

    def test_an_operator_that_starts_afresh_knows_what_runs(
        self, serving: Any, again: Callable[[], Any], version: ModelVersion, wait_until: WaitUntil
    ) -> None:
        serving.deploy(version)
        wait_until(lambda: again().readiness().get(V1) is Readiness.READY)
        assert again().endpoint(V1) == serving.endpoint(V1)

    def test_a_wrong_digest_is_refused_in_the_pods_words_and_nothing_is_left(
        self, serving: Any, toys: ToyNamespace, bento: ToyBento, wait_until: WaitUntil
    ) -> None:
        wrong = bento.version("v2", digest=Digest(f"sha256:{'0' * 64}"))
        serving.deploy(wrong)
        wait_until(lambda: serving.readiness().get(wrong.name) is Readiness.ABSENT)
        with pytest.raises(UntrustedArtifactError, match=f"hashes to {bento.digest}"):
            serving.deploy(wrong)
        assert wrong.name not in serving.readiness()
        for kind in ("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"):
            wait_until(lambda kind=kind: not _of(toys, kind, "v2"))

    def test_a_bento_that_was_cut_short_is_refused_while_the_champion_serves(
        self, serving: Any, toys: ToyNamespace, bento: ToyBento, version: ModelVersion, wait_until: WaitUntil
    ) -> None:
        serving.deploy(version)
        wait_until(lambda: serving.readiness()[V1] is Readiness.READY)
        cut = bento.version("v2", tag="toy:cut")
        toys.keep({"bentos/toy/cut.tar": bento.tar[: len(bento.tar) // 2]})
        serving.deploy(cut)
        wait_until(lambda: serving.readiness().get(cut.name) is Readiness.ABSENT)
        with pytest.raises(UntrustedArtifactError, match=r"bentos/toy/cut\.tar"):
            serving.deploy(cut)
        assert serving.readiness() == {V1: Readiness.READY}

    def test_a_bento_that_was_never_kept_is_not_found(
        self, serving: Any, bento: ToyBento, wait_until: WaitUntil
    ) -> None:
        missing = bento.version("v2", tag="toy:nothere")
        serving.deploy(missing)
        wait_until(lambda: serving.readiness().get(missing.name) is Readiness.ABSENT)
        with pytest.raises(NotFoundError, match="nothere"):
            serving.deploy(missing)

    def test_a_crash_loop_is_seen_as_crashed_with_its_reason(
        self, tuned: Tuned, version: ModelVersion, wait_until: WaitUntil
    ) -> None:
        serving = tuned(environment=[{"name": "PYTHONHOME", "value": "/nowhere"}])
        serving.deploy(version)
        wait_until(lambda: serving.readiness()[V1] is Readiness.CRASHED)
        wait_until(lambda: "Fatal Python error" in serving.troubles().get(V1, ""))

    def test_a_version_that_no_node_takes_never_becomes_ready(
        self, tuned: Tuned, version: ModelVersion
    ) -> None:
        serving = tuned(nodeSelector={"capstan.dev/no-such": "node"})
        serving.deploy(version)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            assert serving.readiness()[V1] is Readiness.STARTING
            time.sleep(0.5)

    def test_an_image_that_is_not_to_be_had_is_seen_as_crashed(
        self, tuned: Tuned, version: ModelVersion, wait_until: WaitUntil
    ) -> None:
        serving = tuned(image="capstan-serving:no-such-tag")
        serving.deploy(version)
        wait_until(lambda: serving.readiness()[V1] is Readiness.CRASHED)
        assert "capstan-serving:no-such-tag" in serving.troubles()[V1]


def _of(toys: ToyNamespace, kind: str, version: str) -> list[Any]:
    labels = {**toys.names.selector("model"), "capstan.dev/version": version}
    return list(toys.kube.list(kind, toys.name, labels=labels))
