"""A system in a notebook: the nouns and verbs of the command line, with results in place of text."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from capstan.api import html
from capstan.errors import NotFoundError

if TYPE_CHECKING:
    import pandas as pd

    from capstan.api.results import Explanation, Plan, Validation
    from capstan.embedded.layout import StateDir
    from capstan.spec import MLSystem

STATE_VARIABLE = "CAPSTAN_STATE"
DEFAULT_STATE = ".capstan"


class System:
    """One ML system of this machine: a file that describes it, and the state directory that it lives in.

    The file is read anew by each verb, so it may be edited between two of them. The command line works on the same
    file and directory: what one of them does, the other sees.
    """

    def __init__(self, file: str | Path, *, state: str | Path | None = None) -> None:
        """`state`: the state directory; None: that of CAPSTAN_STATE, or `.capstan` in the working directory."""
        self._file = Path(file).resolve()
        named = state if state is not None else os.environ.get(STATE_VARIABLE) or DEFAULT_STATE
        self._root = Path(named).resolve()

    @classmethod
    def from_file(cls, file: str | Path, *, state: str | Path | None = None) -> System:
        """The system that a file describes, such as `system.yaml`; mistakes in it are told by `validate()`.

        Raises NotFoundError where there is no such file.
        """
        if not Path(file).is_file():
            raise NotFoundError(f"{file}: is no file")
        return cls(file, state=state)

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

    # -- before anything runs

    def validate(self, *, data: bool = True) -> Validation:
        """All mistakes of the file at once; with `data` also those of its data, read as a training would read it now.

        What is wrong is in the result, and nothing is raised for it.
        """
        from capstan.api.results import Validation
        from capstan.verbs.validation import validated

        return Validation.of(validated(self._file, data=data, now=datetime.now(UTC)))

    def plan(self) -> Plan:
        """What `up` would change, what follows, and how long a verdict will take.

        Raises InvalidSpecError, also for what one machine cannot do.
        """
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

    # -- what happened

    def runs(self) -> pd.DataFrame:
        """The trainings, the newest last: one row each, by the run's name.

        Columns: `trigger`, `reason`, `as_of` (UTC), `against`, `phase`, `started_at` and `finished_at` (UTC),
        `seconds`, `chosen`, `failed_candidates`, `warnings`, `gates_passed`, `version`.
        """
        import pandas as pd

        from capstan.embedded.wiring import open_store
        from capstan.verbs.trainings import COLUMNS, runs_of

        rows = []
        if self._state.store.exists():
            with open_store(self._state) as store:
                found = runs_of(store, self.name, lambda one: self._state.runs(one.system) / one.name)
                rows = [run.row() for run in found]
        return pd.DataFrame(rows, columns=list(COLUMNS)).set_index("run")

    @property
    def versions(self) -> pd.DataFrame:
        """The registered versions, the oldest first: one row each, by the version's name.

        Columns: `role` (`champion`, `challenger` or empty), `run`, `as_of` (UTC; data up to it was read), `digest`,
        then the metrics of the test window, in the units of the task. Raises UnavailableError.
        """
        import pandas as pd

        from capstan.verbs.versions import versions_of

        rows = [
            {
                "version": one.version.name,
                "role": one.role,
                "run": one.version.run,
                "as_of": one.version.as_of,
                "digest": one.version.digest,
                **one.version.metrics,
            }
            for one in versions_of(self.spec, self._state)
        ]
        columns = ["version", "role", "run", "as_of", "digest"]
        return (pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)).set_index("version")

    def story(self) -> pd.DataFrame:
        """What happened and why, in order: one row per event with `at` (UTC), `reason` and `message`."""
        import pandas as pd

        from capstan.domain.versions import SystemName
        from capstan.embedded.wiring import open_store

        rows = []
        if self._state.store.exists():
            with open_store(self._state) as store:
                rows = [
                    {"at": event.at, "reason": str(event.reason), "message": event.message}
                    for _, event in store.events(SystemName(self.name))
                ]
        return pd.DataFrame(rows, columns=["at", "reason", "message"])

    # -- inside

    @property
    def _state(self) -> StateDir:
        from capstan.embedded.layout import StateDir

        return StateDir(self._root)

    def _facts(self) -> list[tuple[str, object]]:
        checked = self.validate(data=False)
        if not checked:
            return [("file", self._file), ("mistakes", len(checked.mistakes))]
        objective, holder = self.spec.spec.objective, self._state.holder()
        return [
            ("predicts", f"{objective.target} ({objective.task})"),
            ("file", self._file),
            ("state", self._root),
            ("runs", f"as process {holder}" if holder else "not"),
        ]

    def __repr__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self._facts())
        return f"<System {self.validate(data=False).system or 'with mistakes'}: {facts}>"

    def _repr_html_(self) -> str:
        return html.box(
            f"System {self.validate(data=False).system or 'with mistakes'}", html.facts(self._facts())
        )
