"""`capstan push`: the files that a system reads, into its data volume in a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from capstan.cli.app import App
from capstan.cli.console import File, Json, Narrator, honest_errors, print_json
from capstan.cli.place import Context, Namespace
from capstan.cli.verbs.render import Settings
from capstan.cluster.places import cluster_of
from capstan.errors import NotFoundError

if TYPE_CHECKING:
    from capstan.adapters.kubernetes.client import KubeClient

app = App()


@app.command(epilog="Example: capstan push system.yaml --context .")
def push(
    file: File,
    context: Context = None,
    namespace: Namespace = None,
    settings: Settings = None,
    image: Annotated[
        str | None,
        typer.Option(help="Image of the pod that takes the files; default: this release's capstan-python."),
    ] = None,
    json: Json = False,
) -> None:
    """Copy the files of the sources and the factories of custom candidates into the system's data volume.

    Do it before `capstan up`. A volume of your own (data.volume.claim) is written to as well. Other files in the volume
    stay.
    """
    with honest_errors(json):
        from capstan.cluster.names import SystemNames
        from capstan.cluster.pushing import files_of
        from capstan.cluster.pushing import push as push_files
        from capstan.cluster.settings import ClusterSettings, read_settings
        from capstan.domain.versions import SystemName
        from capstan.spec import load

        if context is None:
            raise NotFoundError("push copies into a cluster: name it, `--context .` is the current one")
        system = load(file)
        place = cluster_of(context, namespace or system.metadata.namespace)
        known = read_settings(settings) if settings is not None else ClusterSettings()
        if image is not None:
            known = known.model_copy(update={"images": known.images.model_copy(update={"python": image})})
        files = files_of(system)
        names = SystemNames(place.namespace, SystemName(system.metadata.name))
        with Narrator(quiet=json) as narrator:

            def progress(sent: int, total: int) -> None:
                narrator.advance("sent", sent // 1024, total // 1024, "KiB")

            push_files(cast("KubeClient", place.kube), system, names, known, files, progress)
            what = "1 file is" if len(files) == 1 else f"{len(files)} files are"
            narrator.say(f"{what} in the data volume of {names.system} in {place}")
        if json:
            print_json({"files": [str(one.place) for one in files], "system": names.system})
