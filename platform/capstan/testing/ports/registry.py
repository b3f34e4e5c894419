"""What every Registry does; subclass it and give it the fixture `registry` (empty)."""

from __future__ import annotations

from datetime import UTC, datetime

from capstan.domain.versions import Digest, ModelVersion, RunName, VersionName
from capstan.ports.registry import Registry


def trained(run: str, rank: int = 0) -> ModelVersion:
    return ModelVersion(
        name=VersionName(""),
        digest=Digest("sha256:" + f"a{rank}" * 32),
        run=RunName(run),
        bento_tag=f"flights:abc{rank or ''}",
        as_of=datetime(2013, 2, 1, 5, tzinfo=UTC),
        metrics={"rocAuc": 0.71},
        rank=rank,
    )


def register(registry: Registry, run: str, rank: int = 0) -> ModelVersion:
    version = trained(run, rank)
    return registry.register(version, tags={"trigger": "Alert"}, metrics=version.metrics)


class RegistryContract:
    def test_versions_are_numbered_in_order(self, registry: Registry) -> None:
        assert [register(registry, run).name for run in ("run-a", "run-b")] == ["v1", "v2"]
        assert [version.name for version in registry.versions()] == ["v1", "v2"]

    def test_registering_a_run_twice_gives_one_version(self, registry: Registry) -> None:
        """FAULTS 25."""
        assert register(registry, "run-a") == register(registry, "run-a")
        assert len(registry.versions()) == 1

    def test_a_version_comes_back_by_name_and_by_run(self, registry: Registry) -> None:
        kept = register(registry, "run-a")
        assert registry.version(kept.name) == kept
        assert registry.version_of(RunName("run-a")) == kept
        assert (kept.digest, kept.as_of) == (trained("run-a").digest, trained("run-a").as_of)
        assert dict(kept.metrics) == {"rocAuc": 0.71}

    def test_a_runs_choice_and_its_runners_up_are_versions_of_their_own(self, registry: Registry) -> None:
        made = [register(registry, "run-a", rank) for rank in (0, 1, 2)]
        assert [version.name for version in made] == ["v1", "v2", "v3"]
        assert [register(registry, "run-a", rank) for rank in (2, 1, 0)] == made[::-1]
        assert [registry.version_of(RunName("run-a"), rank) for rank in (0, 1, 2)] == made
        assert registry.version_of(RunName("run-a")) == made[0]
        assert registry.version_of(RunName("run-a"), 3) is None
        assert [version.rank for version in registry.versions()] == [0, 1, 2]

    def test_unknown_names_are_none(self, registry: Registry) -> None:
        assert registry.version(VersionName("v9")) is None
        assert registry.version_of(RunName("nobody")) is None
        assert dict(registry.aliases()) == {}

    def test_an_alias_moves_and_is_removed_and_both_may_be_repeated(self, registry: Registry) -> None:
        first, second = register(registry, "run-a").name, register(registry, "run-b").name
        registry.set_alias("champion", first)
        registry.set_alias("challenger", second)
        registry.set_alias("champion", second)
        registry.set_alias("champion", second)
        registry.set_alias("challenger", None)
        registry.set_alias("challenger", None)
        assert dict(registry.aliases()) == {"champion": second}
