"""Labels of a data frame, handed in to the running system."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from capstan.api.frames import in_a_file
from capstan.cluster.gateways import feedback_token_in, gateway_in
from capstan.embedded.layout import StateDir
from capstan.embedded.wiring import collector_behind, collector_of
from capstan.errors import InvalidDataError, NotAllowedError
from capstan.spec import MLSystem
from capstan.verbs.elsewhere import FROM_ENVIRONMENT, address_written
from capstan.verbs.labelling import Tally, hand_in, label_entries

if TYPE_CHECKING:
    from capstan.adapters.own.collector import CollectorClient
    from capstan.api.frames import Frame
    from capstan.cluster.places import Cluster

MOST_NAMED = 20
"""Refused rows that an error names."""


def hand_in_frame(
    system: MLSystem,
    state: StateDir,
    frame: Frame,
    *,
    mark: bool,
    url: str | None = None,
    token: str | None = None,
    cluster: Cluster | None = None,
) -> Tally:
    """What came of the labels; without `mark` a refused row raises InvalidDataError, and no label is handed in.

    `url`: the gateway of a system elsewhere, which lets labels in by the token, or by that of the environment.
    `cluster`: where the system runs, whose Secret has the token. Raises NotFoundError, NotAllowedError.
    """
    tally, name = Tally(), system.metadata.name
    with in_a_file(frame) as file, _collector(system, state, url, token, cluster) as collector:
        entries = list(label_entries(system, file, tally))
        if tally.refused_rows and not mark:
            raise InvalidDataError(_refusal(tally))
        hand_in(iter(entries), tally, lambda part: collector.match_labels(part, system=name))
    return tally


@contextmanager
def _collector(
    system: MLSystem, state: StateDir, url: str | None, token: str | None, cluster: Cluster | None
) -> Iterator[CollectorClient]:
    if url is None and cluster is None:
        with collector_of(state) as here:
            yield here
        return
    # A file of a token ends with a line break, which no header may hold.
    token = (token or os.environ.get(FROM_ENVIRONMENT, "")).strip()
    if cluster is not None and not token:
        token = feedback_token_in(cluster, system, f"`token` or ${FROM_ENVIRONMENT}")
    if not token:
        raise NotAllowedError(
            f"url: labels need the system's token for feedback: `token` or ${FROM_ENVIRONMENT} gives it"
        )
    with ExitStack() as stack:
        if url is not None:
            address = address_written(url, "url")
        else:
            assert cluster is not None
            address = stack.enter_context(gateway_in(cluster, system))
        yield stack.enter_context(collector_behind(address, token))


def _refusal(tally: Tally) -> str:
    lines = [
        f"row {one['row']}, {one['field']}: {one['value']!r} {one['rule']}"
        for one in tally.refused[:MOST_NAMED]
    ]
    more = tally.refused_rows - len(lines)
    lines += [f"{more:,} rows more"] if more else []
    head = f"{tally.refused_rows:,} rows are refused, so no label was handed in; `refused='mark'` hands the others in:"
    return "\n".join([head, *lines])
