"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from lehr.base.errors import LehrError

DATA, MASK, PATH, TRAINING, RUN = "Data and network", "Mask", "Annealing", "Training", "Run"


def _option(panel: str, *names: str, help: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel)


# -- data and network -------------------------------------------------------------------------
DATA_HELP = (
    "digits, mnist, fashion_mnist, cifar10, cifar100, sst2, tiny_shakespeare, hub:owner/name, a folder of images, "
    "or a text file."
)
MODEL_HELP = "A built-in network, or path/to/file.py:factory."
Data = Annotated[str, _option(DATA, help=DATA_HELP)]
Model = Annotated[str, _option(DATA, help=MODEL_HELP)]
SomeData = Annotated[str | None, _option(DATA, "--data", help=DATA_HELP)]
SomeModel = Annotated[str | None, _option(DATA, "--model", help=MODEL_HELP)]
AnyData = Annotated[str | None, _option(DATA, "--data", help=f"{DATA_HELP} Default: the parent's.")]
AnyModel = Annotated[str | None, _option(DATA, "--model", help=f"{MODEL_HELP} Default: the parent's.")]
From = Annotated[
    Path,
    _option(
        DATA, "--from", help="The run to start from, or your weights (.safetensors, .pt, .lehr; with --model, --data)."
    ),
]
Weights = Annotated[
    Path | None, _option(DATA, "--from", help="Your weights instead (.safetensors, .pt, .lehr; with --model, --data).")
]
Limit = Annotated[int | None, _option(DATA, help="Train on the first examples only, for a quick look.")]
ImageSize = Annotated[int | None, _option(DATA, help="Scale images to so many pixels a side.")]
Augment = Annotated[
    bool | None, _option(DATA, "--augment/--no-augment", help="Crop and flip training images (default: as is usual).")
]
Context = Annotated[int | None, _option(DATA, help="Characters that a language model sees at once (64).")]

# -- mask -------------------------------------------------------------------------------------
Granularity = Annotated[
    str, _option(MASK, help="What is kept or dropped as one: unstructured, 2:4 (any N:M), block:4x1, filter or head.")
]
Score = Annotated[
    str,
    _option(
        MASK,
        help="Importance of a weight: magnitude, random, snip, grasp, synflow, or learned-mask (of a run with one).",
    ),
]
Scope = Annotated[str, _option(MASK, help="Rank over the whole network (global) or by layer.")]
Distribution = Annotated[str, _option(MASK, help="With --scope layer: uniform or erk.")]
TargetModules = Annotated[
    list[str] | None,
    _option(MASK, "--target-module", help="Prune this module only (name or its last part); repeatable."),
]
ExcludeModules = Annotated[
    list[str] | None, _option(MASK, "--exclude-module", help="Leave this module dense; repeatable.")
]

# -- training ---------------------------------------------------------------------------------
Epochs = Annotated[int, _option(TRAINING, help="Passes over the training set.")]
Rate = Annotated[float, _option(TRAINING, "--lr", help="Peak learning rate.")]
Schedule = Annotated[
    str,
    _option(
        TRAINING,
        help="constant, one-cycle, multistep, cosine, triangular, linear, llr (linear after a warm-up) or allr (adaptive).",
    ),
]
Warmup = Annotated[
    str | None,
    _option(
        TRAINING,
        help="Over which the rate rises from 0, before the schedule has all of it: 0.1 (of the run), 500it, 2ep.",
    ),
]
Drops = Annotated[
    str | None, _option(TRAINING, help="Where multistep takes a tenth, by commas: 0.5,0.75, or 20000it,25000it.")
]
Optimizer = Annotated[
    str | None, _option(TRAINING, help="sgd (Nesterov), adam or adamw (default: sgd, or the parent's).")
]
BatchSize = Annotated[int | None, _option(TRAINING, help="Examples in a batch (default: 128, or the parent's).")]
Momentum = Annotated[
    float | None, _option(TRAINING, help="SGD's momentum, Adam's beta1 (default: 0.9, or the parent's).")
]
WeightDecay = Annotated[
    float | None,
    _option(TRAINING, help="Of matrices and filters; biases and norms have none (default: 5e-4, or the parent's)."),
]
Accumulate = Annotated[int, _option(TRAINING, help="Batches to an optimizer step.")]
Distill = Annotated[float, _option(TRAINING, help="Share of the dense parent's predictions in the loss, 0 to 1.")]
DistillTemperature = Annotated[float, _option(TRAINING, help="Softness of the predictions that are distilled.")]
Average = Annotated[float, _option(TRAINING, help="Average the weights over this last part of the run, such as 0.25.")]
BnBatches = Annotated[
    int | None,
    _option(TRAINING, help="Batches to estimate batch-norm statistics from anew at the end (0; 100 with --average)."),
]
Precision = Annotated[
    str | None, _option(TRAINING, help="auto, fp32 or bf16 (autocast); default: auto, or the parent's.")
]

