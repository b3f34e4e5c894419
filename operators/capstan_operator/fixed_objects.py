"""Keeps the fixed objects of a system as they were rendered: applied when they change, put back when somebody edits.

That nothing has to be done is seen in memory alone: an annotation on each object says by which rendering it was
written, and the set of fields that Capstan owns shrinks on the API server once somebody else writes or removes one.
Objects that are not watched (claims, accounts, Secrets) are applied again with the others, and when a Deployment of the
system has not been whole for a while. Secrets are only created: what may patch them may read them.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import orjson

from capstan.cluster.names import GROUP
from capstan.cluster.watching.cache import ObjectFacts, WatchedKube
from capstan.errors import CapstanError, ConflictError, ExistsError, UnavailableError
from capstan.ports.kube import Object
from capstan_operator.kept_volumes import was_kept

logger = logging.getLogger(__name__)

APPLIED = f"{GROUP}/applied"
"""Annotation with the digest of the rendering by which the object was last written."""
_BROKEN_SECONDS = 60.0
"""Seconds after which a Deployment that is not whole is applied again: it may lack an object that nobody watches."""
_FIGHT_SECONDS = 5.0
"""Least seconds between two answers to somebody who writes the same field again and again."""
_AGAIN_SECONDS = 300.0
"""Least seconds between two tries of what was refused, or what was applied for a broken Deployment."""


@dataclass
class AppliedObjects:
    """Memory of one system's objects between two looks; with it, a look that changes nothing makes no call."""

    digest: str = ""
    owned: dict[tuple[str, str], str] = field(default_factory=dict)
    """(kind, name) -> digest of what Capstan owns in it, of the watched kinds."""
    deployments: tuple[str, ...] = ()
    broken_since: float | None = None
    tried_at: float = 0.0
    refused: dict[str, str] = field(default_factory=dict)
    """`Kind name` -> why the API server did not take it."""

    @property
    def obstacle(self) -> str:
        """What was refused and why, in words; empty: nothing was."""
        return "; ".join(f"{where} is refused: {why}" for where, why in sorted(self.refused.items()))


@dataclass(frozen=True)
class EnsureResult:
    """Result of one look at the fixed objects."""

    put_back: tuple[str, ...] = ()
    """`Kind name` of objects that somebody had changed or deleted."""
    refused: tuple[str, ...] = ()
    """Why objects could not be applied; told once."""
    taken: tuple[str, ...] = ()
    """Claims that an earlier, deleted system of the same name had left."""
    is_new: bool = False
    """Whether they were applied because the file, the settings or the release changed."""


