"""A system in a notebook: the nouns and verbs of the command line, with results in place of text."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from capstan.api import html
from capstan.errors import InvalidDataError, InvalidSpecError, NotAllowedError, NotFoundError

if TYPE_CHECKING:
    import pandas as pd

    from capstan.api.frames import Frame
    from capstan.api.results import Explanation, Exported, Feedback, Imported, Plan, Training, Validation
    from capstan.cluster.places import Cluster
    from capstan.embedded.layout import StateDir
    from capstan.spec import MLSystem
    from capstan.spec.guessing import Guess

STATE_VARIABLE = "CAPSTAN_STATE"
DEFAULT_STATE = ".capstan"


class System:
    """One ML system: a file that describes it, and the state directory or the cluster that it lives in.

    The file is read anew by each verb, so it may be edited between two of them. The command line works on the same
    file and directory: what one of them does, the other sees.

    With a `context`, `predict`, `feedback`, `runs`, `versions` and `story` are about the system in that cluster, and
    `validate`, `spec` and `explain` about the file. The other verbs work on this machine and raise NotAllowedError,
    which names the command that does it in a cluster.
    """

    def __init__(
        self,
        file: str | Path,
        *,
        state: str | Path | None = None,
        context: str | None = None,
        namespace: str | None = None,
    ) -> None:
        """`state`: the state directory; None: that of CAPSTAN_STATE, or `.capstan` in the working directory.

        `context`: of the kubeconfig, `.` is the current one; None: the system is on this machine. `namespace`: in the
        cluster; None: that of the file, or of the context.
        """
        self._context, self._namespace = context, namespace
        self._file = Path(file).resolve()
        named = state if state is not None else os.environ.get(STATE_VARIABLE) or DEFAULT_STATE
        self._root = Path(named).resolve()
        self._guesses: tuple[Guess, ...] = ()

    @classmethod
    def from_file(
        cls,
        file: str | Path,
        *,
        state: str | Path | None = None,
        context: str | None = None,
        namespace: str | None = None,
    ) -> System:
        """The system that a file describes, such as `system.yaml`; mistakes in it are told by `validate()`.

        `context`, `namespace`: it lives in a cluster. Raises NotFoundError where there is no such file.
        """
        if not Path(file).is_file():
            raise NotFoundError(f"{file}: there is no such file")
        return cls(file, state=state, context=context, namespace=namespace)

    @classmethod
    def from_dataframe(
        cls,
        frame: Frame,
        target: str,
        *,
        folder: str | Path | None = None,
        name: str | None = None,
        task: str | None = None,
        time: str | None = None,
        id: str | None = None,
        without: Iterable[str] = (),
        keep: Iterable[str] = (),
        overwrite: bool = False,
        state: str | Path | None = None,
    ) -> System:
        """A system that predicts the column `target` of a pandas or Polars frame (or Arrow table), one row per case.

        What the file must say is guessed as `capstan init` does, with a reason for each guess (`guesses`). The frame is
        kept as `NAME.parquet` beside `system.yaml` in `folder`; None: a folder of the system's name in the working
        directory. `name`: None: made of the target's. `task`, `time` (moment of each row) and `id` (names each row) are
        guessed where they are None; empty text: there is none. `without`: columns that are no features;
        `keep`: those that are, though they would be left out.

        The same call changes nothing. Where what is there differs it raises NotAllowedError, unless `overwrite` is
        true. Raises InvalidSpecError where no file can be made, and InvalidDataError for a frame that is no table.
        """
        from capstan.api.from_frame import name_of, wishes_of, write_system

        called = name_of(name, target)
        place = Path(folder) if folder is not None else Path(called)
        wishes = wishes_of(task, time, id, without, keep)
        file, guesses = write_system(frame, target, place, called, wishes, overwrite=overwrite)
        made = cls(file, state=state)
        made._guesses = guesses
        return made

    # -- what it is

    @property
    def file(self) -> Path:
        """The file that describes it."""
        return self._file

    @property
    def state(self) -> Path:
        """The state directory."""
        return self._root

    @property
    def spec(self) -> MLSystem:
        """What the file says, with all defaults; raises InvalidSpecError with all mistakes."""
        from capstan.spec import load

        return load(self._file)

    @property
    def name(self) -> str:
        """Raises InvalidSpecError where the file is wrong."""
        return self.spec.metadata.name

    @property
    def guesses(self) -> pd.DataFrame:
        """What was guessed of the data frame: `field` of the file, `value`, `reason`; empty for a system of a file."""
        import pandas as pd

        rows = [(one.field, one.value, one.reason) for one in self._guesses]
        return pd.DataFrame(rows, columns=["field", "value", "reason"])

    # -- before anything runs

    def validate(self, *, data: bool = True) -> Validation:
        """All mistakes of the file at once; with `data` also those of its data, read as a training would read it now.

        What is wrong is in the result, and nothing is raised for it.
        """
        from capstan.api.results import Validation
        from capstan.verbs.validation import validated

        return Validation.of(validated(self._file, self._root, data=data, now=datetime.now(UTC)))

    def plan(self) -> Plan:
        """What `up` would change, what follows, and how long a verdict will take.

        Raises InvalidSpecError, also for what one machine cannot do.
        """
        self._only_here("plan", "plan FILE")
        from capstan.api.results import Plan
        from capstan.verbs.planning import plan_on_machine

        return Plan.of(plan_on_machine(self.spec, self._state, now=datetime.now(UTC)))

    @staticmethod
    def explain(field: str) -> Explanation:
        """What a field of the file means, such as `data.split`: type, default, an example, the fields in it.

        Raises NotFoundError that names the fields that may be meant.
        """
        from capstan.api.results import Explanation
        from capstan.verbs.explaining import explained

        return Explanation.of(explained(field))

    # -- training and answers

    def train(
        self, *, as_of: datetime | None = None, tell: Callable[[str], object] | None = None
    ) -> Training:
        """Train, evaluate, gate and register a version on this machine; nothing is served. Takes seconds to hours.

        `as_of`: only what was known at this moment is read (of data.timeZone unless it has an offset); None: now. The
        same file, champion and `as_of` give the same run, which is not repeated. `tell` gets a line when a step begins
        and ends, such as `print`. An interrupt of the kernel cancels the run.

        Raises CapstanError with the reason of a run that failed, InvalidSpecError, and NotAllowedError if cancelled.
        """
        self._only_here("train", "retrain")
        from capstan.api.results import Training
        from capstan.api.training import train

        return Training.of(train(self.spec, self._state, as_of=as_of, tell=tell))

    def predict(
        self,
        frame: Frame,
        *,
        offline: bool | None = None,
        version: str | None = None,
        url: str | None = None,
        refused: Literal["raise", "mark"] = "raise",
        explain: bool = False,
    ) -> pd.DataFrame:
        """The answers for the rows of a frame, by its index: the columns of an answer, `version` and `request_id`.

        Where the system runs they come through its gateway, and are logged and watched like those of any client.
        Else, with `offline` or with a `version`, they come from a verified model in this process, and nothing is
        logged: from that version, the champion, or the one that a run chose last, whatever its gates said, where none
        serves yet. False: only through the gateway. `url`: through the gateway at that address, such as a cluster's
        Ingress. Columns that the model does not read are left out; probabilities
        are from 0 to 1.

        A row that breaks the request schema raises InvalidDataError that names it, so that no answer is missed. With
        `refused="mark"` the other rows are answered, and the column `refused` says why a row is not.

        With `explain` there are columns of what each column of the request adds to the score, such as
        `explanation.contributions.distance`, and nothing is logged.

        Raises NotFoundError where there is no version or nothing runs, UntrustedArtifactError, UnavailableError.
        """
        from functools import partial

        from capstan.api.asking import ask as asks
        from capstan.domain.versions import VersionName
        from capstan.verbs.answering import (
            asked_address,
            asked_gateway,
            asked_model,
            gateway_in,
            newest_name,
        )
        from capstan.verbs.elsewhere import address_written

        ask = partial(asks, explained=explain)
        system, state = self.spec, self._state
        cluster = self._cluster
        if cluster is not None and url is None:
            if offline or version is not None:
                raise InvalidDataError(
                    "predict: offline and version ask a model of this machine, and context names a cluster; leave them "
                    "out, or make a System without context"
                )
            from capstan.cluster.gateways import gateway_in as way_to_gateway

            with way_to_gateway(cluster, system) as address:
                return ask(asked_address(system, address), system, frame, mark=refused == "mark")
        if url is not None:
            if offline or version is not None:
                raise InvalidDataError(
                    "predict: offline and version ask a model of this machine; leave url out"
                )
            return ask(
                asked_address(system, address_written(url, "url")), system, frame, mark=refused == "mark"
            )
        if version is not None and offline is False:
            raise InvalidDataError(
                f"predict: version={version!r} is asked offline, and offline=False asks the gateway; leave one out"
            )
        if offline is None:
            offline = gateway_in(state) is None
        if offline or version is not None:
            asked = asked_model(
                system, state, VersionName(version) if version else newest_name(system, state)
            )
        else:
            asked = asked_gateway(system, state, otherwise="`offline=True` asks a model of the registry, ")
        return ask(asked, system, frame, mark=refused == "mark")

    def deploy(
        self,
        model: object,
        *,
        sample: Frame | None = None,
        columns: Sequence[str] | None = None,
        classes: Sequence[object] | None = None,
    ) -> Imported:
        """Hand a fitted model over: it becomes a version that is served, watched and rolled out like any other.

        `model` is fitted and answers as scikit-learn's and LightGBM's do: `predict_proba` for classes, `predict` for
        numbers. Or it is a model of ONNX (bytes, a path, an `onnx.ModelProto`; needs the extra `onnx`), or a module of
        PyTorch or a `torch.export.ExportedProgram` (the extra `deep`), of a matrix or, for ONNX, of one input a column.
        What is packaged answers the sample as the model does, to 1e-5 of a value and 1e-6.

        `sample`: labelled rows that it has not learnt from, one per case, as the file's source has them; its metrics
        and what drift is compared with are of them. None: the file's own data. `columns`: what the model learnt from,
        in order, where it was fitted on an array and does not say. `classes`: those of its probabilities, in order,
        where a model of ONNX or PyTorch does not say.

        Where no version serves yet, `up` serves it. Else its rollout begins by the file's steps, as `promote` begins
        it. The same model again gives the same version, on any day, as long as the rows of the sample are the same.

        Raises InvalidDataError for a model that can't be served, and says why, NotAllowedError for a system of several
        models or of groups, or where a rollout is in progress, MissingExtraError, UnavailableError.
        """
        self._only_here("deploy", None)
        from capstan.api.deploying import deploy

        return deploy(model, self.spec, self._state, sample=sample, columns=columns, classes=classes)

    def export(self, file: str | Path, *, version: str | None = None) -> Exported:
        """Write a version's transform and model as one ONNX graph: raw columns in, answers out, without Capstan.

        `file` ends in `.onnx`. `version`: None: the champion, or the one that a run chose last where none serves yet.
        It is written only if onnxruntime answers with it as the version does, on all example rows that the training
        kept; `difference` is the largest. The same version gives the same bytes.

        Raises InvalidDataError for a family, feature or system that has no graph, by its name, or where an answer
        differs; NotFoundError, UntrustedArtifactError, MissingExtraError.
        """
        self._only_here(
            "export", None, "A cluster's version is not on this machine; train it here to export it"
        )
        from capstan.api.results import Exported
        from capstan.verbs.exporting import export_onnx

        return Exported.of(export_onnx(self.spec, self._state, Path(file), version=version))

    def feedback(
        self,
        frame: Frame,
        *,
        url: str | None = None,
        token: str | None = None,
        refused: Literal["raise", "mark"] = "raise",
    ) -> Feedback:
        """Hand in what was true: labels of answered rows, in the column that the file names as `data.label.column`.

        A row says what it is about by the column `data.keys.id`, or else by `request_id`, as `predict` gives it:
        `system.feedback(answers.assign(target=truth))`. The column `data.label.availableAt` is the moment at which the
        label became known; without it: now. A row without a label is left out. Handing in twice changes nothing.

        A row that is no label raises InvalidDataError that names it, and nothing is handed in. With `refused="mark"`
        the others are handed in. `url`: the gateway of a system elsewhere, which lets labels in by its `token` for
        feedback; None: that of $CAPSTAN_FEEDBACK_TOKEN. Raises NotFoundError where nothing runs, NotAllowedError
        without a token, UnavailableError.
        """
        from capstan.api.labels import hand_in_frame
        from capstan.api.results import Feedback

        mark = refused == "mark"
        cluster = None if url is not None else self._cluster
        return Feedback.of(
            hand_in_frame(self.spec, self._state, frame, mark=mark, url=url, token=token, cluster=cluster)
        )

    # -- running

    def up(
        self,
        *,
        page_port: int = 7411,
        gateway_port: int = 7480,
        tell: Callable[[str], object] | None = None,
    ) -> System:
        """Bring it up in the background and return when a model serves; it goes on when this program ends.

        A version that `train` made by the same file is served, else one is trained first. To a system that runs already
        a changed file is handed over at once, whether or not a model serves, and its ports stay. `tell` gets the story
        as it grows, such as `print`.

        `down()` stops it, and so does the end of a `with system.up():` block. Raises InvalidSpecError,
        AlreadyRunningError where something else runs in the state directory, and CapstanError where the process ended,
        with the end of its log, or where the first training failed: then its page stays up, and it goes on once the
        file is mended.
        """
        self._only_here("up", "up FILE")
        from capstan.embedded.live import submit_change
        from capstan.embedded.wiring import open_store
        from capstan.verbs.background import start

        system, state = self.spec, self._state
        if state.holder() is not None:
            with open_store(state) as store:
                submit_change(system, state, store)
            return self
        background = start(self._file, state, page_port=page_port, gateway_port=gateway_port)
        if not background.follow(tell if tell is not None else lambda _: None):
            raise background.stuck
        return self

    def down(self, *, timeout: float = 90.0) -> None:
        """Stop what runs in the state directory; state stays, and `up` goes on from it. Again and again is fine.

        Other systems that share its gateway and page go on. `timeout`: seconds for a clean stop, after which it is
        killed; CapstanError where others run in the same process, which is left alone.
        """
        self._only_here("down", "down FILE")
        from capstan.embedded.host.leaving import leave
        from capstan.embedded.live import take_down

        state = self._state
        if self._root.exists() and leave(self.name, state, wait_seconds=timeout) is None:
            take_down(state, wait_seconds=timeout)

    def __enter__(self) -> System:
        return self

    def __exit__(self, *_: object) -> None:
        self.down()

    @property
    def gateway(self) -> str | None:
        """The address that clients ask, such as `http://127.0.0.1:7480`; None while it does not run here."""
        return self._address("gateway")

    @property
    def page(self) -> str | None:
        """The address of its page, without the token that opens it, which `capstan open` has; None: it does not run."""
        return self._address("page")

    # -- what happened

    def runs(self) -> pd.DataFrame:
        """The trainings, the newest last: one row each, by the run's name.

        Columns: `trigger`, `reason`, `as_of` (UTC), `against`, `phase`, `started_at` and `finished_at` (UTC),
        `seconds`, `chosen`, `failed_candidates`, `warnings`, `gates_passed`, `version`.
        """
        import pandas as pd

        from capstan.embedded.wiring import open_store
        from capstan.verbs.trainings import COLUMNS, runs_of

        rows, state = [], self._state
        if (cluster := self._cluster) is not None:
            with cluster.store() as store:
                rows = [run.row() for run in runs_of(store, self.name, lambda _: None)]
        elif state.store.exists():
            with open_store(state) as store:
                found = runs_of(store, self.name, lambda one: state.runs(one.system) / one.name)
                rows = [run.row() for run in found]
        return pd.DataFrame(rows, columns=list(COLUMNS)).set_index("run")

    @property
    def versions(self) -> pd.DataFrame:
        """The registered versions, the oldest first: one row each, by the version's name.

        Columns: `role` (`champion`, `challenger` or empty), `run`, `as_of` (UTC; data up to it was read), `digest`,
        then the metrics of the test window, in the units of the task; those of a cluster are in its registry, and are
        not told here. Raises UnavailableError.
        """
        import pandas as pd

        from capstan.verbs.versions import versions_in, versions_of

        if (cluster := self._cluster) is not None:
            with cluster.store() as store:
                versions = versions_in(self.spec, store)
        else:
            versions = versions_of(self.spec, self._state)
        rows = [
            {
                "version": one.version.name,
                "role": one.role,
                "run": one.version.run,
                "as_of": one.version.as_of,
                "digest": one.version.digest,
                **one.version.metrics,
            }
            for one in versions
        ]
        columns = ["version", "role", "run", "as_of", "digest"]
        return (pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)).set_index("version")

    def story(self) -> pd.DataFrame:
        """What happened and why, in order: one row per event with `at` (UTC), `reason` and `message`."""
        import pandas as pd

        from capstan.domain.versions import SystemName
        from capstan.embedded.wiring import open_store

        rows, state, cluster = [], self._state, self._cluster
        if cluster is not None or state.store.exists():
            with cluster.store() if cluster is not None else open_store(state) as store:
                rows = [
                    {"at": event.at, "reason": str(event.reason), "message": event.message}
                    for _, event in store.events(SystemName(self.name))
                ]
        return pd.DataFrame(rows, columns=["at", "reason", "message"])

    # -- inside

    @property
    def _cluster(self) -> Cluster | None:
        """None: the system is on this machine. Raises NotFoundError for a context that the kubeconfig does not have."""
        if self._context is None:
            return None
        from capstan.cluster.places import cluster_of

        named = self.spec.metadata.namespace
        if named is not None and self._namespace not in (None, named):
            raise NotFoundError(
                f"metadata.namespace is {named}, namespace is {self._namespace}; drop one of them"
            )
        return cluster_of(self._context, self._namespace or named)

    def _only_here(
        self,
        verb: str,
        command: str | None,
        otherwise: str = "A cluster takes no fitted model; write it as a `custom` candidate of the file",
    ) -> None:
        """Raises NotAllowedError where the system is in a cluster.

        `command` does it there; None: nothing does, and `otherwise` says what a person can do.
        """
        if self._context is not None:
            there = (
                otherwise
                if command is None
                else f"There the command `capstan {command} --context {self._context}` does it"
            )
            raise NotAllowedError(
                f"{verb}: works on this machine, and context={self._context!r} names a cluster. {there}. A System "
                "without context works here"
            )

    @property
    def _state(self) -> StateDir:
        from capstan.embedded.layout import StateDir
        from capstan.verbs.folders import where_lives

        root = StateDir(self._root)
        try:
            return where_lives(root, self.name)
        except InvalidSpecError:
            return root

    def _address(self, name: str) -> str | None:
        from capstan.verbs.answering import address_in

        return address_in(self._state, name)

    def _shown(self) -> tuple[str, list[tuple[str, object]]]:
        """Its name and what is known of it."""
        checked = self.validate(data=False)
        if not checked:
            return checked.system or "with mistakes", [
                ("file", self._file),
                ("mistakes", len(checked.mistakes)),
            ]
        objective = self.spec.spec.objective
        if self._context is not None:
            place = self._namespace or self.spec.metadata.namespace or "the context's namespace"
            return self.name, [
                ("predicts", f"{objective.target} ({objective.task})"),
                ("file", self._file),
                ("context", self._context),
                ("namespace", place),
            ]
        holder = self._state.holder()
        return self.name, [
            ("predicts", f"{objective.target} ({objective.task})"),
            ("file", self._file),
            ("state", self._root),
            ("runs", f"as process {holder}" if holder else "not"),
            ("gateway", self.gateway if holder else None),
            ("page", self.page if holder else None),
        ]

    def __repr__(self) -> str:
        name, facts = self._shown()
        told = ", ".join(f"{fact} {value}" for fact, value in facts if value)
        return f"<System {name}: {told}>"

    def _repr_html_(self) -> str:
        name, facts = self._shown()
        return html.box(f"System {name}", html.facts(facts))