# -- a learned mask, and smoothing ------------------------------------------------------------
LEARNING, SMOOTH = "Learned mask", "Smoothing"
LearnMask = Annotated[
    float | None, _option(LEARNING, help="Learn a mask with the weights: pressure to leave them out, such as 3.")
]
MaskPolarise = Annotated[float | None, _option(LEARNING, help="Pressure of the mask toward 0 and 1 (0).")]
MaskWarmUp = Annotated[str | None, _option(LEARNING, help="For how long the mask rests: 0.25 of the run, 500it, 2ep.")]
MaskRamp = Annotated[str | None, _option(LEARNING, help="For how long pressures grow after that.")]
MaskFloor = Annotated[float | None, _option(LEARNING, help="Mean of a layer's mask that is held (0).")]
MaskStraight = Annotated[
    bool | None, _option(LEARNING, "--mask-straight-through", help="Run with m > 1/2 alone, gradients for all.")
]
MaskRate = Annotated[float | None, _option(LEARNING, "--mask-lr", help="Adam's rate for the mask (0.02).")]
Smooth = Annotated[
    str | None, _option(SMOOTH, help="Smooth for a while: any of labels, activations, skips, by commas.")
]
SmoothFor = Annotated[str | None, _option(SMOOTH, help="For how long: 0.5 of the run (the default), 500it, 2ep.")]
LabelSmoothing = Annotated[float | None, _option(SMOOTH, help="Of labels at the start (0.1).")]
Softness = Annotated[
    float | None, _option(SMOOTH, help="Sharpness of x sigmoid(beta x) at the start (1); it ends as the ReLU.")
]
Skip = Annotated[float | None, _option(SMOOTH, help="Share of its input around a convolution at the start (0.1).")]

# -- run --------------------------------------------------------------------------------------
Seed = Annotated[int, _option(RUN, help="Of initialisation, data order and draws.")]
Threads = Annotated[int, _option(RUN, help="Threads of one run; 0 is all cores. Same bits need the same number.")]
Workers = Annotated[
    int, _option(RUN, "--workers", help="Runs at a time on this machine; more than one is Ray's work (lehr[study]).")
]
Address = Annotated[
    str | None, _option(RUN, help="A Ray cluster, auto or host:port; --out is a folder that all share.")
]
Gpus = Annotated[float, _option(RUN, "--gpus-per-run", help="Share of a GPU for each run, such as 0.25 (with Ray).")]
Trackers = Annotated[
    list[str] | None, _option(RUN, "--tracker", help="Log each epoch to tensorboard, mlflow or wandb; repeatable.")
]
Out = Annotated[Path, _option(RUN, help="Folder for the run; new or empty.")]
Resume = Annotated[bool, _option(RUN, "--resume", help="Go on with the run in --out where it stopped.")]
Json = Annotated[bool, _option(RUN, "--json", help="Print the result as JSON, nothing else.")]
Quiet = Annotated[bool, _option(RUN, "--quiet", help="No progress bar.")]


