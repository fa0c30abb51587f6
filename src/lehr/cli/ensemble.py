"""`lehr ensemble grow|evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Group
from rich.table import Table

from lehr.cli import options, screen
from lehr.cli.small_study import command, done, threads_of
from lehr.cli.tune import All, Anneal, MethodName, Tau

if TYPE_CHECKING:
    from lehr.report.ensemble_rows import EnsembleRow

app = typer.Typer(
    help="Many subnetworks of one trained network: grow them, and judge them together.", no_args_is_help=True
)
FAMILY = "Family"


@app.command()
def grow(
    data: options.AnyData = None,
    model: options.AnyModel = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--from", help="A finished dense run, the parent; without it one is trained.", rich_help_panel=FAMILY
        ),
    ] = None,
    children: Annotated[int, typer.Option(help="How many.", rich_help_panel=FAMILY)] = 6,
    pairs: Annotated[
        str, typer.Option(help="anti-random, random, partition or magnitude.", rich_help_panel=FAMILY)
    ] = "anti-random",
    parts: Annotated[int, typer.Option(help="Of a partition.", rich_help_panel=FAMILY)] = 2,
    complement: Annotated[
        bool,
        typer.Option(
            "--complement", help="A pair stays one at every draw; needs --all-weights.", rich_help_panel=FAMILY
        ),
    ] = False,
    sparsity: Annotated[
        float | None, typer.Option(help="Of random and magnitude children.", rich_help_panel=FAMILY)
    ] = None,
    method: MethodName = "temperature-annealing",
    anneal: Anneal = "0.5",
    tau: Tau = 0.5,
    all_weights: All = False,
    granularity: options.Granularity = "unstructured",
    target_modules: options.TargetModules = None,
    exclude_modules: options.ExcludeModules = None,
    limit: options.Limit = None,
    image_size: options.ImageSize = None,
    augment: options.Augment = None,
    parent_epochs: Annotated[
        int | None, typer.Option(help="Of the parent (20).", rich_help_panel=options.TRAINING)
    ] = None,
    epochs: Annotated[int, typer.Option(help="Of each child.", rich_help_panel=options.TRAINING)] = 10,
    parent_lr: Annotated[
        float | None, typer.Option(help="Of the parent (0.1).", rich_help_panel=options.TRAINING)
    ] = None,
    lr: options.Rate = 0.1,
    schedule: options.Schedule = "one-cycle",
    optimizer: options.Optimizer = None,
    batch_size: options.BatchSize = None,
    precision: options.Precision = None,
    seeds: Annotated[
        int | None, typer.Option(help="Parents, each with a family: 0, 1, 2, ... (1).", rich_help_panel=options.RUN)
    ] = None,
    threads: options.Threads = 0,
    out: options.StudyOut = None,
    workers: options.Workers = 1,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Grow an ensemble: unlike subnetworks of one parent, each tuned for a while; started again it goes on.

    Example: `lehr ensemble grow --data digits --model lenet5 --children 4 --epochs 5 --out runs/family`
    """
    arguments = dict(locals())
    from lehr.recipes.questions import EnsembleSettings
    from lehr.runs import validated
    from lehr.study.compare import default_folder
    from lehr.study.family import adopt, family, parents
    from lehr.study.folder import left_behind
    from lehr.study.judged import judge_studies, missing
    from lehr.study.told import publish

    given = options.others(arguments, *HANDLED)
    given |= {"threads": threads} if threads else {}
    grown_from = parents(weights, given, epochs=parent_epochs, lr=parent_lr, seeds=seeds)
    if weights is None:
        given["threads"] = threads_of(threads, workers)
    of_child: dict[str, Any] = {"child_epochs": epochs, "child_lr": lr, "child_schedule": schedule}
    study = family(pairs=pairs, children=children, parts=parts, **given, **of_child, **grown_from)
    folder = out or default_folder(study)
    gone = left_behind(study, folder)
    if weights is not None:
        adopt(weights, study, folder)
    found, folder, files = done(study, folder, workers, threads=threads, quiet=quiet, as_json=as_json)
    if not as_json:
        screen.findings(found, files, as_json=False)
    settings = validated(EnsembleSettings, {"run": ""})
    judged = judge_studies([folder], settings, show=screen.show_bar(quiet, as_json))
    lacking = missing([folder])
    if gone:
        lacking.append(
            f"{len(gone)} runs of another family in {folder} are in no table of it now ({gone[0]}, ...): give each family its own --out"
        )
    _show(*publish(judged, folder, command(), settings, lacking), lacking=lacking, as_json=as_json)


