"""The `tutti` command: a table of commands, each imported only when it runs.

Most commands speak HTTP to a server, as any client does. The others run or manage a server on this
machine."""

import importlib
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from tutti import __version__
from tutti.cli.server import DEFAULT_URL, Server


@dataclass(frozen=True)
class Mount:
    """A command of the table: its name, where its code is, its help text and its panel in `--help`."""

    name: str
    place: str
    """`module:attribute` of a function, or of a `typer.Typer` with commands of its own.

    It is a name, not an import, so that a command is imported only when it runs. All modules are in this
    folder, and the test of the generated reference (tests/unit/test_docs) loads each of them."""
    help: str
    panel: str


_USE = "Use a server"
_RUN = "Run a server"
MOUNTS = (
    Mount("serve", "tutti.cli.serve:serve", "Start the server.", _RUN),
    Mount("pull", "tutti.cli.pull:pull", "Download a model.", _RUN),
    Mount("rm", "tutti.cli.pull:rm", "Delete a downloaded model.", _RUN),
    Mount("local", "tutti.cli.pull:local", "List the models on this machine.", _RUN),
    Mount("env", "tutti.cli.env:app", "Manage the code interpreter's Python environments.", _RUN),
    Mount("keys", "tutti.cli.keys:app", "Create, list and revoke API keys.", _RUN),
    Mount("chat", "tutti.cli.chat:chat", "Talk to a model at a prompt.", _USE),
    Mount("chat.completions", "tutti.cli.text:chat_completions", "Answer a list of messages.", _USE),
    Mount("completions", "tutti.cli.text:completions", "Continue a text.", _USE),
    Mount("embeddings", "tutti.cli.text:embeddings", "Turn texts into vectors.", _USE),
    Mount("rerank", "tutti.cli.text:rerank", "Sort documents by relevance to a query.", _USE),
    Mount("audio", "tutti.cli.audio:app", "Speak, transcribe and translate.", _USE),
    Mount("batches", "tutti.cli.batches:app", "Submit and manage batches of requests.", _USE),
    Mount("files", "tutti.cli.files:app", "Check, upload, list, download and delete files.", _USE),
    Mount("evals", "tutti.cli.evals:app", "Let a model judge the rows of a file.", _USE),
    Mount("tci", "tutti.cli.tci:app", "Run Python code in a sandbox.", _USE),
    Mount("models", "tutti.cli.models:app", "List, describe and upload models.", _USE),
    Mount("usage", "tutti.cli.usage:usage", "Show requests, tokens, latency and cost.", _USE),
)


class LazyGroup(TyperGroup):
    """A command group that knows only names and help texts until one of its commands runs."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for mount in MOUNTS:
            self.add_command(TyperCommand(mount.name, help=mount.help, rich_help_panel=mount.panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        mount = next((mount for mount in MOUNTS if mount.name == name), None)
        return name, command if mount is None else _load(mount), rest


def _load(mount: Mount) -> Any:
    module, _, attribute = mount.place.partition(":")
    target = getattr(importlib.import_module(module), attribute)
    if isinstance(target, typer.Typer):
        return get_command(target)
    single = typer.Typer(add_completion=False)
    single.command(mount.name, cls=getattr(target, "command_class", None))(target)
    return get_command(single)


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"tutti {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    base_url: Annotated[
        str, typer.Option(envvar="TOGETHER_BASE_URL", help="URL of the server, with or without /v1.")
    ] = DEFAULT_URL,
    api_key: Annotated[
        str, typer.Option(envvar="TOGETHER_API_KEY", help="An API key.", show_default=False)
    ] = "tutti",
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Run and use the Together platform on your own machines."""
    context.obj = Server.at(base_url, api_key)