# -- what is judged ---------------------------------------------------------------------------
JUDGED = "What is judged"
Examples = Annotated[int | None, _option(JUDGED, help="The first so many only.")]
Corrupted = Annotated[bool, _option(JUDGED, "--corrupted", help="Also on the 19 corruptions of CIFAR-10-C.")]
Corruptions = Annotated[str | None, _option(JUDGED, help="Some of them, such as fog,snow.")]
Severities = Annotated[str, _option(JUDGED, help="From 1 to 5.")]
CorruptedData = Annotated[
    str | None, _option(JUDGED, help="A folder with the published CIFAR-10-C files; else generated.")
]

# -- small studies ----------------------------------------------------------------------------
LEVELS = "Levels"
DenseEpochs = Annotated[int, _option(TRAINING, help="Of the dense network.")]
TuneRates = Annotated[str, _option(TRAINING, help="Menu of tuning rates; validation chooses for each row.")]
Seeds = Annotated[int, _option(RUN, help="How many: 0, 1, 2, ...")]
StudyOut = Annotated[
    Path | None, _option(RUN, help="Folder for the runs (default: one below runs/ named by the settings).")
]
Rounds = Annotated[int, _option(LEVELS, help="Levels; more can be added to the same --out later.")]
PruneRate = Annotated[float, _option(LEVELS, help="Share of the remaining weights that goes at each.")]
Points = Annotated[int, _option(RUN, help="Places on the line between two networks, its ends among them.")]
LineBatches = Annotated[int, _option(RUN, help="Batches for batch-norm's statistics at each place; 0 mixes the two.")]


def chosen(arguments: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Those arguments of a command that are settings and were given, lists as tuples.

    >>> chosen({"lr": 0.1, "out": "x", "limit": None}, ["lr", "limit"])
    {'lr': 0.1}
    """
    wanted = {name: arguments[name] for name in names if arguments.get(name) is not None}
    return {name: tuple(value) if isinstance(value, list) else value for name, value in wanted.items()}


RUNNING = ("out", "workers", "threads", "seeds", "as_json", "quiet")
"""Options of a small study that are no settings of its runs."""


def others(arguments: Mapping[str, Any], *handled: str) -> dict[str, Any]:
    """All arguments of a small study's command that are settings and were given, but for those that the command has handled itself.

    An option that was given several times is one value of a study, whose lists are axes.

    >>> others({"lr": 0.1, "rounds": 5, "out": "x", "limit": None, "exclude_modules": ["stem", "head"]}, "rounds")
    {'lr': 0.1, 'exclude_modules': [['stem', 'head']]}
    """
    given = chosen(arguments, [name for name in arguments if name not in (*RUNNING, *handled)])
    return {name: [list(value)] if isinstance(value, (list, tuple)) else value for name, value in given.items()}


def typed(ctx: typer.Context, name: str) -> bool:
    """Whether an option was given, be it with its default value."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def words(text: str) -> tuple[str, ...]:
    """Words separated by commas.

    >>> words("zero, mask,")
    ('zero', 'mask')
    """
    return tuple(word.strip() for word in text.split(",") if word.strip())


def whole_numbers(text: str, name: str) -> tuple[int, ...]:
    """Comma-separated whole numbers.

    >>> whole_numbers("1,5", "severities")
    (1, 5)
    """
    values = numbers(text, name, "1,3,5")
    if not all(value.is_integer() for value in values):  # nan and inf are not
        raise LehrError(f"{name} is {text!r}: give whole numbers separated by commas, such as 1,3,5")
    return tuple(int(value) for value in values)


def numbers(text: str, name: str, such_as: str = "0.9,0.98") -> tuple[float, ...]:
    """Comma-separated numbers.

    >>> numbers("0.9, 0.98", "sparsity")
    (0.9, 0.98)
    """
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise LehrError(f"{name} is {text!r}: give numbers separated by commas, such as {such_as}") from None
    if len(set(values)) < len(values):
        raise LehrError(f"{name} is {text!r}: a value is given twice, leave one out")
    return values