@app.command()
def evaluate(
    families: Annotated[list[Path], typer.Argument(help="Folders of studies: of children, of cycles, of dense runs.")],
    corrupted: options.Corrupted = False,
    corruptions: options.Corruptions = None,
    severities: Annotated[
        str | None, typer.Option(help="From 1 to 5 (1,2,3,4,5).", rich_help_panel=options.JUDGED)
    ] = None,
    corrupted_data: options.CorruptedData = None,
    examples: Annotated[
        int | None,
        typer.Option(help="Corrupted images of the first so many only.", rich_help_panel=options.JUDGED),
    ] = None,
    temperature: Annotated[
        bool, typer.Option("--temperature", help="Fit one on the validation set.", rich_help_panel=options.RUN)
    ] = False,
    deep: Annotated[
        int | None, typer.Option(help="Combine so many dense runs of other seeds too.", rich_help_panel=options.RUN)
    ] = None,
    swag: Annotated[
        int | None,
        typer.Option(help="Draw so many networks around cycles at a constant rate too.", rich_help_panel=options.RUN),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(help="Judge the first so many members too, such as 2,4,6.", rich_help_panel=options.RUN),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            help="Hold all to this row, seed by seed: its name, and the members where several have it (deep ensemble, 4).",
            rich_help_panel=options.RUN,
        ),
    ] = None,
    bench: Annotated[
        bool, typer.Option("--bench", help="Write each family as one file and time it.", rich_help_panel=options.RUN)
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for table, plots and JSON (default: the first family).", rich_help_panel=options.RUN),
    ] = None,
    as_json: options.Json = False,
    quiet: options.Quiet = False,
) -> None:
    """Judge ensembles: accuracy, NLL, calibration, diversity, corrupted data, and what they cost.

    Example: `lehr ensemble evaluate runs/family --temperature --bench`
    """
    arguments = dict(locals())
    from lehr.recipes.questions import EnsembleSettings
    from lehr.runs import validated
    from lehr.study.judged import judge_studies, missing
    from lehr.study.teams import Extra
    from lehr.study.told import measured_before, publish

    values = options.chosen(arguments, ("examples", "temperature", "corrupted_data"))
    values["corrupted"] = corrupted or corruptions is not None
    if corruptions is not None:
        values["corruptions"] = options.words(corruptions)
    if severities is not None:
        values["severities"] = options.whole_numbers(severities, "severities")
    settings = validated(EnsembleSettings, {"run": "", **values})
    settings.check()
    extra = Extra(deep, swag, () if sizes is None else options.whole_numbers(sizes, "sizes"))
    where = out or families[0]
    show = screen.show_bar(quiet, as_json)
    judged = judge_studies(families, settings, extra, against=against, show=show)
    lacking = missing(families)
    rows, files = publish(judged, where, command(), settings, lacking, against)
    if bench:  # whatever happens while they are weighed and timed, what was found before is there
        judged = judge_studies(families, settings, extra, files=where, show=show)
        lacking += measured_before(judged)
        rows, files = publish(judged, where, command(), settings, lacking, against)
    _show(rows, files, about=settings.about(), against=against or "", lacking=lacking, as_json=as_json)


def _show(
    rows: list[EnsembleRow],
    files: dict[str, str],
    *,
    lacking: list[str],
    about: str = "",
    against: str = "",
    as_json: bool,
) -> None:
    """The tables of ensembles, and where everything is."""
    if as_json:
        screen.print_json({"rows": [row.as_dict() for row in rows], "left_out": lacking, "files": files})
        return
    printer = screen.console()
    for title, heads in GROUPS:
        tables = _tables(rows, heads, printer.width)
        if tables:
            printer.print(screen.titled(title.format(about=about, against=against), Group(*tables)))
    screen.notes(lacking)
    for name, path in files.items():
        printer.print(f"[dim]{name:>12}[/]  {path}", soft_wrap=True)


GROUPS = (
    ("mean of probabilities, test set", ("accuracy %", "NLL", "ECE", "Brier")),
    ("mean of logits", ("logits %", "logits NLL", "logits ECE", "logits Brier")),
    ("mean of probabilities, with a temperature fitted on validation", ("scaled NLL", "scaled ECE")),
    ("{about}", ("corrupted %", "cNLL", "cECE", "cBrier")),
    ("{about}, mean of logits", ("logits c%", "logits cNLL", "logits cECE", "logits cBrier")),
    (
        "difference from {against} [95 %], paired by seed, or Welch's",
        ("vs %", "vs NLL", "vs ECE", "vs c%", "vs cNLL", "vs cECE"),
    ),
    ("members", ("each %", "apart %", "over seeds %", "disagree %", "KL", "error corr.")),
    ("cost", ("epochs", "train TFLOP", "MFLOP kept", "nonzeros", "KB", "x one net", "x at 32")),
)
HANDLED = ("weights", "children", "pairs", "parts", "parent_epochs", "epochs", "parent_lr", "lr", "schedule")


def _tables(rows: list[EnsembleRow], heads: tuple[str, ...], width: int) -> list[Table]:
    """A group of columns, in as many tables as the screen asks for; names may wrap, and numbers do not."""
    from lehr.report.ensemble_rows import columns_of, names, words

    columns = [column for column in columns_of(rows) if column.heading in heads]
    if not columns:
        return []
    called = names(rows)
    texts = {column.heading: [words(row, [column])[2] for row in rows] for column in columns}
    fixed = {"members": [str(row.members) for row in rows], "seeds": [str(row.n) for row in rows]}
    room = width - 4 - min(NAME, max(map(len, called))) - sum(3 + len(name) for name in fixed)
    parts: list[list[str]] = []
    left = 0
    for heading, told in texts.items():
        wide = 3 + max(map(len, [heading, *told]))
        if not parts or left < wide:
            parts.append([])
            left = room
        parts[-1].append(heading)
        left -= wide
    tables = []
    for part in parts:
        table = Table()
        table.add_column("ensemble", overflow="fold")
        for heading in ("members", *part, "seeds"):
            table.add_column(heading, justify="right", no_wrap=True)
        for line in zip(called, fixed["members"], *(texts[name] for name in part), fixed["seeds"], strict=True):
            table.add_row(*line)
        tables.append(table)
    return tables


NAME = 24  # characters of a name that are to fit on a line
