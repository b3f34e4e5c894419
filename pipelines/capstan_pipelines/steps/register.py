"""Step: the versions in the registry, with everything that led to them; waits while the registry is away."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from capstan.domain.training import GateOutcome, RunnerUp
from capstan.domain.versions import Digest, ModelVersion, VersionName
from capstan.evaluation.card import card_path
from capstan.evaluation.card.page import Card, card_html
from capstan.evaluation.card.story import Moment
from capstan.evaluation.data_report import DATA_REPORT
from capstan.evaluation.data_report.page import data_html
from capstan.evaluation.tables import with_tables
from capstan.evaluation.training_bounds import judge_training
from capstan.ports.codec import from_json
from capstan.ports.registry import RunRecord
from capstan.training.job import Job
from capstan.training.model_folder import as_json
from capstan.training.result import result_document, result_path
from capstan_pipelines.steps.documents import read_document, write_document
from capstan_pipelines.steps.ladder import distilled, ladder
from capstan_pipelines.steps.learning import left_out_in_words, why_left_out
from capstan_pipelines.steps.progress import step
from capstan_pipelines.steps.runners_up import RunnersUp
from capstan_pipelines.steps.searches import search_measurements, search_tables
from capstan_pipelines.steps.waiting import patiently
from capstan_pipelines.wiring import registry_of


def run(
    job_folder: str,
    model_folder: str,
    runners_up_folder: str,
    check_file: str,
    choice_file: str,
    evaluation_file: str,
    package_file: str,
    result_file: str,
) -> None:
    """Write the registered versions with their gates; raises UnavailableError when patience ends."""
    with step("register") as say:
        job = Job(job_folder)
        left = RunnersUp.read(runners_up_folder)
        folders = {
            0: Path(model_folder),
            **{rank: left.folder(runners_up_folder, rank) for rank in left.made},
        }
        made = Made(
            job,
            *map(read_document, (check_file, choice_file, evaluation_file, package_file)),
            manifests={rank: read_document(str(one / "manifest.json")) for rank, one in folders.items()},
            is_judged_by_time=True,
            seconds=_seconds_since(evaluation_file),
        )
        further = made.runners_up
        record = RunRecord(
            parameters=made.parameters,
            metrics=made.measurements,
            artifacts={
                "check.json": Path(check_file),
                "choice.json": Path(choice_file),
                "evaluation.json": Path(evaluation_file),
                "model/manifest.json": Path(model_folder) / "manifest.json",
                "spec.json": Path(model_folder) / "spec.json",
                **{
                    f"runners-up/{rank}/manifest.json": RunnersUp.folder(runners_up_folder, rank)
                    / "manifest.json"
                    for rank in left.made
                },
            },
        )
        registry = registry_of(job)

        def result(*versions: ModelVersion) -> dict[str, Any]:
            return made.results(versions, left_out=left.left_out)

        def attempt() -> list[ModelVersion]:
            if job.places.artifacts and registry.version_of(job.request.run) is None:
                _leave(job, result(made.version, *(one.version for one in further)))
            registry.record_run(made.version, record)
            return [
                registry.register(one.version, tags=one.tags, metrics=one.metrics) for one in (made, *further)
            ]

        versions = patiently(attempt, say)
        cards = {**made.cards([version.name for version in versions], say), **made.data_report}
        if DATA_REPORT in cards:
            with suppress(OSError):
                (job.folder / DATA_REPORT).write_text(cards[DATA_REPORT], encoding="utf-8")
        with tempfile.TemporaryDirectory(prefix="capstan-card-") as folder:
            written = {}
            for path, text in cards.items():
                written[path] = Path(folder) / path.replace("/", "-")
                written[path].write_text(text)
            patiently(lambda: registry.record_run(made.version, RunRecord(artifacts=written)), say)
        if job.places.artifacts:
            patiently(lambda: _leave(job, result(*versions)), say)
        write_document(result_file, result(*versions))
        say("; ".join(f"{version.name}, {version.digest[:19]}" for version in versions))


def unregistered(
    job_folder: str,
    runners_up_folder: str,
    check_file: str,
    choice_file: str,
    evaluation_file: str,
    package_file: str,
    result_file: str,
) -> None:
    """Write the same result for a run whose models no registry gets: its versions have no names."""
    made = Made(
        Job(job_folder), *map(read_document, (check_file, choice_file, evaluation_file, package_file))
    )
    versions = [one.version for one in (made, *made.runners_up)]
    left = RunnersUp.read(runners_up_folder)
    write_document(result_file, made.results(versions, left_out=left.left_out))


@dataclass(frozen=True)
class Made:
    """What the steps before have made of one choice, by the documents that they left."""

    job: Job
    check: Mapping[str, Any]
    choice: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    package: Mapping[str, Any]
    rank: int = field(default=0, kw_only=True)
    """1: of the first runner-up."""
    manifests: Mapping[int, Mapping[str, Any]] = field(default_factory=dict, kw_only=True)
    """By rank what the model says of itself; empty where no card is written."""

    is_judged_by_time: bool = field(default=False, kw_only=True)
    """Whether time and cost of the training are judged; they are not in a backtest."""
    seconds: float | None = field(default=None, kw_only=True)
    """How long the training took until now; None: not known."""

    @property
    def runners_up(self) -> tuple[Made, ...]:
        """Those that came as far as a Bento, the best first."""
        packages = {one["rank"]: one for one in self.package["runners_up"]}
        return tuple(
            replace(
                self,
                choice={**self.choice, "chosen": [judged["taken"]]},
                evaluation=judged,
                package=packages[judged["rank"]],
                rank=judged["rank"],
            )
            for judged in self.evaluation["runners_up"]
            if judged["rank"] in packages
        )

    def as_runner_up(self, version: ModelVersion) -> RunnerUp:
        """`version` has no name before it is registered."""
        return RunnerUp(self._candidate, version, tuple(self.gates))

    @property
    def version(self) -> ModelVersion:
        """Without a name, which the registry gives."""
        return ModelVersion(
            name=VersionName(""),
            digest=Digest(self.package["digest"]),
            run=self.job.request.run,
            bento_tag=self.package["tag"],
            as_of=self.job.request.trigger.as_of,
            metrics=self.metrics,
            rank=self.rank,
        )

    @property
    def gates(self) -> list[GateOutcome]:
        """Those of the test window, then those of the package, then those of the training's time and cost."""
        found = [from_json(GateOutcome, gate) for gate in [*self.evaluation["gates"], *self.package["gates"]]]
        if not self.is_judged_by_time:
            return found
        return [*found, *judge_training(self.job.system.spec.requirements, self.seconds)]

    @property
    def metrics(self) -> dict[str, float]:
        """Those of the test window that have a value."""
        return _known(self.evaluation["metrics"])

    @property
    def tags(self) -> dict[str, str]:
        trigger = self.job.request.trigger
        return {
            "trigger": trigger.kind.value,
            "trigger.reason": trigger.reason,
            "candidate": self._candidate,
            **({"parent": str(parent)} if (parent := self.manifests[self.rank].get("parent")) else {}),
            "card": card_path(self.rank),
            **self._lineage,
        }

    @property
    def _lineage(self) -> dict[str, str]:
        """Which rows and which code the version comes from."""
        found = (self.evaluation.get("data") or {}).get("lineage")
        return {"data.digest": found["digest"], "code.commit": found["code"]} if found else {}

    @property
    def data_report(self) -> dict[str, str]:
        """The report of the run's data, by its path in the registry; empty where the run could not describe them."""
        found = self.evaluation.get("data")
        if not found:
            return {}
        return {DATA_REPORT: data_html(found, self.evaluation["details"].get("tables", ()))}

    def cards(self, names: Sequence[VersionName], say: Callable[[str], None]) -> dict[str, str]:
        """Of each registered version its card, by its path in the registry; one that can't be written is left out."""
        found = {}
        for made, name in zip((self, *self.runners_up), names, strict=True):
            try:
                found[card_path(made.rank)] = card_html(made.card(name))
            except Exception as error:
                # A version without a card is a version all the same.
                say(f"the card of {name} could not be written: {why_left_out(error)}")
        return found

    def card(self, name: VersionName) -> Card:
        """What the card of the version is written from."""
        job, taken = self.job, self.choice["chosen"]
        spec, trigger, version = job.system.spec, job.request.trigger, self.version
        result = self.result(version, left_out={})
        raised = ", ".join(map(str, trigger.alerts))
        return Card(
            system=job.request.system,
            version=name,
            run=version.run,
            digest=version.digest,
            as_of=version.as_of,
            candidate=self._candidate,
            spec=spec,
            facts=spec.task_facts,
            evaluation=self.evaluation,
            check=self.check,
            manifest=self.manifests[self.rank],
            gates=self.gates,
            warnings=result["warnings"],
            tables=result["details"]["tables"],
            story=[
                Moment(trigger.as_of, trigger.kind.value, " ".join(filter(None, [trigger.reason, raised]))),
                Moment(None, "chosen", self.choice["reason"]),
                *self._beginning,
                *(Moment(None, "gate", gate.message) for gate in self.gates),
            ],
            settings={
                ".".join(filter(None, (one["model"], setting))): value
                for one in taken
                for setting, value in one["settings"].items()
            },
        )

    @property
    def _beginning(self) -> list[Moment]:
        parent = self.manifests[self.rank].get("parent")
        words = f"the model of {parent}, which learnt the rows that came since"
        return [Moment(None, "goes on", words)] if parent else []

    @property
    def parameters(self) -> dict[str, str]:
        request = self.job.request
        return {
            "candidate": self._candidate,
            "as_of": request.trigger.as_of.isoformat(),
            "trigger": request.trigger.kind.value,
            "champion": request.champion or "",
            "seed": str(self.job.seed),
            **{
                ".".join(filter(None, ("settings", taken["model"], name))): (
                    value if isinstance(value, str) else f"{value:g}"
                )
                for taken in self.choice["chosen"]
                for name, value in taken["settings"].items()
            },
        }

    @property
    def measurements(self) -> dict[str, float]:
        """Everything that was measured on the way, by the name under which the registry shows it."""
        evaluation = self.evaluation
        found = {f"test.{name}": value for name, value in evaluation["metrics"].items()}
        found |= {f"champion.{name}": value for name, value in (evaluation["champion_metrics"] or {}).items()}
        for tried in self.choice["candidates"]:
            found |= {f"validation.{tried['name']}.{name}": value for name, value in tried["metrics"].items()}
            found[f"seconds.{tried['name']}"] = tried["seconds"]
            found |= {f"{cost}.{tried['name']}": value for cost, value in tried["cost"].items()}
            found |= search_measurements(tried)
        for model, of_model in evaluation["models"].items():
            found |= {f"test.{model}.{name}": value for name, value in of_model["metrics"].items()}
        found |= {"rows.test": evaluation["rows"], "model_bytes": self.package["bytes"]}
        return _known(found)

    def results(self, versions: Sequence[ModelVersion], *, left_out: Mapping[str, str]) -> dict[str, Any]:
        """What the run leaves of its choice and its runners-up, whose versions come in this order."""
        of_runners_up = map(Made.as_runner_up, self.runners_up, versions[1:])
        return self.result(versions[0], runners_up=tuple(of_runners_up), left_out=left_out)

    def result(
        self, version: ModelVersion, *, runners_up: Sequence[RunnerUp] = (), left_out: Mapping[str, str]
    ) -> dict[str, Any]:
        """What the run leaves for those who did not watch it; `version` has no name before it is registered.

        `left_out` are the runners-up that `refit` could not learn, with the reason.
        """
        choice, evaluation = self.choice, self.evaluation
        left_out = {**evaluation["left_out"], **left_out, **self.package["left_out"]}
        without = (left_out_in_words(candidate, why) for candidate, why in left_out.items())
        return result_document(
            version,
            self.gates,
            {tried["name"]: _known(tried["metrics"]) for tried in choice["candidates"]},
            choice["reason"],
            chosen=[taken["name"] for taken in choice["chosen"]],
            failed=choice["failed"],
            warnings=[*self.check["suspicions"], *evaluation["warnings"], *choice["warnings"], *without],
            details=with_tables(evaluation["details"], [self._ladder, *self._distilled, *self._searches]),
            runners_up=runners_up,
            left_out=left_out,
        )

    @property
    def _ladder(self) -> dict[str, Any]:
        spec = self.job.system.spec
        metric = spec.task_facts.metric(spec.training.choose.metric)
        return ladder(self.choice["candidates"], metric, self.choice["reason"])

    @property
    def _distilled(self) -> list[dict[str, Any]]:
        spec = self.job.system.spec
        metric = spec.task_facts.metric(spec.training.choose.metric)
        return distilled(spec.planned_models, self.choice["candidates"], metric)

    @property
    def _searches(self) -> list[dict[str, Any]]:
        spec = self.job.system.spec
        return search_tables(self.choice["candidates"], spec.task_facts.metric(spec.training.choose.metric))

    @property
    def _candidate(self) -> str:
        return ", ".join(taken["name"] for taken in self.choice["chosen"])


def _seconds_since(evaluation_file: str) -> float | None:
    began = read_document(evaluation_file).get("began")
    # A clock that was set back tells no time.
    return None if began is None or time.time() < began else time.time() - began


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: float(value) for name, value in values.items() if value is not None}


def _leave(job: Job, result: Mapping[str, Any]) -> None:
    """Beside the Bento, where whoever asks after the run is gone finds it."""
    from capstan.artifacts.store import ArtifactStore

    ArtifactStore(job.places.artifacts).write(result_path(job.request.run), as_json(result).encode())
