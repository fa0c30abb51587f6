"""`lehr run`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from lehr.cli import options, screen


def run_recipe(
    recipe: Annotated[Path, typer.Argument(help="A YAML file with the stages.")],
    out: Annotated[Path | None, typer.Option(help="Folder for the stages (default: the file's own).")] = None,
    change: Annotated[
        list[str] | None, typer.Option("--set", help="STAGE.SETTING=VALUE over what the file says; repeatable.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Only check the file; run nothing.")] = False,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Run the stages of a recipe: train, prune, tune, evaluate, sensitivity, study. Started again it goes on.

    Example: `lehr run recipe.yaml --set tune.epochs=3`
    """
    from lehr.study.recipe import read_recipe
    from lehr.study.recipe import run_recipe as run

    plan = read_recipe(recipe, out, change or ())
    printer = screen.console()
    if check:
        for stage in plan.stages:
            start = f" from {stage.source}" if stage.source else ""
            printer.print(f"{stage.name}: {stage.kind}{start}, in {plan.out / stage.name}", soft_wrap=True)
        return

    def told(name: str, result: dict[str, Any]) -> None:
        if as_json:
            return
        if "parameters" in result and "validation" in result:
            printer.print(screen.result_table(name, result, str(plan.out / name)))
            screen.notes(result.get("notes", ()))
        else:
            printer.print(f"{name} is done: {plan.out / name}", soft_wrap=True)

    results = run(plan, show=screen.show_bar(quiet, as_json), told=told)
    if as_json:
        screen.print_json(results)
