"""The command line: ``lehr COMMAND``."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.text import Text

from lehr import __version__
from lehr.base.errors import Interrupted, LehrError
from lehr.cli import (
    bench,
    compare,
    connect,
    demo,
    ensemble,
    evaluate,
    export,
    pack,
    pipeline,
    preview,
    run_recipe,
    sensitivity,
    show,
    stability,
    study,
    ticket,
    train,
    tune,
)

app = typer.Typer(
    name="lehr",
    help="Anneal a PyTorch network down into a small subnetwork of itself.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
)
app.command()(demo.demo)
app.command()(train.train)
app.command()(tune.prune)
app.command()(tune.tune)
app.command()(compare.compare)
app.command()(pipeline.pipeline)
app.command()(ticket.ticket)
app.command()(stability.stability)
app.command()(connect.connect)
app.command()(preview.preview)
app.command()(sensitivity.sensitivity)
app.command()(evaluate.evaluate)
app.command()(pack.pack)
app.command()(bench.bench)
app.command()(export.export)
app.command("run")(run_recipe.run_recipe)
app.add_typer(ensemble.app, name="ensemble")
app.add_typer(study.app, name="study")
app.command()(show.show)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"lehr {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def run() -> None:
    """The entry point: bad input is one sentence and exit code 2, an interruption is 130."""
    try:
        app()
    except Interrupted as stop:
        _say("stopped", stop)
        sys.exit(130)
    except LehrError as error:
        _say("error", error)
        sys.exit(2)


def _say(kind: str, error: Exception) -> None:
    if str(error).startswith(kind):  # a message that says so itself
        Console(stderr=True, soft_wrap=True).print(Text(str(error), "yellow"))
        return
    text = Text.assemble((f"{kind}: ", "bold red" if kind == "error" else "bold yellow"), str(error))
    Console(stderr=True, soft_wrap=True).print(text)


if __name__ == "__main__":
    run()