class FixedObjects:
    """Applies the rendered objects of systems, and no more often than needed."""

    def __init__(
        self, kube: WatchedKube, release: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`release` names the operator and its settings; another release writes all objects anew."""
        self._kube = kube
        self._release = release
        self._clock = clock

    def ensure(
        self,
        namespace: str,
        known: AppliedObjects,
        generation: int,
        render: Callable[[], Sequence[Object]],
        *,
        is_new: bool,
    ) -> EnsureResult:
        """Bring the objects to what `render` gives; `is_new`: something that they follow from may have changed.

        Raises UnavailableError, and ConflictError for a race with somebody else's write; what the API server refuses is
        told in the result and tried again later.
        """
        changed = {} if is_new else self._changed(namespace, known)
        too_soon = self._clock() - known.tried_at < _FIGHT_SECONDS
        if not is_new and (too_soon or not changed) and not self._is_time(namespace, known):
            return EnsureResult()
        documents = list(render())
        digest = self._digest(generation, documents)
        if is_new and known.digest != digest and self._adopt(known, digest, documents):
            return EnsureResult()
        if is_new and known.digest == digest:
            return EnsureResult()
        restored = changed if known.digest == digest else {}
        before = dict(known.refused)
        taken = self._apply(known, digest, documents)
        back = tuple(f"{kind} {name}" for (kind, name) in sorted(restored))
        told = tuple(
            f"{where}: {why}" for where, why in sorted(known.refused.items()) if before.get(where) != why
        )
        return EnsureResult(back, told, taken, is_new=not restored)

    def _digest(self, generation: int, documents: Sequence[Object]) -> str:
        content = orjson.dumps([self._release, generation, list(documents)], option=orjson.OPT_SORT_KEYS)
        return hashlib.sha256(content).hexdigest()[:16]

    def _changed(self, namespace: str, known: AppliedObjects) -> dict[tuple[str, str], ObjectFacts | None]:
        """Watched objects that somebody changed or deleted since they were applied."""
        found = {}
        for (kind, name), owned in known.owned.items():
            seen = self._kube.facts(kind, namespace, name)
            if seen is None or (seen.owned != owned and not seen.is_deleted):
                found[kind, name] = seen
        return found

    def _is_time(self, namespace: str, known: AppliedObjects) -> bool:
        now = self._clock()
        if all(self._is_whole(namespace, name) for name in known.deployments):
            known.broken_since = None
        elif known.broken_since is None:
            known.broken_since = now
        broken = known.broken_since is not None and now - known.broken_since >= _BROKEN_SECONDS
        return (broken or bool(known.refused)) and now - known.tried_at >= _AGAIN_SECONDS

    def _is_whole(self, namespace: str, name: str) -> bool:
        deployment = self._kube.get("Deployment", name, namespace)
        if deployment is None:
            return False
        wanted = deployment.get("spec", {}).get("replicas", 1)
        return int(deployment.get("status", {}).get("availableReplicas") or 0) >= int(wanted)

    def _adopt(self, known: AppliedObjects, digest: str, documents: Sequence[Object]) -> bool:
        """Take over what an earlier operator has applied; False if it must be applied again."""
        owned: dict[tuple[str, str], str] = {}
        for document in documents:
            kind, meta = str(document["kind"]), document["metadata"]
            if not self._kube.is_watched(kind):
                continue
            seen = self._kube.facts(kind, meta["namespace"], meta["name"])
            if seen is None or seen.is_deleted or seen.has_others or seen.annotations.get(APPLIED) != digest:
                return False
            owned[kind, meta["name"]] = seen.owned
        if not owned:
            return False
        self._remember(known, digest, documents, owned)
        return True

    def _apply(self, known: AppliedObjects, digest: str, documents: Sequence[Object]) -> tuple[str, ...]:
        """Names of the claims that were there, kept of a deleted system."""
        taken: list[str] = []
        known.refused, known.tried_at = {}, self._clock()
        owned: dict[tuple[str, str], str] = {}
        # Watched kinds come last. Their annotation then proves that the others were written before.
        for document in sorted(documents, key=lambda one: self._kube.is_watched(str(one["kind"]))):
            kind, name = str(document["kind"]), str(document["metadata"]["name"])
            # A mark of another rendering makes the next look apply it again, and so learn what is refused.
            mark = f"{digest}-in-part" if known.refused else digest
            try:
                if was_kept(self._write(_marked(document, mark))):
                    taken.append(name)
            except (UnavailableError, ConflictError):
                raise
            except CapstanError as error:
                known.refused[f"{kind} {name}"] = str(error)
                logger.warning("%s %s is not applied: %s", kind, name, error)
                continue
            if self._kube.is_watched(kind):
                seen = self._kube.facts(kind, document["metadata"]["namespace"], name)
                if seen is not None:
                    owned[kind, name] = seen.owned
        self._remember(known, digest, documents, owned)
        return tuple(taken)

    def _write(self, document: Object) -> Object:
        """As it is now."""
        if document["kind"] != "Secret":
            return self._kube.apply(document)
        # Its name ends in a mark of its content, so an existing object of the name is the same.
        with contextlib.suppress(ExistsError):
            self._kube.create(document)
        return document

    def _remember(
        self,
        known: AppliedObjects,
        digest: str,
        documents: Sequence[Object],
        owned: dict[tuple[str, str], str],
    ) -> None:
        known.digest, known.owned, known.broken_since = digest, owned, None
        known.deployments = tuple(
            str(document["metadata"]["name"]) for document in documents if document["kind"] == "Deployment"
        )


def _marked(document: Object, digest: str) -> Object:
    meta = document["metadata"]
    annotations = {**(meta.get("annotations") or {}), APPLIED: digest}
    return {**document, "metadata": {**meta, "annotations": annotations}}
