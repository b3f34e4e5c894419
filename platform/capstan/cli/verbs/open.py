"""`capstan open`: the page in a browser, signed in; of a cluster through a tunnel that lasts as long as the command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from capstan.cli.app import App
from capstan.cli.console import DEFAULT_STATE, Json, State, honest_errors, out, print_json
from capstan.cli.place import Context, Namespace
from capstan.cluster.places import OPERATOR_NAMESPACE, cluster_of
from capstan.errors import NotFoundError

if TYPE_CHECKING:
    from capstan.adapters.kubernetes.client import KubeClient

app = App()


@app.command("open", epilog="Example: capstan open --context . -n flights --account ann")
def open_page(
    state: State = DEFAULT_STATE,
    context: Context = None,
    namespace: Namespace = None,
    account: Annotated[
        str | None,
        typer.Option(
            help="ServiceAccount of the namespace to sign in as; default: the token of the kubeconfig's own user.",
            show_default=False,
        ),
    ] = None,
    page_namespace: Annotated[str, typer.Option(help="Namespace of the page.")] = OPERATOR_NAMESPACE,
    minutes: Annotated[
        int, typer.Option(min=10, max=1440, help="How long the token of --account lasts.")
    ] = 60,
    port: Annotated[int, typer.Option(min=0, help="Port of this machine; 0: a free one.")] = 0,
    browser: Annotated[bool, typer.Option(help="Open the browser; else print the address.")] = True,
    json: Json = False,
) -> None:
    """Open the page in a browser, signed in."""
    with honest_errors(json):
        if context is None:
            address = _of_this_machine(state.resolve())
            _show(address, browser, json)
            return
        from capstan.cli.remote_page import PORT, SERVICE, page_token
        from capstan.cluster.tunnel import end_as_by_ctrl_c, tunnel

        end_as_by_ctrl_c()
        place = cluster_of(context, namespace)
        client = cast("KubeClient", place.kube)
        token = page_token(client, account, place.namespace, seconds=minutes * 60)
        with tunnel(place.context, page_namespace, SERVICE, PORT, local=port) as forward:
            code = forward.code(token)
            # Behind the #, so that it reaches no server and no log; it lets in once, within a minute.
            _show(f"{forward.address}/#code={code}", browser, json)
            if not json:
                out.print(f"page {forward.address}, until Ctrl-C", soft_wrap=True)
            forward.keep()


def _of_this_machine(root: Path) -> str:
    """Address with the token of the page of a running supervisor; raises NotFoundError."""
    from capstan.cli.stored_system import read_json
    from capstan.embedded.layout import StateDir

    here = StateDir(root)
    state = next((one for one in (here, *here.all_beside()) if one.holder() is not None), here)
    addresses = read_json(state.addresses) if state.holder() else None
    if not addresses or "page" not in addresses:
        raise NotFoundError(
            f"{root}: no page is served; `capstan up FILE` starts one, --context names a cluster"
        )
    return f"{addresses['page']}/?token={state.page_token()}"


def _show(address: str, browser: bool, json: bool) -> None:
    if json:
        print_json({"page": address})
        return
    if browser:
        import webbrowser

        if webbrowser.open(address):
            return
        out.print("no browser could be opened; open this address within a minute:")
    # Not wrapped: it is to be copied as it is.
    out.out(address, highlight=False)
